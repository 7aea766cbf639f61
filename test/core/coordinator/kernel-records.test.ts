/** Records of kernels, as agents propose and follow them, through a coordinator with real ports and certificates. */
import { afterEach, expect, test } from "bun:test";
import { randomUUID } from "node:crypto";
import { copyFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ToAgent } from "../../../core/agent-protocol.ts";
import type { KernelRecord, OrderedRecord } from "../../../core/kernel/view.ts";
import { recordsKept, recordsPerFold } from "../../../core/limits.ts";
import { keys } from "../../../core/records.ts";
import { openStore } from "../../../core/store/open.ts";
import { raiseGeneration } from "../../../core/store/transfer.ts";
import { FakeAgent } from "./fake-agent.ts";
import { codeOf, hello, Lab, until } from "./lab.ts";

const labs: Lab[] = [];
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close();
});

async function started(nodes = 1): Promise<{ lab: Lab; agents: FakeAgent[]; uid: string }> {
  const lab = await Lab.start();
  labs.push(lab);
  const agents: FakeAgent[] = [];
  for (let i = 1; i <= nodes; i++) agents.push(await (await FakeAgent.join(lab, `n${i}`)).run());
  const { uid } = await lab.api.instances.create(hello("shop", nodes));
  await until(() => agents.every((a) => a.desired?.containers.some((c) => c.uid === uid)));
  return { lab, agents, uid };
}

const never = new AbortController().signal;
const propose = (agent: FakeAgent, uid: string, record: KernelRecord, id: string = randomUUID()) =>
  agent.link.proposeRecord(uid, { id, record }, never);
const follow = (agent: FakeAgent, uid: string, read: number, after?: number) =>
  agent.link.followRecords(uid, after === undefined ? { read } : { read, after }, never);

function joining(agent: FakeAgent, incarnation: string = randomUUID()): KernelRecord {
  const member = { incarnation, node: agent.id, cpu: 0, unix: "/x", host: "127.0.0.1", port: 1 };
  return { type: "join", member: { ...member, protocol: 1, protocolMin: 1 } };
}

function batches(agent: FakeAgent): Extract<ToAgent, { type: "records" }>[] {
  return agent.messages.filter((m) => m.type === "records");
}
function seen(agent: FakeAgent): OrderedRecord[] {
  return batches(agent).flatMap((b) => b.records);
}

test("followers get every record once, in the same order, whoever proposed it", async () => {
  const { agents, uid } = await started(2);
  const [a, b] = agents as [FakeAgent, FakeAgent];
  const first = await propose(a, uid, joining(a));
  await follow(a, uid, 0, 0);
  await follow(b, uid, 0, 0);
  const second = await propose(b, uid, joining(b));
  const slots = [
    propose(a, uid, { type: "slots", kernel: first, count: 4 }),
    propose(b, uid, { type: "slots", kernel: second, count: 4 }),
  ];
  const indices = [first, second, ...(await Promise.all(slots))].sort((x, y) => x - y);
  await until(() => agents.every((agent) => seen(agent).length >= 4));
  for (const agent of agents) expect(seen(agent).map((r) => r.index)).toEqual(indices);
  expect(seen(a)).toEqual(seen(b));
});

test("a record that is proposed again under its id keeps its place", async () => {
  const { agents, uid } = await started();
  const [a] = agents as [FakeAgent];
  const record = joining(a);
  const id = randomUUID();
  const index = await propose(a, uid, record, id);
  expect(await propose(a, uid, record, id)).toBe(index);
  await follow(a, uid, 0, 0);
  await until(() => seen(a).length > 0);
  expect(seen(a)).toEqual([{ index, id, record }]);
});

