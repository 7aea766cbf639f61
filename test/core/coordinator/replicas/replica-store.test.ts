/** Configurations in the store: compare-and-set, answers that are lost, stores that are rolled back. */
import { beforeEach, expect, test } from "bun:test";
import { ReplicaStore } from "../../../../core/coordinator/replicas/replica-store.ts";
import { InstanceRecord, InstanceSpec, keys, type NodeRecord } from "../../../../core/records.ts";
import type { Change, Configuration } from "../../../../core/replica/configuration.ts";
import { openMemoryStore } from "../../../../core/store/memory/memory.ts";
import type { Store, StoreError } from "../../../../core/store/store.ts";
import { FaultyStore } from "../faulty-store.ts";
import { codeOf } from "../lab.ts";

const of = { tenant: "default", instance: "shop", uid: "u1" };
const disks = { n1: "1".repeat(32), n2: "2".repeat(32), n3: "3".repeat(32) };
type Node = keyof typeof disks;
const policy = { replicas: 3, minInSync: 2, durability: "fsync" as const, replaceAfterMs: 300_000 };

let memory: Store;
let store: FaultyStore;
let replicas: ReplicaStore;
let changes = 0;

beforeEach(async () => {
  memory = openMemoryStore();
  store = new FaultyStore(memory);
  replicas = new ReplicaStore(store);
  await putInstance(["n1", "n2", "n3"]);
  for (const node of ["n1", "n2", "n3"]) {
    const record: NodeRecord = {
      ...{ id: node, name: node, address: `10.0.0.${node.slice(1)}`, labels: {}, schedulable: true },
      ...{ leaving: false, joinedAt: "", containersMax: 0 },
    };
    await put(keys.node(node), record);
  }
});

async function put(key: string, value: unknown): Promise<void> {
  await memory.txn({ if: [], then: [{ type: "put", key, value: JSON.stringify(value) }] });
}

async function putInstance(wanted: string[], uid = of.uid): Promise<void> {
  const record: InstanceRecord = {
    ...{ tenant: of.tenant, name: of.instance, uid, generation: 1, desired: "running", phase: "established" },
    spec: InstanceSpec.parse({ os: "hello", nodes: 3, state: policy }),
    ...{ failure: null, placement: wanted, replicas: wanted, createdAt: "" },
  };
  await put(keys.instance(of.tenant, of.instance), record);
}

const register = (node: Node, incarnation = `${node}-a`) =>
  replicas.register(node, { ...of, disk: disks[node], incarnation, unix: `/run/${node}.sock`, port: 7_000 });

function change(
  version: number,
  configuration: Partial<Configuration> & { primary: Configuration["primary"] },
): Change {
  const changeId = `change-${++changes}`;
  return {
    generation: 1,
    version,
    configuration: {
      generation: 1,
      epoch: 1,
      inSync: [configuration.primary.disk],
      changeId,
      ...configuration,
    },
  };
}
const holder = (node: Node, incarnation = `${node}-a`) => ({ disk: disks[node], incarnation });
const first = (node: Node) => change(0, { primary: holder(node) });
const versioned = async () => (await replicas.read(of)).configuration;
const outcome = async (node: string, of_: Change) => (await replicas.change(node, of, of_)).outcome;

/** Registered all, n1 is the primary and all are in sync: version 2. */
async function established(): Promise<void> {
  for (const node of ["n1", "n2", "n3"] as const) await register(node);
  expect(await outcome("n1", first("n1"))).toBe("done");
  const all = change(1, { primary: holder("n1"), inSync: Object.values(disks) });
  expect(await outcome("n1", all)).toBe("done");
}

test("the first configuration is made once, by whoever comes first", async () => {
  await register("n1");
  await register("n2");
  expect(await versioned()).toEqual({ generation: 1, version: 0, configuration: null });
  const mine = first("n1");
  expect(await outcome("n1", mine)).toBe("done");
  expect(await outcome("n2", first("n2"))).toBe("refused");
  expect(await versioned()).toEqual({ generation: 1, version: 1, configuration: mine.configuration });
});

