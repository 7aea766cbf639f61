import { expect, test } from "bun:test";
import { routeUri } from "../../../core/control/desired-deriver.ts";
import { keys } from "../../../core/records.ts";
import { instanceUri } from "../../../core/trust/identity.ts";
import { all, bench, container, openPort } from "./bench.ts";

const three = all.slice(0, 3);

function running() {
  const b = bench(3);
  b.instance("web", { nodes: 3, ports: [8080] });
  b.obey(...three);
  b.obey(...three);
  b.effects = [];
  return b;
}

const report = (node: string) => ({
  containers: [container("u-web", node)],
  ports: [openPort(8080, "u-web")],
});

test("a new leader sends no Desired before every living node has reported", () => {
  const b = running();
  const before = b.desired("n1");
  b.lead();
  b.beat("n1", report("n1"));
  b.beat("n2", report("n2"));
  expect(b.desired("n1")).toBeNull();
  expect(b.view("web")).toMatchObject({
    phase: "degraded",
    conditions: [{ reason: "unknown", message: expect.stringContaining("1 node did not report yet") }],
  });
  b.beat("n3", report("n3"));
  expect({ ...b.desired("n1"), revision: 0 }).toEqual({ ...before!, revision: 0 });
  expect(b.view("web")?.phase).toBe("running");
});

test("a new leader waits for a silent node no longer than a node takes to be down", () => {
  const b = running();
  b.lead();
  b.beat("n1", report("n1"));
  b.beat("n2", report("n2"));
  b.pass(1_900, "n1", "n2");
  expect(b.desired("n1")).toBeNull();
  b.pass(100, "n1", "n2");
  expect(b.desired("n1")?.routes[0]?.upstreams.map((u) => u.node)).toEqual(["n1", "n2"]);
});

test("a new leader takes every node as alive from now: nothing is replaced for what it missed", () => {
  const b = running();
  b.node("n4");
  b.beat("n4", {});
  b.pass(29_000, "n1", "n2", "n4");
  b.lead();
  for (const node of ["n1", "n2"]) b.beat(node, report(node));
  b.beat("n4", { ports: [openPort(8080, "u-web")] });
  b.pass(29_000, "n1", "n2", "n4");
  expect(b.record("web")?.placement).toEqual(three);
  b.pass(1_500, "n1", "n2", "n4");
  expect(b.record("web")?.placement).toEqual(["n1", "n2", "n4"]);
});

test("the wall clock set by an hour, either way, changes nothing", () => {
  for (const hours of [-1, 1]) {
    const b = running();
    b.pass(1_000, ...three);
    b.wallMs += hours * 3_600_000;
    b.pass(1_000, ...three);
    expect(b.controller.nodeViews(b.nowMs).map((node) => node.state)).toEqual(["up", "up", "up"]);
    expect(b.kinds()).toEqual([]);
  }
});

test("an agent that restarts takes no container out of service", () => {
  const b = running();
  b.beat("n2", undefined, "a2");
  expect(b.controller.reportWanted("n2", "a2")).toBe(true);
  expect(b.desired("n1")?.routes[0]?.upstreams.map((u) => u.node)).toEqual(three);
  b.beat("n2", report("n2"), "a2");
  expect(b.effects.filter((effect) => effect.type === "desired")).toEqual([]);
});

test("a dead incarnation leaves the routes when its death is reported, and the next joins when it is ready", () => {
  const b = running();
  b.beat("n2", { ...report("n2"), containers: [container("u-web", "n2", { state: "backoff", port: 0 })] });
  expect(b.desired("n1")?.routes[0]?.upstreams.map((u) => u.node)).toEqual(["n1", "n3"]);
  const next = container("u-web", "n2", { incarnation: "next", state: "starting" });
  b.beat("n2", { ...report("n2"), containers: [next] });
  expect(b.desired("n1")?.routes[0]?.upstreams.map((u) => u.node)).toEqual(["n1", "n3"]);
  b.beat("n2", { ...report("n2"), containers: [{ ...next, state: "ready" }] });
  expect(b.desired("n1")?.routes[0]?.upstreams.map((u) => u.incarnation)).toContain("next");
});

test("the containers of a node that is down stay in the routes: their health is for each ingress to judge", () => {
  const b = running();
  b.pass(5_000, "n1", "n2");
  expect(b.view("web")?.containers.find((c) => c.node === "n3")?.state).toBe("lost");
  expect(b.desired("n1")?.routes[0]?.upstreams.map((u) => u.node)).toEqual(three);
});

test("one transaction per record is under way; after a lost answer the record is decided anew", () => {
  const b = bench(3);
  b.autoApply = false;
  b.instance("web", { nodes: 3 });
  expect(b.kinds()).toEqual(["place"]);
  b.pass(1_000, ...three);
  expect(b.kinds()).toEqual([]);
  // Lost on the way there.
  const [lost] = b.waiting.splice(0);
  b.step({ type: "txnDone", id: lost!.id, nowMs: b.nowMs, outcome: "unknown" });
  b.pass(400, ...three);
  expect(b.kinds()).toEqual([]);
  b.pass(200, ...three);
  expect(b.kinds()).toEqual(["place"]);
  // Lost on the way back: what the watch showed is not done again.
  b.apply(b.waiting[0]!, false);
  b.pass(2_000, ...three);
  expect(b.kinds()).toEqual([]);
  // The first one, arriving late, is refused.
  expect(b.write(lost!.txn)).toBe(false);
});

