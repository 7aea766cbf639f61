/** Replicas of an instance's OS state as the controllers see them: placed, named to nodes, replaced, shown. */
import { describe, expect, test } from "bun:test";
import { keys, type StatePolicy } from "../../../core/records.ts";
import type { ReplicaStatus } from "../../../core/state/replica-status.ts";
import { all, type Bench, bench, container, diskOf, replica } from "./bench.ts";

const three = all.slice(0, 3);
const policy: StatePolicy = { replicas: 3, minInSync: 2, durability: "fsync", replaceAfterMs: 60_000 };

/** `kv` on three of so many nodes, established, all replicas registered and in sync, n1 the primary. */
function established(nodes = 4, change: Partial<StatePolicy> = {}): Bench {
  const b = bench(nodes);
  const names = all.slice(0, nodes);
  b.instance("kv", { os: "hello", nodes: 3, state: { ...policy, ...change } });
  for (const node of three) b.register("kv", node);
  b.configure("kv", three);
  b.obey(...names);
  serve(b, "n1", ...names);
  expect(b.view("kv")).toMatchObject({ phase: "running", conditions: [] });
  b.effects = [];
  return b;
}

/** The agents obey, and the replica on `primary` says that it is the primary. */
function serve(b: Bench, primary: string, ...nodes: string[]): void {
  b.obey(...nodes);
  const containers = b.desired(primary)!.containers.map(({ uid }) => container(uid, primary));
  b.beat(primary, { containers, replicas: [replica("u-kv", primary, { status: { role: "primary" } })] });
}

const replicasOn = (b: Bench) =>
  Object.fromEntries(
    all.flatMap((node) => b.desired(node)?.replicas.map((r) => [node, r.run] as const) ?? []),
  );
const words = (b: Bench) => b.view("kv")!.conditions.map((c) => c.message);
/** What nodes were told since the last take. */
const told = (b: Bench) =>
  b.effects.flatMap((e) => (e.type === "replicas" ? [[e.node, e.replicas] as const] : []));

test("a new instance gets its replicas with its places, and starts when each of them runs", () => {
  const b = bench(4);
  b.instance("kv", { os: "hello", nodes: 3, state: policy });
  expect(b.record("kv")).toMatchObject({ placement: three, replicas: three });
  expect(b.desired("n1")?.replicas).toEqual([
    {
      ...{ tenant: "default", instance: "kv", uid: "u-kv", generation: 1, os: "hello", run: true },
      policy: { replicas: 3, minInSync: 2, durability: "fsync" },
    },
  ]);
  expect(b.desired("n4")?.replicas).toEqual([]);
  for (const node of three) b.beat(node, { containers: [container("u-kv", node)] });
  expect(b.record("kv")?.phase).toBe("creating");
  expect(words(b)).toContain("replica of its state on node n2 is waiting");
  b.obey(...three);
  expect(b.record("kv")?.phase).toBe("established");
});

test("a replica that cannot start rolls the creation back", () => {
  const b = bench(3);
  b.instance("kv", { os: "hello", nodes: 3, state: policy });
  const failed = replica("u-kv", "n2", { state: "failed", permanent: true, reason: "the disk is not empty" });
  b.beat("n2", { replicas: [failed] });
  expect(b.record("kv")?.failure).toEqual({
    reason: "replica-failed",
    message: "replica of its state on node n2: the disk is not empty",
  });
});

test("every node of the instance is told of each change, with the order in which they begin; and of nothing twice", () => {
  const b = bench(4);
  b.instance("kv", { os: "hello", nodes: 3, state: { ...policy, replicas: 2, minInSync: 1 } });
  b.effects = [];
  b.register("kv", "n2");
  expect(told(b).map(([node]) => node)).toEqual(three);
  const [, set] = told(b)[0]!;
  expect(set.wanted.map((r) => [r.node, r.disk])).toEqual([
    ["n1", null],
    ["n2", diskOf("n2")],
  ]);
  expect(set.configuration).toEqual({ generation: 1, version: 0, configuration: null });
  b.effects = [];
  b.register("kv", "n2");
  expect(told(b)).toEqual([]);
  b.configure("kv", ["n2"]);
  expect(told(b).map(([, { configuration }]) => configuration.version)).toEqual([1, 1, 1]);
  expect(b.controller.replicaSetsFor("n3")).toMatchObject([
    { uid: "u-kv", replicas: { configuration: { version: 1 } } },
  ]);
  expect(b.controller.replicaSetsFor("n4")).toEqual([]);
});

