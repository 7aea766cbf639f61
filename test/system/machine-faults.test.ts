/**
 * Some of the faults of test/tools/machine-faults.ts, each once: three machines (network namespaces), each with a real
 * coordinator, agent, etcd and replica, or one coordinator with SQLite. All of them, and how long it took, by hand:
 * `bun test/tools/machine-faults.ts --store etcd --strict`.
 */
import { expect, test } from "bun:test";
import { etcdMissing } from "../core/store/etcd-fixture.ts";
import { runScript } from "../tools/run-script.ts";
import { whyNoMachines } from "../tools/state-faults/machines.ts";

const script = new URL("../tools/machine-faults.ts", import.meta.url).pathname;
/** Far more than any needs on a machine that has nothing else to do. */
const timeoutMs = 170_000;

const some = [
  {
    store: "etcd",
    only: "cut-primary,cut-from-1-to-2,kill-machine-of-acting",
    why: whyNoMachines() ?? etcdMissing,
    promise: "whoever reaches a majority writes on, and all replicas come in sync again",
  },
  {
    store: "sqlite",
    only: "cut-machine-1,kill-machine-1",
    why: whyNoMachines(),
    promise: "the instance pauses without the coordinator's machine, says so, and loses nothing",
  },
] as const;

for (const { store, only, why, promise } of some) {
  const title = why === null ? "" : ` (skipped: ${why})`;
  test.skipIf(why !== null)(
    `three machines with ${store}: ${promise}${title}`,
    async () => {
      const { code, stdout, stderr } = await runScript(script, ["--store", store, "--only", only]);
      expect({ code, told: code === 0 ? "" : stderr }).toEqual({ code: 0, told: "" });
      const report = JSON.parse(stdout) as { wrong: number; unhealed: number; unannounced: number };
      expect(report).toMatchObject({ wrong: 0, unhealed: 0, unannounced: 0 });
    },
    timeoutMs,
  );
}