test("a late answer to an old transaction does not release a newer one", () => {
  const b = bench(3);
  b.autoApply = false;
  b.instance("web", { nodes: 3 });
  const first = b.waiting[0]!;
  b.change("web", { desired: "stopped" });
  b.change("web", { desired: "running" });
  expect(b.kinds()).toEqual(["place", "place"]);
  b.step({ type: "txnDone", id: first.id, nowMs: b.nowMs, outcome: "conflict" });
  b.pass(1_000, ...three);
  expect(b.kinds()).toEqual([]);
});

test("places promised by transactions under way count: a full node gets no second container", () => {
  const b = bench(2, () => ({ containersMax: 1 }));
  b.autoApply = false;
  for (const name of ["a", "b", "c"]) b.instance(name);
  const placed = b.waiting.map(({ txn }) => (txn.then[0] as { value: string }).value);
  expect(placed.map((value) => JSON.parse(value).placement)).toEqual([["n1"], ["n2"]]);
  expect(b.view("c")?.conditions[0]?.message).toBe(
    "needs 1 node, 2 are up, 2 have no room for another container",
  );
});

test("room that a removal frees goes to who waits for it", () => {
  const b = bench(1, () => ({ containersMax: 1 }));
  b.instance("a");
  b.instance("b");
  b.obey("n1");
  b.change("a", { desired: "removed" });
  b.obey("n1");
  expect(b.record("b")?.placement).toEqual(["n1"]);
});

test("Desired is sent only to nodes for which it changed", () => {
  const b = running();
  b.instance("quiet", { nodes: 1 });
  const sent = b.effects.flatMap((effect) => (effect.type === "desired" ? [effect.node] : []));
  expect(sent).toEqual(b.record("quiet")!.placement);
});

test("a view is told when it changed, not when requests were counted", () => {
  const b = running();
  b.beat("n1", { ...report("n1"), containers: [container("u-web", "n1", { requests: 7 })] });
  expect(b.effects.filter((effect) => effect.type === "instance")).toEqual([]);
  expect(b.view("web")?.containers.find((c) => c.node === "n1")?.requests).toBe(7);
});

test("a namesake with another uid is another instance: the old one is told to be removed first", () => {
  const b = running();
  const key = keys.instance("default", "web");
  const kvs = b.table.list("/", "", Infinity, b.table.revision).map((kv) => {
    if (kv.key !== key) return kv;
    return { ...kv, modRevision: kv.modRevision + 9, value: kv.value.replace('"u-web"', '"u-new"') };
  });
  b.step({ type: "snapshot", revision: b.table.revision + 9, kvs });
  const told = b.effects.flatMap((effect) => (effect.type === "instance" ? [effect.event] : []));
  expect(told[0]).toMatchObject({ type: "removed", uid: "u-web" });
  expect(told.at(-1)).toMatchObject({ type: "instance", instance: { uid: "u-new" } });
});

test("while an instance's record cannot be read, no Desired leaves its containers out", () => {
  const b = running();
  b.put(keys.instance("default", "odd"), { from: "the future" });
  b.instance("other", { nodes: 3 });
  b.lead();
  for (const node of three) b.beat(node, report(node));
  b.pass(5_000, ...three);
  expect(b.desired("n1")).toBeNull();
  expect(b.effects).toContainEqual({
    type: "log",
    level: "error",
    message: expect.stringContaining("/t/default/i/odd is not readable"),
  });
  b.write({ if: [], then: [{ type: "delete", key: keys.instance("default", "odd") }] });
  expect(b.desired("n1")?.containers.map((c) => c.uid)).toEqual(["u-other", "u-web"]);
});

test("heartbeats of a node nobody knows change nothing", () => {
  const b = running();
  expect(b.beat("n9", {})).toEqual([]);
  expect(b.controller.hasNode("n9")).toBe(false);
});

test("a thousand instances: a heartbeat, a tick and a change of one touch only that one", () => {
  const b = bench(4, () => ({}));
  for (let i = 0; i < 1_000; i++)
    b.instance(`i${String(i).padStart(4, "0")}`, { nodes: 2, ports: [1_000 + i] });
  b.obey(...all);
  b.obey(...all);
  const views = b.controller.instanceViews("default");
  expect(views.length).toBe(1_000);
  expect(views.every((view) => view.phase === "running")).toBe(true);
  expect(views.map((view) => view.name)).toEqual(views.map((view) => view.name).sort());
  b.effects = [];
  b.pass(1_000, ...all);
  b.obey(...all);
  expect(b.effects).toEqual([]);
  b.change("i0500", { desired: "stopped" });
  const touched = b.effects.flatMap((e) =>
    e.type === "instance" && e.event.type === "instance" ? [e.event.instance.name] : [],
  );
  expect(new Set(touched)).toEqual(new Set(["i0500"]));
});

test("the URI of a route is the one that certificates of the instance carry", () => {
  const of = { clusterId: "c", tenant: "default", instance: "web", uid: "u" };
  expect(routeUri(of)).toBe(instanceUri(of));
});