test("of two changes of one version one is made, whichever coordinator carries it out", async () => {
  await established();
  const other = new ReplicaStore(memory);
  const removal = change(2, { primary: holder("n1"), inSync: [disks.n1, disks.n3] });
  const takeover = change(2, { epoch: 2, primary: holder("n2"), inSync: [disks.n2, disks.n3] });
  const outcomes = await Promise.all([
    outcome("n1", removal),
    other.change("n2", of, takeover).then((answer) => answer.outcome),
  ]);
  expect(outcomes.sort()).toEqual(["done", "refused"]);
  expect((await versioned()).version).toBe(3);
});

test("a change whose answer the store lost is found again by its id and made once", async () => {
  await established();
  store.lostAnswers = 1;
  const removal = change(2, { primary: holder("n1"), inSync: [disks.n1, disks.n2] });
  expect(await outcome("n1", removal)).toBe("done");
  expect((await versioned()).version).toBe(3);
});

test("a change whose answer was lost on the way back is told as done, also under later ones", async () => {
  await established();
  const removal = change(2, { primary: holder("n1"), inSync: [disks.n1, disks.n2] });
  expect(await outcome("n1", removal)).toBe("done");
  const join = change(3, { primary: holder("n1"), inSync: Object.values(disks) });
  expect(await outcome("n1", join)).toBe("done");
  expect(await outcome("n1", removal)).toBe("done");
  expect((await versioned()).configuration).toEqual(join.configuration);
});

test("while the store does not tell, the outcome is unknown, and reading tells it later", async () => {
  await established();
  const removal = change(2, { primary: holder("n1"), inSync: [disks.n1, disks.n2] });
  store.txns = "UNKNOWN_OUTCOME";
  expect(await outcome("n1", removal)).toBe("unknown");
  store.txns = null;
  expect((await versioned()).version).toBe(2);
  expect(await outcome("n1", removal)).toBe("done");
  expect((await versioned()).configuration?.changeId).toBe(removal.configuration.changeId);
});

test("a store that cannot be asked has changed nothing", async () => {
  await established();
  store.reads = "UNAVAILABLE";
  const tried = outcome("n1", change(2, { primary: holder("n1") }));
  expect(await tried.catch((e: StoreError) => e.code)).toBe("UNAVAILABLE");
  store.reads = null;
  expect((await versioned()).version).toBe(2);
});

test("a change for another generation of the store is refused", async () => {
  await established();
  const stale = change(2, { primary: holder("n1"), inSync: [disks.n1, disks.n2] });
  for (const generation of [0, 2]) {
    const answer = await replicas.change("n1", of, { ...stale, generation });
    expect(answer.outcome).toBe("refused");
    expect(answer.reason).toContain("generation");
  }
});

test("a configuration that came with a restored store is changed by no member", async () => {
  await established();
  store.generation = () => Promise.resolve(2);
  const { configuration } = change(2, { primary: holder("n1"), generation: 2, inSync: [disks.n1, disks.n2] });
  const answer = await replicas.change("n1", of, { generation: 2, version: 2, configuration });
  expect(answer.outcome).toBe("refused");
  expect(answer.reason).toContain("dvs instance recover");
  expect(await versioned()).toMatchObject({ generation: 2, configuration: { generation: 1 } });
});

test("a change does not wait for what the members of the store say of each other: one of them may be cut off", async () => {
  store.status = () => new Promise(() => undefined);
  await established();
  expect(await replicas.read(of)).toMatchObject({ configuration: { generation: 1 } });
});

test("who may propose what", async () => {
  await established();
  const takeover = { epoch: 2, primary: holder("n2"), inSync: [disks.n2, disks.n3] };
  const refusals: [string, Change, string][] = [
    ["n4", change(2, takeover), "no registered replica"],
    ["n3", change(2, takeover), "neither from the old nor from the new"],
    ["n2", change(2, { primary: holder("n1"), inSync: [disks.n1] }), "does not come from it"],
    ["n2", change(2, { ...takeover, epoch: 1 }), "is not above 1"],
    ["n1", change(2, { epoch: 2, primary: holder("n1") }), "without a new primary"],
    ["n2", change(2, { ...takeover, primary: holder("n2", "other") }), "registered last"],
    ["n1", change(2, { primary: holder("n1"), inSync: [disks.n1, "4".repeat(32)] }), "is not registered"],
  ];
  for (const [node, proposal, why] of refusals) {
    const answer = await replicas.change(node, of, proposal);
    expect(answer).toMatchObject({ outcome: "refused" });
    expect(answer.reason).toContain(why);
  }
  expect((await versioned()).version).toBe(2);
  expect(await outcome("n2", change(2, takeover))).toBe("done");
});

