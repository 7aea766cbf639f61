/** State processes under an agent: registered, certified, adopted; their data stays until it is surely not wanted. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { stateEnvironment } from "../../../core/state/environment.ts";
import type { ReplicaSet } from "../../../core/state/replica-set.ts";
import { FakeCoordinator, nodeId } from "./fake-coordinator.ts";
import { forEachTest, TestNode } from "./test-node.ts";

// Real host processes on a machine that may be busy: this is when to give up, not how long it takes.
setDefaultTimeout(30_000);

let coordinator: FakeCoordinator;
let node: TestNode;
forEachTest((c, n) => ([coordinator, node] = [c, n]));

const calls = (call: string) => coordinator.stateCalls.filter((c) => c.call === call).map((c) => c.body);
const dataOf = (uid: string) => join(node.dataDir, "state", uid);
const want = (run = true, more = {}) => node.want([], { replicas: [node.replicaSpec("u1", run)], ...more });
const processes = () => node.witnessed("state-u1");
const told = () => node.messages("state-u1");
const kill = (pid: number) => process.kill(pid, "SIGKILL");

function replicaSet(revision: number): ReplicaSet {
  const configuration = { generation: 1, version: 0, configuration: null };
  const policy = { replicas: 1, minInSync: 1, durability: "fsync" as const };
  return { revision, configuration, policy, wanted: [], leaving: [], exits: [] };
}

test("a state process is started, registered with its disk, and reported with what it tells of itself", async () => {
  node.start();
  want();
  const { incarnation, disk, status } = await node.stateReady("u1");
  expect(status).toMatchObject({ role: "learner", index: 7 });
  expect(disk).toMatch(/^[0-9a-f]{32}$/);
  await node.until("registered", () => calls("replica").length > 0);
  const [port] = [30_000 + ((node.replica("u1")?.pid ?? 0) % 10_000)];
  expect(calls("replica").at(-1)).toEqual({
    ...{ tenant: "default", instance: "web", uid: "u1", disk, incarnation, port },
    unix: join(node.dataDir, "run/s/u1/state.sock"),
  });
  for (const dir of [dataOf("u1"), join(node.dataDir, "state")])
    expect(statSync(dir).mode & 0o777).toBe(0o700);
  const boot = JSON.parse(readFileSync(join(node.dataDir, "run/s/u1/boot.json"), "utf8")) as Record<
    string,
    unknown
  >;
  expect(boot).toMatchObject({ uid: "u1", incarnation, dataDir: dataOf("u1"), node: { id: nodeId } });
  expect(boot["tls"]).toHaveProperty("workloadCa");
  const environment = readFileSync(`/proc/${node.replica("u1")!.pid}/environ`, "utf8").split("\0");
  for (const [name, value] of Object.entries(stateEnvironment))
    expect(environment).toContain(`${name}=${value}`);
});

test("who keeps the state goes to state process and container, also to those that start later; never an older one", async () => {
  node.start();
  node.want([node.spec("u1")], { replicas: [node.replicaSpec("u1")] });
  await node.stateReady("u1");
  await node.ready("u1");
  for (const revision of [5, 4])
    coordinator.send({ type: "replicas", uid: "u1", replicas: replicaSet(revision) });
  const sets = (uid: string) =>
    (node.messages(uid) as unknown as { type: string; replicas: ReplicaSet }[]).filter(
      (m) => m.type === "replicas",
    );
  await node.until("both told", () => sets("u1").length > 0 && sets("state-u1").length > 0);
  expect(sets("state-u1").map((m) => m.replicas.revision)).toEqual([5]);
  const before = node.container("u1")!;
  kill(before.pid);
  await node.ready("u1", before.incarnation);
  await node.until("told again", () => sets("u1").length > 1);
  expect(sets("u1").map((m) => m.replicas.revision)).toEqual([5, 5]);
});

test("asking and proposing go to the coordinator, and its answers come back", async () => {
  node.start();
  want();
  const { pid } = await node.stateReady("u1");
  coordinator.replicas = replicaSet(9);
  process.kill(pid, "SIGUSR1");
  await node.until("asked", () => told().some((m) => m["type"] === "replicas"));
  coordinator.changeAnswer = { outcome: "refused", reason: "another was faster" };
  process.kill(pid, "SIGUSR2");
  await node.until("refused", () => told().some((m) => m["type"] === "proposed"));
  coordinator.changeAnswer = null;
  process.kill(pid, "SIGUSR2");
  await node.until("not made", () => told().filter((m) => m["type"] === "proposed").length === 2);
  coordinator.changeAnswer = { outcome: "done", reason: "" };
  process.kill(pid, "SIGUSR2");
  await node.until("made", () => told().filter((m) => m["type"] === "proposed").length === 3);
  const outcomes = told().filter((m) => m["type"] === "proposed");
  expect(outcomes.map((m) => [m["changeId"], m["outcome"]])).toEqual([
    ["change-of-test", "refused"],
    ["change-of-test", "refused"],
    ["change-of-test", "done"],
  ]);
});

test("the next incarnation starts only after the end of the one before was certified", async () => {
  node.start();
  want();
  const first = await node.stateReady("u1");
  const { promise, resolve } = Promise.withResolvers<void>();
  coordinator.exitsHeld = promise;
  kill(first.pid);
  await node.until("certified", () => calls("exit").length > 0);
  const { tenant, instance, uid, incarnation, disk } = first;
  expect(calls("exit")[0]).toEqual({ tenant, instance, uid, incarnation, disk });
  // Far longer than the back-off.
  await new Promise((done) => {
    setTimeout(done, 700);
  });
  expect(processes()).toHaveLength(1);
  coordinator.exitsHeld = null;
  resolve();
  const second = await node.stateReady("u1", first.incarnation);
  expect(second.disk).toBe(first.disk);
  expect(processes().map((p) => p.double)).toEqual([false, false]);
});

test("while no coordinator answers it starts again without, and the certificate follows", async () => {
  node.start();
  want();
  const first = await node.stateReady("u1");
  await coordinator.down();
  kill(first.pid);
  await node.until("another", () => processes().length === 2);
  expect(calls("exit")).toEqual([]);
  await coordinator.listen();
  const second = await node.stateReady("u1", first.incarnation);
  await node.until("certified", () => calls("exit").length > 0);
  expect(calls("exit").map((body) => body["incarnation"])).toEqual([first.incarnation]);
  expect(second.incarnation).toBe(processes()[1]!.incarnation);
});

test("an agent that restarts after kill -9 adopts the state process: nothing of it is certified", async () => {
  node.start();
  want();
  const before = await node.stateReady("u1");
  await node.kill("SIGKILL");
  coordinator.report = null;
  node.start();
  const after = await node.stateReady("u1");
  expect(after).toMatchObject({ pid: before.pid, incarnation: before.incarnation, disk: before.disk });
  expect(calls("exit")).toEqual([]);
  expect(processes()).toHaveLength(1);
});

test("one that died while there was no agent is certified by the next agent before it starts another", async () => {
  node.start();
  want();
  const before = await node.stateReady("u1");
  await node.until("registered", () => calls("replica").length > 0);
  await node.kill("SIGKILL");
  kill(before.pid);
  coordinator.report = null;
  node.start();
  await node.stateReady("u1", before.incarnation);
  await node.until("registered again", () => calls("replica").length > 1);
  expect(calls("exit").map((body) => [body["incarnation"], body["disk"]])).toEqual([
    [before.incarnation, before.disk],
  ]);
  const order = coordinator.stateCalls.map((c) => c.call);
  expect(order.lastIndexOf("replica")).toBeGreaterThan(order.indexOf("exit"));
});

for (const step of ["directory", "boot", "intent", "spawned", "recorded", "linked", "ready"]) {
  test(`an agent that dies at step "${step}" of a start leaves one state process after the next`, async () => {
    want();
    node.start({ crashAt: step });
    expect(await node.ended()).toBe("SIGKILL");
    coordinator.report = null;
    node.start();
    const { pid, incarnation } = await node.stateReady("u1");
    expect(processes().filter((p) => p.double)).toEqual([]);
    expect(processes().at(-1)).toMatchObject({ pid, incarnation });
  });
}

test("it is stopped after the container, keeps its data, and starts again on the same disk", async () => {
  node.start();
  node.want([node.spec("u1")], { replicas: [node.replicaSpec("u1")] });
  const { disk } = await node.stateReady("u1");
  await node.ready("u1");
  node.want([], { replicas: [node.replicaSpec("u1", false)] });
  await node.until("kept", () => node.replica("u1")?.state === "kept" && node.container("u1") === undefined);
  expect(told().at(-1)).toMatchObject({ type: "stop" });
  // Whatever was reported in between: never a container without its state process.
  for (const { report } of coordinator.heartbeats) {
    if (report?.containers.some((c) => c.state === "ready"))
      expect(report.replicas[0]?.state).not.toBe("kept");
  }
  expect(existsSync(dataOf("u1"))).toBe(true);
  want();
  expect((await node.stateReady("u1")).disk).toBe(disk);
});

test("its data is removed when the coordinator no longer names it, and what it shared is forgotten", async () => {
  node.start();
  want();
  await node.stateReady("u1");
  node.want([]);
  await node.until(
    "gone",
    () => !existsSync(dataOf("u1")) && !existsSync(join(node.dataDir, "state/u1.json")),
  );
  await node.until("not reported", () => node.replica("u1") === undefined);
  expect(await node.processes()).toHaveLength(2);
  await node.until("tidy", () => !existsSync(join(node.dataDir, "run/s/u1")));
});

test("an old Desired removes nothing that the store still counts on, nor while no coordinator answers", async () => {
  node.start();
  want();
  const { disk } = await node.stateReady("u1");
  for (const answer of [false, null]) {
    coordinator.gone = answer;
    const before = calls("gone").length;
    node.want([]);
    await node.until("asked", () => calls("gone").length > before);
    expect(existsSync(join(dataOf("u1"), "disk"))).toBe(true);
    want();
    expect((await node.stateReady("u1")).disk).toBe(disk);
  }
  node.want([]);
  await node.until("asked in vain", () => node.replica("u1")?.state === "kept");
  coordinator.gone = true;
  await node.until("gone", () => !existsSync(dataOf("u1")));
});

test("a store of another generation that does not name it removes nothing: people are told", async () => {
  node.start();
  want();
  await node.stateReady("u1");
  node.want([], { storeGeneration: 2 });
  await node.until(
    "warned",
    () => coordinator.report?.warnings.some((w) => w.includes(dataOf("u1"))) ?? false,
  );
  expect(existsSync(join(dataOf("u1"), "disk"))).toBe(true);
  await node.until("stopped", () => node.replica("u1") === undefined);
  want(true, { storeGeneration: 2 });
  await node.stateReady("u1");
  expect(coordinator.report?.warnings).toEqual([]);
  node.want([], { storeGeneration: 2 });
  await node.until("gone", () => !existsSync(dataOf("u1")));
});

test("data that was being removed when the agent died is never taken for a replica", async () => {
  node.start();
  want();
  await node.stateReady("u1");
  await node.kill("SIGKILL");
  mkdirSync(join(node.dataDir, "state/.removed-u9"));
  coordinator.report = null;
  node.start();
  await node.stateReady("u1");
  expect(existsSync(join(node.dataDir, "state/.removed-u9"))).toBe(false);
  expect(coordinator.report!.replicas.map((r) => r.uid)).toEqual(["u1"]);
});

test("a uid that is no name of a directory is refused, wherever it comes from", async () => {
  node.start();
  want();
  await node.stateReady("u1");
  node.want([], { replicas: [node.replicaSpec("u1"), node.replicaSpec("../../outside")] });
  coordinator.send({ type: "replicas", uid: "../../outside", replicas: replicaSet(1) });
  await node.until(
    "warned",
    () => coordinator.report?.warnings.some((w) => w.includes("unusable uid")) ?? false,
  );
  expect(existsSync(join(node.dataDir, "outside"))).toBe(false);
  expect(node.replica("u1")?.state).toBe("ready");
});
