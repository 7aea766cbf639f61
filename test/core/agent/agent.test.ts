import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dataDirOf } from "../../../core/agent/data-dir.ts";
import { loadIdentity, saveIdentity } from "../../../core/agent/identity.ts";
import { FakeCoordinator } from "./fake-coordinator.ts";
import { forEachTest, TestNode } from "./test-node.ts";

// Real host processes on a machine that may be busy: this is when to give up, not how long it takes.
setDefaultTimeout(30_000);

let coordinator: FakeCoordinator;
let node: TestNode;
forEachTest((c, n) => ([coordinator, node] = [c, n]));

const image = `sha256:${"0".repeat(64)}`;

test("a container that is wanted is started, and ingress hears that it is ready", async () => {
  node.start();
  node.want([node.spec("u1", {}, { image })]);
  const ready = await node.ready("u1");
  expect(ready.pid).toBeGreaterThan(0);
  expect(ready.port).toBeGreaterThan(0);
  expect(ready.restarts).toBe(0);
  await node.until("table", () => node.table()?.routes[0]?.local?.incarnation === ready.incarnation);
  expect(node.table()?.routes[0]?.local?.socket).toEndWith("/run/c/u1/http.sock");
  await node.until("port", () => coordinator.report?.ports[0]?.state === "open");
  const kinds = (await node.processes()).map((p) => p.kind).sort();
  expect(kinds).toEqual(["agent", "container", "ingress"]);
});

test("a container that is not wanted any more is stopped and its directory removed", async () => {
  node.start();
  node.want([node.spec("u1"), node.spec("u2")]);
  await node.ready("u1");
  await node.ready("u2");
  node.want([node.spec("u2")]);
  await node.until("u1 gone", () => node.container("u1") === undefined);
  expect(existsSync(join(node.dataDir, "run/c/u1"))).toBe(false);
  expect(node.container("u2")?.state).toBe("ready");
  expect((await node.processes()).filter((p) => p.uid === "u1")).toEqual([]);
});

test("a container that dies is started again under a new incarnation and on its old port", async () => {
  node.start();
  node.want([node.spec("u1")]);
  const first = await node.ready("u1");
  process.kill(first.pid, "SIGKILL");
  const second = await node.ready("u1", first.incarnation);
  expect(second.pid).not.toBe(first.pid);
  expect(second.port).toBe(first.port);
  expect(second.restarts).toBe(1);
});

test("a container that crashes at once is started ever less often, and its report says why", async () => {
  node.start();
  node.want([node.spec("u1", { crash: true })]);
  await node.until("three starts", () => (node.container("u1")?.restarts ?? 0) >= 2);
  await node.until("backoff", () => node.container("u1")?.state === "backoff");
  expect(node.container("u1")?.reason).toMatch(/exited with code 3; tried again after 0\.[24] s/);
  expect(node.container("u1")?.permanent).toBe(false);
});

test("a permanent failure is not tried again until the generation changes", async () => {
  node.start();
  node.want([node.spec("u1", { permanent: true })]);
  await node.until("failed", () => node.container("u1")?.state === "failed");
  expect(node.container("u1")).toMatchObject({ permanent: true, reason: "bad option x" });
  node.want([node.spec("u1", { permanent: true })]);
  await node.until("revision", () => coordinator.report?.revision === coordinator.desired?.revision);
  expect(node.witnessed("u1")).toHaveLength(1);
  node.want([node.spec("u1", {}, { generation: 2 })]);
  expect((await node.ready("u1")).generation).toBe(2);
  expect(node.witnessed("u1")).toHaveLength(2);
});

test("a new generation replaces the container, and the old one is dead before the new one starts", async () => {
  node.start();
  node.want([node.spec("u1")]);
  const first = await node.ready("u1");
  node.want([node.spec("u1", {}, { generation: 2 })]);
  const second = await node.ready("u1", first.incarnation);
  expect(second.generation).toBe(2);
  expect(node.witnessed("u1").map((w) => w.double)).toEqual([false, false]);
});