test("a node speaks for its own kernels only, and the grantor's node removes others", async () => {
  const { agents, uid } = await started(2);
  const [a, b] = agents as [FakeAgent, FakeAgent];
  expect(await codeOf(propose(a, uid, joining(b)))).toBe("FORBIDDEN");
  const ka = await propose(a, uid, joining(a));
  const kb = await propose(b, uid, joining(b));
  const refused: KernelRecord[] = [
    { type: "slots", kernel: kb, count: 1 },
    { type: "grantor", kernel: kb, epoch: 1 },
    { type: "remove", kernel: kb, reason: "left" },
    { type: "remove", kernel: kb, reason: "exit-certificate" },
    { type: "remove", kernel: kb, reason: "lease", epoch: 1 },
  ];
  await follow(a, uid, 0, 0);
  await until(() => seen(a).length === 2);
  for (const record of refused) expect(await codeOf(propose(a, uid, record))).toBe("FORBIDDEN");
  await propose(a, uid, { type: "grantor", kernel: ka, epoch: 1 });
  await until(() => seen(a).length === 3);
  await propose(a, uid, { type: "remove", kernel: kb, reason: "lease", epoch: 1 });
  await until(() => seen(a).length === 4);
  expect(await codeOf(propose(a, randomUUID(), joining(a)))).toBe("NOT_FOUND");
});

test("a node without a container of the instance can neither propose nor follow", async () => {
  const { lab, uid } = await started();
  const stranger = await (await FakeAgent.join(lab, "other")).run();
  expect(await codeOf(propose(stranger, uid, joining(stranger)))).toBe("FORBIDDEN");
  expect(await codeOf(propose(stranger, uid, { type: "unname", name: "x", endpoint: 65_536 }))).toBe(
    "FORBIDDEN",
  );
  expect(await codeOf(follow(stranger, uid, 0, 0))).toBe("FORBIDDEN");
});

test("an exit certificate removes the member with that incarnation, once, and only on its own node", async () => {
  const { agents, uid } = await started(2);
  const [a, b] = agents as [FakeAgent, FakeAgent];
  const incarnation = randomUUID();
  const kernel = await propose(a, uid, joining(a, incarnation));
  await follow(b, uid, 0, 0);
  await until(() => seen(b).length === 1);
  expect(await codeOf(b.link.containerExited(uid, incarnation, never))).toBe("FORBIDDEN");
  await a.link.containerExited(uid, incarnation, never);
  await a.link.containerExited(uid, incarnation, never);
  await a.link.containerExited(uid, randomUUID(), never);
  await until(() => seen(b).length === 2);
  expect(seen(b)[1]!.record).toEqual({ type: "remove", kernel, reason: "exit-certificate" });
});

test("records survive the coordinator, and a follower goes on where it was", async () => {
  const { lab, agents, uid } = await started();
  const [a] = agents as [FakeAgent];
  const record = joining(a);
  const id = randomUUID();
  const first = await propose(a, uid, record, id);
  a.close();
  await lab.stop();
  await lab.start();
  const again = await FakeAgent.of(lab, {
    ...a.enrolled,
    identity: { ...a.enrolled.identity, agentAddresses: [lab.running.ready.agentAddress] },
  });
  await again.run();
  await until(() => again.desired?.containers.length === 1);
  expect(await propose(again, uid, record, id)).toBe(first);
  await follow(again, uid, first, first);
  const second = await propose(again, uid, { type: "slots", kernel: first, count: 1 });
  await until(() => seen(again).length === 1);
  expect(seen(again)[0]!.index).toBe(second);
});

/** The coordinator ends, something is done to its store, it starts again, and so does the agent. */
async function restarted(lab: Lab, agent: FakeAgent, change: (store: string) => Promise<unknown>) {
  agent.close();
  await lab.stop();
  await change(join(lab.dir, "data", "store.db"));
  await lab.start();
  const agentAddresses = [lab.running.ready.agentAddress];
  const { enrolled } = agent;
  const again = await FakeAgent.of(lab, { ...enrolled, identity: { ...enrolled.identity, agentAddresses } });
  await again.run();
  await until(() => again.desired?.containers.length === 1);
  return again;
}

