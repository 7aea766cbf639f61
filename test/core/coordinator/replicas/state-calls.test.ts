/** State processes' calls through a coordinator with real ports and certificates, and a person who recovers an instance. */
import { afterEach, expect, test } from "bun:test";
import { randomUUID } from "node:crypto";
import { ReplicaStore } from "../../../../core/coordinator/replicas/replica-store.ts";
import type { Configuration } from "../../../../core/replica/configuration.ts";
import { nextEra } from "../../../../core/replica/era.ts";
import type { ReplicaStatus } from "../../../../core/state/replica-status.ts";
import { registry } from "../../../../plugins/registry.ts";
import { FakeAgent } from "../fake-agent.ts";
import { codeOf, failure, Lab, until } from "../lab.ts";

const labs: Lab[] = [];
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close();
});

const never = new AbortController().signal;
const disks = ["1", "2", "3"].map((digit) => digit.repeat(32));

async function started() {
  const lab = await Lab.start({ registry });
  labs.push(lab);
  const agents: FakeAgent[] = [];
  for (let i = 1; i <= 3; i++) agents.push(await (await FakeAgent.join(lab, `n${i}`)).run());
  const spec = { os: "hello", nodes: 2, state: { replicas: 2 } };
  const { uid } = await lab.api.instances.create({ name: "kv", spec });
  await until(() => agents.filter((a) => a.desired?.replicas.some((r) => r.uid === uid)).length === 2);
  const holders = agents.filter((a) => a.desired?.replicas.some((r) => r.uid === uid));
  const stranger = agents.find((a) => !holders.includes(a))!;
  return {
    lab,
    holders: holders as [FakeAgent, FakeAgent],
    stranger,
    of: { tenant: "default", instance: "kv", uid },
  };
}

type Started = Awaited<ReturnType<typeof started>>;

const register = ({ of, holders }: Started, i: number, incarnation = `i${i}`) =>
  holders[i]!.link.state.register(
    { ...of, disk: disks[i]!, incarnation, unix: "/run/s", port: 7_000 + i },
    never,
  );
const sets = (agent: FakeAgent) => agent.messages.flatMap((m) => (m.type === "replicas" ? [m.replicas] : []));

function change(version: number, configuration: Partial<Configuration> = {}) {
  const primary = { disk: disks[0]!, incarnation: "i0" };
  const changeId = randomUUID();
  return {
    generation: 1,
    version,
    configuration: { epoch: 1, generation: 1, primary, inSync: [disks[0]!], changeId, ...configuration },
  };
}

/** Both in sync, the first is the primary, and says so. */
async function established(): Promise<Started> {
  const s = await started();
  await register(s, 0);
  await register(s, 1);
  const [a] = s.holders;
  await a.link.state.change({ ...s.of, change: change(0) }, never);
  await a.link.state.change({ ...s.of, change: change(1, { inSync: disks.slice(0, 2) }) }, never);
  return s;
}

const status = (role: ReplicaStatus["role"], index: number): ReplicaStatus => ({
  ...{ role, serving: role === "primary", epoch: 1, index, committed: index, applied: index },
  ...{ durability: "fsync", diskBytes: 1, problem: "" },
});

test("a registration and each change reach every node of the instance, and nodes that connect later", async () => {
  const s = await started();
  const [a, b] = s.holders;
  await register(s, 0);
  await until(() => sets(b).some((set) => set.wanted.some((r) => r.disk === disks[0])));
  const answer = await a.link.state.change({ ...s.of, change: change(0) }, never);
  expect(answer).toEqual({ outcome: "done", reason: "" });
  await until(() => sets(b).some((set) => set.configuration.version === 1));
  expect(sets(s.stranger)).toEqual([]);
  b.messages.length = 0;
  await b.listen();
  await until(() => sets(b).length > 0);
  expect(sets(b)[0]).toMatchObject({ configuration: { version: 1 }, policy: { replicas: 2, minInSync: 1 } });
  expect(await b.link.state.read(s.of, never)).toMatchObject({ configuration: { version: 1 } });
});

test("who is no replica of the instance registers nothing and changes nothing", async () => {
  const s = await started();
  const registration = { ...s.of, disk: disks[2]!, incarnation: "i2", unix: "", port: 1 };
  expect(await codeOf(s.stranger.link.state.register(registration, never))).toBe("FORBIDDEN");
  const answer = await s.stranger.link.state.change({ ...s.of, change: change(0) }, never);
  expect(answer).toMatchObject({ outcome: "refused" });
  const elsewhere = { ...s.of, uid: "other" };
  expect(await codeOf(s.stranger.link.state.read(elsewhere, never))).toBe("NOT_FOUND");
});

