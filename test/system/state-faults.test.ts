/**
 * Some of the faults of test/tools/state-faults.ts, each once: replicas on machines of their own (network namespaces)
 * are killed, stopped, cut off and filled under load. More of them by hand: `bun test/tools/state-faults.ts --rounds 200`.
 */
import { expect, test } from "bun:test";
import { runScript } from "../tools/run-script.ts";
import { whyNoMachines } from "../tools/state-faults/machines.ts";

const script = new URL("../tools/state-faults.ts", import.meta.url).pathname;
const why = whyNoMachines();
const title = why === null ? "" : ` (skipped: ${why})`;
/** Far more than any needs on a machine that has nothing else to do. */
const timeoutMs = 110_000;

const some = [
  ["killed", "kill-primary,kill-all"],
  ["stopped past the lease", "stop-primary,stop-backup"],
  ["cut off", "nothing-to-primary,cut-primary-also-from-store"],
  ["away from the store, and killed", "store-away-and-kill-primary"],
  ["on full disks", "full-disk-of-primary"],
] as const;

for (const [what, only] of some) {
  const name = `replicas are ${what} under load: nothing acknowledged is lost or done twice, histories are linearizable`;
  test.skipIf(why !== null)(
    `${name}${title}`,
    async () => {
      const rounds = String(only.split(",").length);
      const { code, stdout, stderr } = await runScript(script, ["--rounds", rounds, "--only", only]);
      expect({ code, told: code === 0 ? "" : stderr }).toEqual({ code: 0, told: "" });
      const report = JSON.parse(stdout) as { wrong: number; reads: number; writes: number };
      expect(report.wrong).toBe(0);
      expect(Math.min(report.reads, report.writes)).toBeGreaterThan(50);
    },
    timeoutMs,
  );
}
