import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { localProcesses, stopNode } from "../../../core/agent/local-processes.ts";
import { issueCertificate } from "../../../core/trust/authority.ts";
import { containerUri } from "../../../core/trust/identity.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";
import { clusterId, FakeCoordinator, nodeId } from "./fake-coordinator.ts";
import { forEachTest, TestNode } from "./test-node.ts";

// Real host processes on a machine that may be busy: this is when to give up, not how long it takes.
setDefaultTimeout(30_000);

let coordinator: FakeCoordinator;
let node: TestNode;
forEachTest((c, n) => ([coordinator, node] = [c, n]));

const pids = async () => new Map((await node.processes()).map((p) => [`${p.kind} ${p.uid}`, p.pid]));

test("an agent that restarts after kill -9 adopts container and ingress: same pids, none twice", async () => {
  node.start();
  node.want([node.spec("u1")]);
  const before = await node.ready("u1");
  await node.until("table", () => node.table()?.routes[0]?.local?.incarnation === before.incarnation);
  const pidsBefore = await pids();
  await node.kill("SIGKILL");
  coordinator.report = null;
  node.start();
  const after = await node.ready("u1");
  expect(after).toEqual(before);
  const pidsAfter = await pids();
  expect(pidsAfter.size).toBe(3);
  expect(pidsAfter.get("ingress ")).toBe(pidsBefore.get("ingress "));
  expect(pidsAfter.get("container u1")).toBe(pidsBefore.get("container u1"));
  expect(node.witnessed("u1")).toHaveLength(1);
});

test("an agent that is told to end leaves container and ingress running, and their table as it is", async () => {
  node.start();
  node.want([node.spec("u1")]);
  const { incarnation } = await node.ready("u1");
  await node.until("table", () => node.table()?.routes[0]?.local?.incarnation === incarnation);
  await node.kill("SIGTERM");
  expect(await node.ended()).toBe(0);
  expect([...(await pids()).keys()].sort()).toEqual(["container u1", "ingress "]);
  expect(node.table()?.routes[0]?.local?.incarnation).toBe(incarnation);
});

test("an agent that is told to take its containers along leaves nothing running", async () => {
  node.start({ stopContainers: true });
  node.want([node.spec("u1")]);
  await node.ready("u1");
  await node.kill("SIGTERM");
  expect(await node.ended()).toBe(0);
  expect(await node.processes()).toEqual([]);
  expect(existsSync(join(node.dataDir, "run/c/u1/process.json"))).toBe(true);
});

for (const step of [
  "ingress-intent",
  "ingress-spawned",
  "directory",
  "boot",
  "intent",
  "spawned",
  "recorded",
  "linked",
  "ready",
]) {
  test(`an agent that dies at step "${step}" of a start leaves one container and one ingress after the next`, async () => {
    node.want([node.spec("u1")]);
    node.start({ crashAt: step });
    expect(await node.ended()).toBe("SIGKILL");
    coordinator.report = null;
    node.start();
    const { pid, incarnation } = await node.ready("u1");
    expect((await node.processes()).map((p) => p.kind).sort()).toEqual(["agent", "container", "ingress"]);
    expect(node.witnessed("u1").filter((w) => w.double)).toEqual([]);
    expect(node.witnessed("u1").at(-1)).toMatchObject({ pid, incarnation });
  });
}

test("a container that was stopped while there was no agent is killed and replaced", async () => {
  node.start();
  node.want([node.spec("u1")]);
  const before = await node.ready("u1");
  await node.kill("SIGKILL");
  process.kill(before.pid, "SIGSTOP");
  coordinator.report = null;
  node.start();
  const after = await node.ready("u1", before.incarnation);
  expect(after.pid).not.toBe(before.pid);
  expect(node.witnessed("u1").map((w) => w.double)).toEqual([false, false]);
});

