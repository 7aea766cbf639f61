/** The recorded answers are those of a real Linux: this one. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { groups } from "./cases/all.ts";
import { mayActAsOthers, RealExecutor } from "./real.ts";
import { readRecorded, runCase } from "./recorded.ts";

let base: string;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "dvs-posix-"));
  chmodSync(base, 0o755);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

for (const [group, cases] of Object.entries(groups)) {
  test.skipIf(!mayActAsOthers)(
    `this machine's Linux answers as recorded: ${group}${mayActAsOthers ? "" : " (skipped: only root acts as other users)"}`,
    async () => {
      const recorded = readRecorded(group);
      expect(Object.keys(recorded)).toEqual(cases.map(({ name }) => name));
      for (const [i, each] of cases.entries()) {
        const root = join(base, `${group}-${i}`);
        mkdirSync(root);
        chmodSync(root, 0o777);
        const executor = new RealExecutor([root]);
        try {
          expect({ [each.name]: await runCase(each, executor) }).toEqual({
            [each.name]: recorded[each.name]!,
          });
        } finally {
          await executor.close();
        }
      }
    },
    60_000,
  );
}
