/** Where replicas go: stable, replaced when their node is gone, never the last that have everything. */
import { expect, test } from "bun:test";
import {
  placeReplicas,
  replicasMissing,
  type ReplicaRequest,
} from "../../../core/control/replica-placement.ts";
import type { PlacementNode } from "../../../core/control/placement.ts";

type Given = Partial<Pick<PlacementNode, "state" | "draining">> & { inSync?: boolean; gone?: boolean };

function place(
  wanted: number,
  placement: string[],
  current: string[],
  given: Record<string, Given> = {},
  unknown: string[] = [],
) {
  const nodes = new Map<string, PlacementNode>();
  for (const id of new Set([...placement, ...current, ...Object.keys(given)])) {
    if (unknown.includes(id)) continue;
    const { state = "up", draining = false } = given[id] ?? {};
    const rest = { lost: false, leaving: false, labels: {}, containersMax: 0, containers: 0 };
    nodes.set(id, { id, state, draining, ...rest });
  }
  const request: ReplicaRequest = {
    wanted,
    placement,
    current,
    inSync: (id) => given[id]?.inSync ?? false,
    gone: (id) => given[id]?.gone ?? false,
  };
  return placeReplicas(request, nodes);
}

const abc = ["a", "b", "c"];
const down = { state: "down" } as const;
const gone = { state: "down", gone: true } as const;
const synced = { inSync: true };

test.each<[string, ReturnType<typeof place>, string[], number]>([
  ["the first nodes of a new instance get one each", place(3, ["a", "b", "c", "d"], []), abc, 0],
  ["an instance on two nodes has two of three", place(3, ["a", "b"], []), ["a", "b"], 1],
  ["a node that is down gets no new one", place(2, abc, [], { a: down }), ["b", "c"], 0],
  ["a node that drains gets no new one", place(2, abc, [], { a: { draining: true } }), ["b", "c"], 0],
  [
    "a replica stays while its node is down for a while",
    place(2, abc, ["a", "b"], { a: down }),
    ["a", "b"],
    0,
  ],
  ["one that is gone is replaced", place(2, abc, ["a", "b"], { a: gone, b: synced }), ["b", "c"], 0],
  ["one that is gone stays named while nobody can take its place", place(3, abc, abc, { a: gone }), abc, 1],
  [
    "the last in sync is never replaced",
    place(2, abc, ["a", "b"], { a: { ...gone, inSync: true } }),
    ["a", "b"],
    0,
  ],
  [
    "one that is gone and in sync is replaced while another in sync lives",
    place(2, abc, ["a", "b"], { a: { ...gone, inSync: true }, b: synced }),
    ["b", "c"],
    0,
  ],
  [
    "a draining one stays until enough others are in sync",
    place(2, abc, ["a", "b"], { a: { draining: true, inSync: true }, b: synced }),
    ["a", "b", "c"],
    0,
  ],
  [
    "and goes then",
    place(2, abc, ["a", "b", "c"], { a: { draining: true, inSync: true }, b: synced, c: synced }),
    ["b", "c"],
    0,
  ],
  [
    "a draining one stays where it is the only one",
    place(1, ["a"], ["a"], { a: { draining: true } }),
    ["a"],
    1,
  ],
  [
    "one whose container is elsewhere by now is copied there",
    place(2, ["b", "c"], ["a", "b"], { a: synced, b: synced }),
    ["a", "b", "c"],
    0,
  ],
  [
    "and while its node is down, it is waited for",
    place(2, ["b", "c"], ["a", "b"], { a: down }),
    ["a", "b"],
    0,
  ],
  [
    "a node that was forgotten is replaced at once",
    place(2, abc, ["a", "b"], { b: synced }, ["a"]),
    ["b", "c"],
    0,
  ],
  ["of too many those in sync stay", place(1, abc, abc, { b: synced }), ["b"], 0],
  ["in sync and not named comes first", place(2, abc, ["a"], { c: synced }), ["a", "c"], 0],
])("%s", (_, { replicas, missing }, expected, lacking) => {
  expect(replicas).toEqual(expected);
  expect(missing).toBe(lacking);
});

test("what is missing is said with advice", () => {
  const request: ReplicaRequest = {
    wanted: 3,
    placement: ["a", "b"],
    current: [],
    inSync: () => false,
    gone: () => false,
  };
  expect(replicasMissing(request, 0)).toBeNull();
  expect(replicasMissing(request, 1)?.message).toBe(
    "wants 3 replicas of its state, and 2 nodes of its 2 can hold one: start the others, or add nodes",
  );
});