test("a replica is replaced when its node has been gone for as long as the instance says, not before", () => {
  const b = established();
  const rest = ["n1", "n2", "n4"];
  b.pass(40_000, ...rest);
  // Its container has moved by now; its data may come back.
  expect(b.record("kv")).toMatchObject({ placement: rest, replicas: three });
  b.configure("kv", ["n1", "n2"]);
  b.pass(10_000, ...rest);
  expect(b.record("kv")?.replicas).toEqual(three);
  expect(words(b).join()).toContain("2 of 3 replicas are in sync; waits for n3 (its node is down)");
  b.pass(20_000, ...rest);
  expect(b.record("kv")?.replicas).toEqual(rest);
  expect(b.desired("n4")?.replicas[0]?.run).toBe(true);
  b.obey(...rest);
  expect(b.table.get(keys.replica("default", "u-kv", "n3"))).toBeNull();
});

test("the last in sync is waited for, however long, and people are told what they can do", () => {
  const b = established();
  b.configure("kv", ["n3"]);
  b.pass(200_000, "n1", "n2", "n4");
  b.obey("n1", "n2", "n4");
  expect(b.record("kv")?.replicas).toEqual(three);
  expect(words(b)).toContain(
    "nobody serves its state: only n3 has all that was acknowledged. Start it again; " +
      "or lose what only they have: dvs instance recover kv --from n1 --accept-loss",
  );
});

describe("while nobody serves, people are told who takes over, or that nobody can", () => {
  /** What is said of these replicas, with n3 (or nobody) gone. */
  function said(status: Partial<ReplicaStatus>, present: string[], primary = "n1"): string {
    const b = established();
    b.configure("kv", [primary, ...three.filter((node) => node !== primary)]);
    b.pass(10_000, ...present, "n4");
    for (const node of present)
      b.beat(node, { replicas: [replica("u-kv", node, { status: { role: "backup", ...status } })] });
    return words(b).find((line) => line.startsWith("nobody")) ?? "";
  }

  test("backups take over from a primary that is not there", () => {
    expect(said({}, ["n2", "n3"])).toBe(
      "nobody serves its state for now: the primary on n1 is not there, one of n2, n3 takes over",
    );
  });
  test("a primary that is there and does not serve yet begins to", () => {
    expect(said({}, ["n1"])).toBe("nobody serves its state for now: n1 begins to");
  });
  test("those that have lost records do not take over, but wait for who is away", () => {
    const waits = { role: "amnesiac", problem: "it waits" } as const;
    expect(said(waits, ["n2", "n3"])).toBe(
      "nobody serves its state: n2, n3 have lost records in a power cut or by a damaged disk, and wait for n1 to " +
        "learn them. Start it again; or lose what only they have: dvs instance recover kv --from n2 --accept-loss",
    );
  });
  test("when all have reported, the longest log goes on", () => {
    expect(said({ role: "amnesiac" }, three)).toBe(
      "nobody serves its state for now: one of n1, n2, n3 begins to",
    );
  });
  test("when none has everything, a person has to decide", () => {
    expect(said({ role: "amnesiac", problem: "its disk has damaged records" }, three)).toBe(
      "nobody serves its state: n1, n2, n3 have lost records that were acknowledged, and nobody else has them. " +
        "Go on without: dvs instance recover kv --from n1 --accept-loss",
    );
  });
});

test("no timer of the controllers touches the configuration: replicas alone promote", () => {
  const b = established();
  const before = b.table.get(keys.configuration("default", "u-kv"));
  b.pass(300_000, "n2", "n3", "n4");
  expect(b.table.get(keys.configuration("default", "u-kv"))).toEqual(before);
});

test("a node that leaves gives its replica up once another has everything, and its data when it is out of sync", () => {
  const b = established();
  b.node("n1", { schedulable: false, leaving: true });
  serve(b, "n1", ...all);
  // The copy is made while the old one serves.
  expect(replicasOn(b)).toEqual({ n1: true, n2: true, n3: true, n4: true });
  b.register("kv", "n4");
  serve(b, "n1", ...all);
  expect(replicasOn(b)).toEqual({ n1: true, n2: true, n3: true, n4: true });
  b.configure("kv", ["n1", "n2", "n3", "n4"]);
  b.obey(...all);
  b.obey(...all);
  // In sync still, so its data is kept; it is stopped, and one of the others takes over.
  expect(replicasOn(b)).toEqual({ n1: false, n2: true, n3: true, n4: true });
  expect(b.record("kv")?.replicas).toEqual(["n2", "n3", "n4"]);
  expect(b.controller.hasNode("n1")).toBe(true);
  b.configure("kv", ["n2", "n3", "n4"], 2);
  expect(replicasOn(b)).toEqual({ n2: true, n3: true, n4: true });
  b.obey(...all);
  expect(b.controller.hasNode("n1")).toBe(false);
});

