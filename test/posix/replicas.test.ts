/**
 * Files of an instance on one, two and three real replicas answer as Linux does: each place of a case is a client on a
 * node of its own, so that writer and reader, holder and waiter of a lock are on different nodes.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { VolumeClient } from "../../core/files/client/volume-client.ts";
import { rootIno } from "../../core/files/file-system.ts";
import { StateCluster } from "../tools/state-cluster.ts";
import type { Case } from "./calls.ts";
import { groups } from "./cases/all.ts";
import { readRecorded, runCase } from "./recorded.ts";
import { VolumeExecutor } from "./volume.ts";

/** Cases of which those that matter here, writers and readers, are at two places or more; the others pass quickly anyway. */
function placesOf({ steps }: Case): number {
  return new Set(steps.map(({ at }) => at)).size;
}

for (const nodes of [1, 2, 3]) {
  describe(`on ${nodes} ${nodes === 1 ? "node" : "nodes"}`, () => {
    let cluster: StateCluster;
    let places: VolumeClient[];

    beforeAll(async () => {
      cluster = await StateCluster.open({ replicas: nodes, durability: "replicated" });
      places = cluster.nodes.map((_, at) => cluster.files(at));
      // The harness's own promise: each place is another node, and each has a replica that serves it.
      expect(new Set(cluster.nodes.map(({ id }) => id)).size).toBe(nodes);
      expect(cluster.inSync).toBe(nodes);
    }, 60_000);
    afterAll(async () => {
      for (const place of places) await place.close();
      await cluster.close();
    }, 60_000);

    for (const [group, cases] of Object.entries(groups)) {
      const recorded = readRecorded(group);
      test(`${group}: ${cases.length} cases, ${cases.filter((each) => placesOf(each) > 1).length} of them from several nodes`, async () => {
        for (const each of cases) {
          const root = await places[0]!.makeDirectory(rootIno, `${group}: ${each.name}`, 0o777);
          const executor = new VolumeExecutor(places, root.ino);
          expect({ [each.name]: await runCase(each, executor) }).toEqual({
            [each.name]: recorded[each.name]!,
          });
          await executor.close();
        }
      }, 120_000);
    }
  });
}
