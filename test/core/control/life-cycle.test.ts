import { expect, test } from "bun:test";
import { keys } from "../../../core/records.ts";
import { all, bench, container, failedPort, openPort } from "./bench.ts";

const three = all.slice(0, 3);

/** `web` on three nodes, established. */
function established(nodes = 4) {
  const b = bench(nodes);
  b.instance("web", { nodes: 3, ports: [8080] });
  const names = all.slice(0, nodes);
  b.obey(...names);
  b.obey(...names);
  expect(b.view("web")?.phase).toBe("running");
  b.effects = [];
  return b;
}

test("an instance is placed, created and established, and its events ride in the same transactions", () => {
  const b = bench(3);
  b.instance("web", { nodes: 3, ports: [8080] });
  expect(b.record("web")).toMatchObject({ placement: three, phase: "creating" });
  expect(b.view("web")?.phase).toBe("creating");
  expect(b.desired("n1")?.containers.map((c) => c.uid)).toEqual(["u-web"]);
  b.obey(...three);
  expect(b.record("web")?.phase).toBe("established");
  expect(b.view("web")).toMatchObject({ phase: "running", ready: 3, conditions: [] });
  b.obey(...three);
  expect(b.desired("n2")?.routes[0]?.upstreams.map((u) => u.node)).toEqual(three);
  const reasons = b.table
    .list(keys.events, "", 99, b.table.revision)
    .map((kv) => JSON.parse(kv.value).reason as string);
  expect(new Set(reasons)).toEqual(new Set(["Established", "Placed"]));
});

test("an instance is not established before every port is open on every node that is up", () => {
  const b = bench(4);
  b.instance("web", { nodes: 1, ports: [8080] });
  b.obey("n1", "n2", "n3");
  expect(b.record("web")?.phase).toBe("creating");
  expect(b.view("web")?.conditions).toEqual([
    { reason: "port", message: "port 8080 is not open yet on node n4" },
  ]);
  b.obey("n4");
  expect(b.record("web")?.phase).toBe("established");
});

test("a container that was ready once counts for the establishment, also while it is restarted", () => {
  const b = bench(2);
  b.instance("web", { nodes: 2 });
  b.beat("n1", { containers: [container("u-web", "n1")] });
  b.beat("n1", { containers: [container("u-web", "n1", { state: "backoff", port: 0 })] });
  b.beat("n2", { containers: [container("u-web", "n2")] });
  expect(b.record("web")?.phase).toBe("established");
});

test("too few nodes: nothing is started, and the reason is said", () => {
  const b = bench(2);
  b.instance("web", { nodes: 3 });
  expect(b.kinds()).toEqual([]);
  expect(b.view("web")).toMatchObject({
    phase: "pending",
    conditions: [{ reason: "unschedulable", message: "needs 3 nodes, 2 are up" }],
  });
  b.node("n3");
  b.beat("n3", {});
  expect(b.record("web")?.placement).toEqual(three);
});

test("a container that fails for good rolls the creation back, and the watcher is told why", () => {
  const b = bench(3);
  b.instance("web", { nodes: 3, ports: [8080] });
  const failed = container("u-web", "n2", {
    state: "failed",
    permanent: true,
    reason: "no such option",
    port: 0,
  });
  b.beat("n2", { containers: [failed], ports: [openPort(8080, "u-web")] });
  const failure = { reason: "container-failed", message: "container on node n2: no such option" };
  expect(b.record("web")).toMatchObject({ desired: "removed", failure });
  expect(b.view("web")?.conditions[0]).toEqual(failure);
  b.effects = [];
  b.obey(...three);
  expect(b.record("web")).toBeNull();
  expect(b.table.get(keys.port(8080))).toBeNull();
  expect(b.effects).toContainEqual({
    type: "instance",
    event: { type: "removed", tenant: "default", name: "web", uid: "u-web", failure },
  });
});