test("after a restore the records begin anew, and what goes by the old ones is refused", async () => {
  const { lab, agents, uid } = await started();
  const kernel = await propose(agents[0]!, uid, joining(agents[0]!));
  const leased = await propose(agents[0]!, uid, { type: "slots", kernel, count: 1 });
  const a = await restarted(lab, agents[0]!, async (path) => {
    const store = await openStore(`sqlite:${path}`);
    await raiseGeneration(store);
    await store.close();
  });
  const slots = { type: "slots", kernel, count: 1 } as const;
  expect(await codeOf(propose(a, uid, slots))).toBe("CONFLICT");
  await follow(a, uid, leased, leased);
  await until(() => batches(a).length === 1);
  expect(batches(a)).toMatchObject([{ generation: 2, snapshot: null, records: [] }]);
  const next = await propose(a, uid, joining(a));
  await until(() => seen(a).length === 1);
  expect(seen(a)[0]!.index).toBe(next);
  const id = randomUUID();
  const again = { id, record: { ...slots, kernel: next }, generation: 2 };
  expect(await a.link.proposeRecord(uid, again, never)).toBeGreaterThan(next);
  await until(() => seen(a).length === 2);
  // Nothing of it is thrown away by the next start.
  const b = await restarted(lab, a, () => Promise.resolve());
  await b.link.followRecords(uid, { read: 0, after: 0, generation: 2 }, never);
  await until(() => seen(b).length === 2);
  expect(seen(b)).toEqual(seen(a));
});

test("an older store that was put back without being told is found out by those who have read more", async () => {
  const { lab, agents, uid } = await started();
  const [first] = agents as [FakeAgent];
  const kernel = await propose(first, uid, joining(first));
  let copy = "";
  const a = await restarted(lab, first, async (path) => {
    copy = `${path}.copy`;
    await copyFile(path, copy);
  });
  let last = 0;
  for (let i = 0; i < 20; i++) last = await propose(a, uid, { type: "slots", kernel, count: 1 });
  await follow(a, uid, last, last);
  const b = await restarted(lab, a, async (path) => {
    for (const end of ["-wal", "-shm"]) await rm(path + end, { force: true });
    await copyFile(copy, path);
  });
  expect(await codeOf(follow(b, uid, last, last))).toBe("CONFLICT");
  expect(batches(b)).toEqual([]);
  await follow(b, uid, 0, 0);
});

test("what all have read is folded into a snapshot, from which a new follower begins", async () => {
  const { lab, agents, uid } = await started();
  const [a] = agents as [FakeAgent];
  const kernel = await propose(a, uid, joining(a));
  await follow(a, uid, 0, 0);
  const count = recordsKept + recordsPerFold + 8;
  for (let i = 0; i < count; i += 8) {
    await Promise.all(Array.from({ length: 8 }, () => propose(a, uid, { type: "slots", kernel, count: 1 })));
  }
  await until(() => seen(a).length === count + 1);
  const last = seen(a).at(-1)!.index;
  // Nobody has said that it has read them: all are kept.
  await follow(a, uid, 0, 0);
  await until(() => seen(a).length === 2 * (count + 1));
  expect(batches(a).every((b) => b.snapshot === null)).toBe(true);
  a.messages.length = 0;
  await follow(a, uid, last);
  await until(async () => {
    a.messages.length = 0;
    await follow(a, uid, last, 0);
    await until(() => batches(a).length > 0);
    return batches(a)[0]!.snapshot !== null;
  });
  await until(() => seen(a).at(-1)?.index === last);
  const { snapshot } = batches(a)[0]!;
  expect(snapshot!.members.map((m) => m.kernel)).toEqual([kernel]);
  expect(seen(a)[0]!.index).toBeGreaterThan(snapshot!.index);
  expect(seen(a).length).toBe(count + 1 - recordsPerFold);
  await lab.stop();
});

test("with the instance go all records of its kernels, and none of another's", async () => {
  const lab = await Lab.start();
  labs.push(lab);
  const a = await (await FakeAgent.join(lab, "n1")).run();
  const one = await lab.api.instances.create(hello("one"));
  const two = await lab.api.instances.create(hello("two"));
  await until(() => a.desired?.containers.length === 2);
  for (const { uid } of [one, two]) await propose(a, uid, joining(a));
  await lab.api.instances.remove("one");
  await until(async () => (await codeOfMaybe(lab.api.instances.get("one"))) === "NOT_FOUND");
  await new Promise((resolve) => setTimeout(resolve, 100));
  a.close();
  await lab.stop();
  const store = await openStore(`sqlite:${lab.dir}/data/store.db`);
  try {
    expect((await store.range(keys.kernel("default", one.uid))).kvs).toEqual([]);
    expect((await store.range(keys.kernel("default", two.uid))).kvs).toHaveLength(1);
  } finally {
    await store.close();
  }
});

async function codeOfMaybe(action: Promise<unknown>): Promise<string | null> {
  return action.then(
    () => null,
    (e: { code: string }) => e.code,
  );
}