test("a removed backup proposes nothing, and a new primary takes nobody in at once", async () => {
  await established();
  expect(await outcome("n1", change(2, { primary: holder("n1"), inSync: [disks.n1, disks.n2] }))).toBe(
    "done",
  );
  const removed = change(3, { epoch: 2, primary: holder("n3"), inSync: [disks.n3] });
  expect((await replicas.change("n3", of, removed)).reason).toContain("not in sync");
  const wider = change(3, { epoch: 2, primary: holder("n2"), inSync: [disks.n2, disks.n3] });
  expect((await replicas.change("n2", of, wider)).reason).toContain("was not in sync");
});

test("what an incarnation proposed before it ended is refused once its successor has registered", async () => {
  await established();
  const late = change(2, { primary: holder("n1"), inSync: [disks.n1] });
  await register("n1", "n1-b");
  expect(await outcome("n1", late)).toBe("refused");
  const restarted = change(2, { epoch: 2, primary: holder("n1", "n1-b"), inSync: Object.values(disks) });
  expect(await outcome("n1", restarted)).toBe("done");
});

test("only wanted nodes register, under the address that the cluster knows", async () => {
  await putInstance(["n1"]);
  await register("n1");
  expect(await codeOf(register("n2"))).toBe("FORBIDDEN");
  expect(
    await codeOf(
      replicas.register("n1", { ...of, uid: "gone", disk: disks.n1, incarnation: "x", unix: "", port: 1 }),
    ),
  ).toBe("NOT_FOUND");
  expect((await replicas.read(of)).wanted).toEqual([
    { node: "n1", disk: disks.n1, incarnation: "n1-a", unix: "/run/n1.sock", host: "10.0.0.1", port: 7_000 },
  ]);
});

test("certificates are kept beside the registration that follows, and end an incarnation for good", async () => {
  await register("n1");
  const exit = { node: "n1", ...holder("n1") };
  await replicas.certify("n1", { ...of, ...holder("n1") });
  await replicas.certify("n1", { ...of, ...holder("n1") });
  expect(await codeOf(register("n1"))).toBe("CONFLICT");
  await register("n1", "n1-b");
  const { exits, wanted } = await replicas.read(of);
  expect(exits).toEqual([exit]);
  expect(wanted[0]?.incarnation).toBe("n1-b");
  expect(await codeOf(replicas.certify("n2", { ...of, ...holder("n2") }))).toBe("NOT_FOUND");
});

test("what is in sync and not wanted any more is told as leaving, and may register again", async () => {
  await established();
  await putInstance(["n1", "n2"]);
  const set = await replicas.read(of);
  expect(set.wanted.map((r) => r.node)).toEqual(["n1", "n2"]);
  expect(set.leaving.map((r) => r.node)).toEqual(["n3"]);
  await register("n3", "n3-b");
  expect((await replicas.read(of)).leaving[0]?.incarnation).toBe("n3-b");
});

test("data may go once its replica is neither wanted nor in sync, or its instance is being removed", async () => {
  await established();
  const gone = (node: string) => replicas.isGone(node, of);
  expect(await gone("n3")).toBe(false);
  await putInstance(["n1", "n2"]);
  expect(await gone("n3")).toBe(false);
  expect(await outcome("n1", change(2, { primary: holder("n1"), inSync: [disks.n1, disks.n2] }))).toBe(
    "done",
  );
  expect([await gone("n3"), await gone("n2")]).toEqual([true, false]);
  const kv = (await memory.get(keys.instance(of.tenant, of.instance)))!;
  await put(kv.key, { ...JSON.parse(kv.value), desired: "removed" });
  expect(await gone("n2")).toBe(true);
  await putInstance(["n1"], "u2");
  expect(await gone("n1")).toBe(true);
});

test("an instance made again under its name has nothing of the one before", async () => {
  await established();
  await putInstance(["n1"], "u2");
  expect(await codeOf(replicas.read(of))).toBe("NOT_FOUND");
  expect((await replicas.read({ ...of, uid: "u2" })).configuration.version).toBe(0);
});