test("a container that fails for now is waited for", () => {
  const b = bench(1);
  b.instance("web");
  b.beat("n1", { containers: [container("u-web", "n1", { state: "failed", reason: "exit 1" })] });
  expect(b.record("web")?.desired).toBe("running");
});

test("a port that another program holds for two seconds rolls the creation back, a shorter time does not", () => {
  const b = bench(2);
  b.instance("web", { nodes: 1, ports: [8080] });
  b.beat("n2", { ports: [failedPort(8080, "u-web")] });
  b.pass(1_900, "n1", "n2");
  expect(b.record("web")?.desired).toBe("running");
  b.beat("n2", { ports: [openPort(8080, "u-web")] });
  b.beat("n2", { ports: [failedPort(8080, "u-web")] });
  b.pass(1_900, "n1", "n2");
  expect(b.record("web")?.desired).toBe("running");
  b.pass(100, "n1", "n2");
  expect(b.record("web")).toMatchObject({
    desired: "removed",
    failure: { reason: "port-failed", message: "port 8080 on node n2: address in use" },
  });
});

test("once established, the same faults degrade it and remove nothing", () => {
  const b = established();
  const failed = container("u-web", "n2", { state: "failed", permanent: true, reason: "gone bad", port: 0 });
  b.beat("n2", { containers: [failed], ports: [failedPort(8080, "u-web")] });
  b.pass(5_000, ...all);
  expect(b.record("web")?.desired).toBe("running");
  expect(b.view("web")).toMatchObject({ phase: "degraded", ready: 2 });
  expect(b.view("web")?.conditions).toEqual([
    { reason: "container", message: "container on node n2 is failed: gone bad" },
    { reason: "port", message: "port 8080 is not open on node n2: address in use" },
  ]);
});

test("a removal waits for every living node that still has a container, a port, or an older Desired", () => {
  const b = established(4);
  b.change("web", { desired: "removed" });
  expect(b.view("web")?.phase).toBe("removing");
  b.obey("n1", "n2", "n4");
  expect(b.record("web")).not.toBeNull();
  expect(b.view("web")?.conditions).toEqual([{ reason: "stopping", message: "waits for node n3" }]);
  // Its container is gone, but it has not applied the Desired that ends it: it might start it again.
  b.beat("n3", { revision: 3 });
  expect(b.record("web")).not.toBeNull();
  b.beat("n3", { ports: [openPort(8080, "u-web")] });
  expect(b.record("web")).not.toBeNull();
  b.beat("n3", {});
  expect(b.record("web")).toBeNull();
});

test("a removal does not wait for a node that is down", () => {
  const b = established(3);
  b.change("web", { desired: "removed" });
  b.obey("n1", "n2");
  b.pass(2_100, "n1", "n2");
  expect(b.record("web")).toBeNull();
  // When it is back, its Desired does not name the container.
  b.beat("n3", { containers: [container("u-web", "n3")] });
  expect(b.desired("n3")?.containers).toEqual([]);
});

test("stopping keeps ports and places, starting uses them again", () => {
  const b = established(3);
  b.change("web", { desired: "stopped" });
  expect(b.view("web")?.phase).toBe("stopping");
  b.obey(...three);
  expect(b.view("web")?.phase).toBe("stopped");
  expect(b.desired("n1")).toMatchObject({ containers: [], routes: [] });
  expect(b.controller.portOwner(8080)).toEqual({ tenant: "default", instance: "web", uid: "u-web" });
  b.change("web", { desired: "running" });
  expect(b.record("web")?.placement).toEqual(three);
  b.obey(...three);
  expect(b.view("web")?.phase).toBe("running");
});

