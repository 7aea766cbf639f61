/** Files of an instance through FUSE, mounted on each of its nodes, answer real programs as Linux does. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rootIno } from "../../core/files/file-system.ts";
import { Mounts, whyNoMounts } from "../tools/mounts.ts";
import { StateCluster } from "../tools/state-cluster.ts";
import { groups } from "./cases/all.ts";
import { RealExecutor } from "./real.ts";
import { readRecorded, runCase } from "./recorded.ts";

const why = whyNoMounts();

for (const nodes of [1, 2, 3]) {
  describe.skipIf(why !== null)(
    `mounted on ${nodes} ${nodes === 1 ? "node" : "nodes"}${why === null ? "" : ` (skipped: ${why})`}`,
    () => {
      let cluster: StateCluster;
      let mounts: Mounts;
      const dirs: string[] = [];

      beforeAll(async () => {
        cluster = await StateCluster.open({ replicas: nodes, durability: "replicated" });
        mounts = new Mounts(cluster);
        for (let at = 0; at < nodes; at++) dirs.push(await mounts.open(at));
        expect(new Set(dirs).size).toBe(nodes);
      }, 60_000);
      afterAll(async () => {
        await mounts?.close();
        await cluster?.close();
      }, 60_000);

      for (const [group, cases] of Object.entries(groups)) {
        const recorded = readRecorded(group);
        test(`${group}: ${cases.length} cases`, async () => {
          const fs = cluster.files(0);
          for (const each of cases) {
            const name = `${group}: ${each.name}`.slice(0, 200);
            await fs.makeDirectory(rootIno, name, 0o777);
            const executor = new RealExecutor(
              dirs.map((dir) => `${dir}/${name}`),
              {
                releasesLater: true,
              },
            );
            try {
              expect({ [each.name]: await runCase(each, executor) }).toEqual({
                [each.name]: recorded[each.name]!,
              });
            } finally {
              await executor.close();
            }
          }
          await fs.close();
        }, 180_000);
      }
    },
  );
}