test("an exit certificate reaches the other replicas", async () => {
  const s = await established();
  const [a, b] = s.holders;
  await a.link.state.exit({ ...s.of, disk: disks[0]!, incarnation: "i0" }, never);
  await until(() => sets(b).some((set) => set.exits.length > 0));
  expect(sets(b).at(-1)?.exits).toEqual([{ node: a.id, disk: disks[0]!, incarnation: "i0" }]);
});

test("a recovery is refused while a primary serves, and without the word that loss is accepted", async () => {
  const s = await established();
  const { api } = s.lab;
  const [a, b] = s.holders;
  a.replicaStatus = status("primary", 20);
  b.replicaStatus = status("backup", 17);
  await until(async () => (await api.instances.get("kv")).state!.replicas.some((r) => r.serving));
  const from = (await api.instances.get("kv")).state!.replicas.find((r) => r.node === b.id)!.nodeName;
  expect(await codeOf(api.instances.recover("kv", { from, acceptLoss: true }))).toBe("CONFLICT");
  a.close();
  await until(async () => (await api.instances.get("kv")).state!.replicas.some((r) => r.state === "lost"));
  const refusal = await failure(api.instances.recover("kv", { from }));
  expect(refusal.code).toBe("FAILED");
  expect(refusal.message).toContain("last record at least 20 of epoch 1");
  expect(refusal.message).toContain("last record 17 of epoch 1");
  expect(await codeOf(api.instances.recover("kv", { from: "nowhere", acceptLoss: true }))).toBe("NOT_FOUND");
});

test("a recovery makes one replica the only one that counts, under an epoch above all, and tells everybody", async () => {
  const s = await established();
  const { api } = s.lab;
  const [a, b] = s.holders;
  a.replicaStatus = { ...status("backup", 20), epoch: 4 };
  b.replicaStatus = status("backup", 17);
  await until(async () => (await api.instances.get("kv")).state!.replicas.every((r) => r.index > 0));
  a.close();
  const view = await api.instances.get("kv");
  const from = view.state!.replicas.find((r) => r.node === b.id)!.nodeName;
  const recovered = await api.instances.recover("kv", { from, acceptLoss: true });
  expect(recovered.state).toMatchObject({
    epoch: nextEra(4),
    version: 3,
    inSync: 1,
    primary: { node: b.id },
  });
  await until(() => sets(b).some((set) => set.configuration.version === 3));
  expect(sets(b).at(-1)?.configuration.configuration).toMatchObject({
    epoch: nextEra(4),
    primary: { disk: disks[1]!, incarnation: "i1" },
    inSync: [disks[1]!],
  });
  const events: string[] = [];
  for await (const event of api.events({ limit: 100 })) events.push(`${event.reason} ${event.message}`);
  expect(events.join("\n")).toContain("Recovered its state goes on from node");
});

test("the node with the only copy of a state is not removed without force", async () => {
  const s = await started();
  const { api } = s.lab;
  const [a] = s.holders;
  await register(s, 0);
  await a.link.state.change({ ...s.of, change: change(0) }, never);
  await until(async () => (await api.instances.get("kv")).state?.inSync === 1);
  const name = (await api.instances.get("kv")).state!.primary!.nodeName;
  a.close();
  await until(async () => (await api.nodes.get(name)).state === "down");
  const refusal = await failure(api.nodes.remove(name));
  expect(refusal.code).toBe("CONFLICT");
  expect(refusal.message).toContain("has all of the state of instance kv");
  await api.nodes.remove(name, true);
});

test("of two recoveries of one version one is made", async () => {
  const { lab, of, holders } = await established();
  const { openStore } = await import("../../../../core/store/open.ts");
  const { dir } = lab;
  await lab.stop();
  const store = await openStore(`sqlite:${dir}/data/store.db`);
  lab.onClose(() => store.close());
  const replicas = new ReplicaStore(store);
  const attempt = (node: string) =>
    replicas.recover(of, { node, version: 2, epoch: 9, changeId: randomUUID() }, []).then(
      () => "done",
      (e: { code: string }) => e.code,
    );
  expect((await Promise.all(holders.map((h) => attempt(h.id)))).sort()).toEqual(["CONFLICT", "done"]);
});