test("a node that returns in time keeps its container; after that another node has it", () => {
  const b = established(4);
  b.pass(29_000, "n1", "n2", "n4");
  expect(b.view("web")).toMatchObject({ phase: "degraded", ready: 2 });
  expect(b.view("web")?.conditions).toEqual([{ reason: "node-down", message: "node n3 is down" }]);
  expect(b.record("web")?.placement).toEqual(three);
  b.pass(2_000, "n1", "n2", "n4");
  expect(b.record("web")?.placement).toEqual(["n1", "n2", "n4"]);
  b.obey("n4");
  expect(b.view("web")?.phase).toBe("running");
  b.beat("n3", { containers: [container("u-web", "n3")] });
  expect(b.desired("n3")?.containers).toEqual([]);
  expect(b.record("web")?.placement).toEqual(["n1", "n2", "n4"]);
});

test("a lost node without a replacement stays named: when it returns it goes on", () => {
  const b = established(3);
  b.pass(40_000, "n1", "n2");
  expect(b.record("web")?.placement).toEqual(three);
  expect(b.view("web")?.conditions).toEqual([
    { reason: "unschedulable", message: "needs 3 nodes, 2 are up" },
    { reason: "node-down", message: "node n3 is down" },
  ]);
  b.beat("n3");
  expect(b.view("web")?.phase).toBe("running");
});

test("an instance that is being created does not wait for a node that went down", () => {
  const b = bench(4);
  b.instance("web", { nodes: 3 });
  b.obey("n1", "n2");
  b.pass(2_100, "n1", "n2", "n4");
  expect(b.record("web")?.placement).toEqual(["n1", "n2", "n4"]);
});

test("a drained node gives its container up when the new one is ready, not before", () => {
  const b = established(4);
  b.node("n2", { schedulable: false });
  expect(b.record("web")?.placement).toEqual(["n1", "n2", "n3", "n4"]);
  b.beat("n4", { containers: [container("u-web", "n4", { state: "starting", port: 0 })] });
  expect(b.record("web")?.placement).toEqual(["n1", "n2", "n3", "n4"]);
  b.obey("n4");
  expect(b.record("web")?.placement).toEqual(["n1", "n3", "n4"]);
  b.obey(...all);
  expect(b.desired("n2")?.containers).toEqual([]);
  expect(b.desired("n2")?.routes[0]?.upstreams.map((u) => u.node)).toEqual(["n1", "n3", "n4"]);
});

test("a node that leaves goes when it is empty, and its agent is told", () => {
  const b = established(4);
  b.node("n2", { schedulable: false, leaving: true });
  b.obey("n4");
  expect(b.record("web")?.placement).toEqual(["n1", "n3", "n4"]);
  expect(b.controller.hasNode("n2")).toBe(true);
  b.effects = [];
  b.obey("n2");
  expect(b.controller.hasNode("n2")).toBe(false);
  expect(b.effects).toContainEqual({ type: "removed", node: "n2" });
});

test("a node may leave although nobody can take over, but not with the last container that serves", () => {
  const b = established(3);
  for (const id of ["n1", "n2"]) b.node(id, { schedulable: false, leaving: true });
  b.obey("n1", "n2");
  expect(b.record("web")?.placement).toEqual(["n3"]);
  expect(b.view("web")).toMatchObject({ phase: "degraded", ready: 1 });
  b.node("n3", { schedulable: false, leaving: true });
  b.obey("n3");
  expect(b.record("web")?.placement).toEqual(["n3"]);
  expect(b.controller.nodeViews(b.nowMs)[0]?.warnings).toEqual(["leaving: 1 container still placed here"]);
  b.node("n5");
  b.beat("n5", {});
  b.obey("n5");
  b.obey("n3");
  expect(b.record("web")?.placement).toEqual(["n5"]);
  expect(b.controller.hasNode("n3")).toBe(false);
});

test("the record of a node that is given up takes its containers elsewhere at once", () => {
  const b = established(4);
  b.write({ if: [], then: [{ type: "delete", key: keys.node("n1") }] });
  expect(b.record("web")?.placement).toEqual(["n2", "n3", "n4"]);
});