test("a container that does not become ready in time is killed and tried again", async () => {
  node.start();
  node.want([node.spec("u1", { never: true, stubborn: true })]);
  await node.until("tried again", () => node.witnessed("u1").length === 2);
  expect(node.witnessed("u1")[1]?.double).toBe(false);
});

test("a container that does not stop when asked is killed after its grace", async () => {
  node.start();
  node.want([node.spec("u1", { stubborn: true })]);
  await node.ready("u1");
  node.want([]);
  await node.until("stopping", () => node.container("u1")?.state === "stopping");
  await node.until("gone", () => node.container("u1") === undefined);
  expect((await node.processes()).filter((p) => p.kind === "container")).toEqual([]);
});

test("an image that cannot be had is the container's reason and the node's warning, until it can", async () => {
  writeFileSync(join(node.dataDir, "image-problem"), "disk full: 0 bytes free");
  node.start();
  node.want([node.spec("u1", {}, { image })]);
  await node.until("reason", () => node.container("u1")?.reason === "disk full: 0 bytes free");
  expect(node.container("u1")?.state).toBe("pulling");
  expect(coordinator.report?.warnings).toContain("disk full: 0 bytes free");
  rmSync(join(node.dataDir, "image-problem"));
  await node.ready("u1");
});

test("a bad blob that a container names is fetched again, and the container hears of it", async () => {
  node.start();
  node.want([node.spec("u1", { badBlob: `sha256:${"b".repeat(64)}` }, { image })]);
  await node.ready("u1");
  const answer = () => node.messages("u1").find((m) => m["type"] === "blob");
  await node.until("answer", () => answer() !== undefined);
  expect(answer()?.["ok"]).toBe(true);
});

test("an ingress that is killed is started again at once and gets the table", async () => {
  node.start();
  node.want([node.spec("u1")]);
  const { incarnation } = await node.ready("u1");
  const ingress = async () => (await node.processes()).find((p) => p.kind === "ingress")?.pid;
  await node.until("table", () => node.table()?.routes[0]?.local?.incarnation === incarnation);
  const first = (await ingress())!;
  rmSync(join(node.dataDir, "table.json"));
  process.kill(first, "SIGKILL");
  await node.until("table again", () => node.table()?.routes[0]?.local?.incarnation === incarnation);
  expect(await ingress()).not.toBe(first);
});

test("the node's own certificate is renewed when it is due, kept, and given to the ingress", async () => {
  const old = await coordinator.enrolled(25);
  await saveIdentity(dataDirOf(node.dataDir), old);
  node.start();
  node.want([]);
  await node.until("ingress has it", () => {
    const tls = node.table()?.tls;
    return tls !== undefined && tls.certificate !== old.certificates.certificate;
  });
  const kept = await loadIdentity(dataDirOf(node.dataDir));
  const { certificate, key } = kept?.certificates ?? old.certificates;
  expect(node.table()?.tls).toEqual({ certificate, key, ca: old.certificates.workloadCa });
  expect(key).not.toBe(old.certificates.key);
});

test("the log of a container is sent when the coordinator asks for it", async () => {
  node.start();
  node.want([node.spec("u1")]);
  const { incarnation } = await node.ready("u1");
  coordinator.send({ type: "logs", id: "s1", uid: "u1", tailLines: 10, follow: false });
  await node.until("log", () => coordinator.logs.has("s1"));
  expect(coordinator.logs.get("s1")).toBe(`line of ${incarnation}\n`);
  coordinator.send({ type: "logs", id: "s2", uid: "nobody", tailLines: 10, follow: false });
  await node.until("empty log", () => coordinator.logs.get("s2") === "");
});

test("a node that was removed stops everything, forgets its cluster and ends with 0", async () => {
  node.start();
  node.want([node.spec("u1")]);
  await node.ready("u1");
  coordinator.send({ type: "removed" });
  expect(await node.ended()).toBe(0);
  expect(await node.processes()).toEqual([]);
  expect(readdirSync(node.dataDir)).not.toContain("identity.json");
  expect(readdirSync(node.dataDir)).not.toContain("run");
});