test("a replica that is in sync and not wanted runs as long as nobody that is wanted has everything", () => {
  const b = bench(2);
  b.instance("kv", { os: "hello", nodes: 1, state: { ...policy, replicas: 1, minInSync: 1 } });
  expect(b.record("kv")?.replicas).toEqual(["n1"]);
  b.register("kv", "n1");
  b.configure("kv", ["n2"]);
  b.register("kv", "n2");
  b.obey("n1", "n2");
  expect(replicasOn(b)).toEqual({ n1: true, n2: true });
  b.configure("kv", ["n1", "n2"]);
  expect(replicasOn(b)).toEqual({ n1: true, n2: false });
});

test("of a stopped instance the replicas end after the last container, and nothing is removed", () => {
  const b = established();
  b.change("kv", { desired: "stopped" });
  expect(replicasOn(b)).toEqual({ n1: true, n2: true, n3: true });
  b.obey("n1", "n2");
  expect(replicasOn(b)).toEqual({ n1: true, n2: true, n3: true });
  b.obey("n3");
  expect(replicasOn(b)).toEqual({ n1: false, n2: false, n3: false });
  b.obey(...three);
  expect(b.view("kv")?.phase).toBe("stopped");
  b.pass(300_000, "n1", "n4");
  expect(b.record("kv")?.replicas).toEqual(three);
});

test("a removed instance is gone when its data is, with all that the store held of it", () => {
  const b = established();
  b.change("kv", { desired: "removed" });
  b.obey(...three);
  expect(replicasOn(b)).toEqual({});
  for (const node of three) b.beat(node, { replicas: [replica("u-kv", node, { run: false })] });
  expect(b.record("kv")).not.toBeNull();
  expect(words(b)).toEqual(["waits for node n1, n2, n3"]);
  b.obey(...all);
  expect(b.record("kv")).toBeNull();
  expect(b.table.list("/t/default/s/", "", 9, b.table.revision)).toEqual([]);
});

test("a new leader names the same replicas, also while it has heard of nobody", () => {
  const b = established();
  b.lead();
  expect(b.controller.replicaSetsFor("n2")).toHaveLength(1);
  expect(b.desired("n1")).toBeNull();
  b.obey(...all);
  expect(replicasOn(b)).toEqual({ n1: true, n2: true, n3: true });
  expect(b.kinds()).toEqual([]);
});

test("people see who is in sync, how far each is, and what is wrong with it", () => {
  const b = established();
  expect(b.view("kv")?.state).toMatchObject({ epoch: 1, primary: { nodeName: "n1" }, inSync: 3 });
  b.configure("kv", ["n1", "n2"]);
  const learner = {
    role: "learner" as const,
    serving: false,
    index: 4,
    problem: "the disk is full: 0 bytes free",
  };
  b.beat("n3", {
    containers: [container("u-kv", "n3")],
    replicas: [replica("u-kv", "n3", { status: learner })],
  });
  const view = b.view("kv")!;
  expect(view.phase).toBe("degraded");
  expect(words(b)).toEqual([
    "2 of 3 replicas are in sync; waits for n3 (learns)",
    "replica on node n3: the disk is full: 0 bytes free",
  ]);
  expect(view.state?.replicas.find((r) => r.node === "n3")).toMatchObject({
    inSync: false,
    lag: 6,
    role: "learner",
  });
  b.configure("kv", ["n1"]);
  expect(words(b)[0]).toBe(
    "writes fail, reads go on: 1 of 3 replicas is in sync, and at least 2 are asked for; waits for n2 (learns), n3 (learns)",
  );
});

test("figures change without anybody being woken, and are shown as they are", () => {
  const b = established();
  const [first] = three;
  b.beat(first!, {
    containers: [container("u-kv", first!)],
    replicas: [replica("u-kv", first!, { status: { role: "primary", index: 99, committed: 98 } })],
  });
  expect(b.effects.filter((e) => e.type === "instance")).toEqual([]);
  expect(b.view("kv")?.state?.replicas.map((r) => [r.index, r.lag])).toEqual([
    [99, 0],
    [10, 89],
    [10, 89],
  ]);
});

test("a configuration of another generation of the store serves nobody, and the way out is named", () => {
  const b = established();
  b.step({ type: "start", nowMs: b.nowMs, wallMs: b.wallMs, storeGeneration: 2 });
  const kvs = b.table.list("/", "", Infinity, b.table.revision);
  b.step({ type: "snapshot", revision: b.table.revision, kvs });
  b.obey(...all);
  serve(b, "n1", ...all);
  expect(words(b)[0]).toContain("dvs instance recover kv --from n");
});

test("an instance without nodes for all its replicas says so", () => {
  const b = established();
  b.pass(100_000, "n1", "n2");
  b.configure("kv", ["n1", "n2"]);
  b.obey("n1", "n2");
  expect(words(b).join("\n")).toContain("wants 3 replicas of its state");
});
