/**
 * Records what this machine's Linux answers to the cases: `bun test/posix/record.ts [DIR]`, as root, on a directory of
 * ext4 or tmpfs. To be run when a case is added; the answers are part of the sources.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { groups } from "./cases/all.ts";
import { mayActAsOthers, RealExecutor } from "./real.ts";
import { type Recorded, recordedPath, runCase } from "./recorded.ts";

if (!mayActAsOthers) throw new Error("Run this as root: it acts as other users.");
const base = mkdtempSync(join(process.argv[2] ?? tmpdir(), "dvs-posix-"));
chmodSync(base, 0o755);
try {
  for (const [group, cases] of Object.entries(groups)) {
    const recorded: Recorded = {};
    for (const [i, each] of cases.entries()) {
      const root = join(base, `${group}-${i}`);
      mkdirSync(root);
      chmodSync(root, 0o777);
      const executor = new RealExecutor([root]);
      try {
        recorded[each.name] = await runCase(each, executor);
      } finally {
        await executor.close();
      }
    }
    const lines = Object.entries(recorded).map(
      ([name, answers]) => `  ${JSON.stringify(name)}: ${JSON.stringify(answers)}`,
    );
    mkdirSync(dirname(recordedPath(group)), { recursive: true });
    writeFileSync(recordedPath(group), `{\n${lines.join(",\n")}\n}\n`);
  }
} finally {
  rmSync(base, { recursive: true, force: true });
}