test("containers that died or lost their place while there was no agent are restarted or cleaned away", async () => {
  node.start();
  node.want([node.spec("u1"), node.spec("u2"), node.spec("u3")]);
  const dies = await node.ready("u1");
  await node.ready("u2");
  await node.ready("u3");
  await node.kill("SIGKILL");
  process.kill(dies.pid, "SIGKILL");
  mkdirSync(join(node.dataDir, "run/c/stranger"));
  coordinator.report = null;
  coordinator.desired = node.desired([node.spec("u1"), node.spec("u2")]);
  node.start();
  await node.ready("u1", dies.incarnation);
  await node.until("u3 gone", () => coordinator.report !== null && node.container("u3") === undefined);
  await node.until("clean", () => !existsSync(join(node.dataDir, "run/c/stranger")));
  expect(existsSync(join(node.dataDir, "run/c/u3"))).toBe(false);
  expect(
    (await node.processes())
      .map((p) => p.uid)
      .filter((uid) => uid !== "")
      .sort(),
  ).toEqual(["u1", "u2"]);
});

test("a container and an ingress that are stopped while the agent runs are killed and replaced", async () => {
  node.start({ livenessMs: 1_000 });
  node.want([node.spec("u1")]);
  const before = await node.ready("u1");
  const ingress = (await pids()).get("ingress ") ?? 0;
  process.kill(before.pid, "SIGSTOP");
  process.kill(ingress, "SIGSTOP");
  await node.ready("u1", before.incarnation);
  await node.until(
    "another ingress",
    async () => ![undefined, ingress].includes((await pids()).get("ingress ")),
  );
  expect(node.witnessed("u1").map((w) => w.double)).toEqual([false, false]);
});

test("a node that is stopped as a whole and goes on kills none of its containers", async () => {
  node.start({ livenessMs: 1_000 });
  node.want([node.spec("u1")]);
  const before = await node.ready("u1");
  const all = await node.processes();
  for (const { pid } of all) process.kill(pid, "SIGSTOP");
  // Longer than the two intervals after which a container counts as hung.
  await new Promise((resolve) => {
    setTimeout(resolve, 2_300);
  });
  for (const { pid } of all) process.kill(pid, "SIGCONT");
  const beats = coordinator.heartbeats.length;
  await node.until("heartbeats", () => coordinator.heartbeats.length >= beats + 4);
  expect(node.container("u1")).toMatchObject({ state: "ready", pid: before.pid, restarts: 0 });
});

test("the certificate of an adopted container is renewed when it is due, and pushed to it", async () => {
  node.start();
  const spec = node.spec("u1");
  node.want([spec]);
  const { pid } = await node.ready("u1");
  await node.kill("SIGKILL");
  const { key, csr } = await createKeyAndCsr("u1");
  const { tenant, instance, uid } = spec;
  const uri = containerUri({ clusterId, tenant, instance, uid, nodeId });
  const now = new Date(Date.now() - 25 * 86_400_000);
  const old = await issueCertificate(coordinator.workloadCa, { csr, uri, days: 30, now });
  writeFileSync(join(node.dataDir, "run/c/u1/tls.json"), JSON.stringify({ certificate: old, key }));
  coordinator.report = null;
  node.start();
  const kept = () =>
    (JSON.parse(readFileSync(join(node.dataDir, "run/c/u1/tls.json"), "utf8")) as TlsMessage).certificate;
  const pushed = () => (node.messages("u1") as unknown as TlsMessage[]).at(-1)?.certificate;
  await node.until("renewed and pushed", () => kept() !== old && pushed() === kept());
  expect((await node.ready("u1")).pid).toBe(pid);
});

test("stopNode ends every host process of a node, also one that does not listen to SIGTERM", async () => {
  node.start();
  node.want([node.spec("u1"), node.spec("u2", { stubborn: true })]);
  await node.ready("u1");
  await node.ready("u2");
  expect(await stopNode(node.dataDir, { graceMs: 300 })).toBe(4);
  expect(await localProcesses(node.dataDir)).toEqual([]);
  expect(await stopNode(join(node.dataDir, "nowhere"), { graceMs: 300 })).toBe(0);
});

interface TlsMessage {
  certificate: string;
}
