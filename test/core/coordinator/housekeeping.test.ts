import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:tls";
import { pruneEvents } from "../../../core/coordinator/api/events.ts";
import { pruneTokens } from "../../../core/coordinator/api/tokens.ts";
import { Compactor } from "../../../core/coordinator/housekeeping.ts";
import { eventsKeptMax, txnOperationsMax } from "../../../core/limits.ts";
import { keys, type TokenRecord } from "../../../core/records.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import { StoreError, type Store } from "../../../core/store/store.ts";
import { FakeAgent } from "./fake-agent.ts";
import { hello, Lab, until } from "./lab.ts";

setDefaultTimeout(30_000);

let lab: Lab | undefined;
afterEach(async () => {
  await lab?.close();
  lab = undefined;
});

async function put(store: Store, key: string, value = "v"): Promise<number> {
  return (await store.txn({ if: [], then: [{ type: "put", key, value }] })).revision;
}

test("the oldest events beyond the number kept go, in the order in which they happened", async () => {
  const store = openMemoryStore();
  const count = txnOperationsMax * 2 + 5;
  // The clock was set back in the middle: keys say nothing about the order.
  for (let i = 0; i < count; i++)
    await put(store, `${keys.events}${String((i * 7) % count).padStart(4, "0")}`, `${i}`);
  expect(await pruneEvents(store, 3)).toBe(count - 3);
  const { kvs } = await store.range(keys.events);
  expect(kvs.map((kv) => Number(kv.value)).sort((a, b) => a - b)).toEqual([count - 3, count - 2, count - 1]);
  expect(await pruneEvents(store, 3)).toBe(0);
  expect(eventsKeptMax).toBeGreaterThan(count);
});

test("tokens that can never be used again go, a while after their end; all others stay", async () => {
  const store = openMemoryStore();
  const base = { kind: "join", description: "", secretHash: "x", role: null } as const;
  const at = (ms: number) => new Date(Date.now() + ms).toISOString();
  const records: TokenRecord[] = [
    { ...base, id: "forever", expiresAt: null, usesLeft: null, createdAt: at(-9_000) },
    { ...base, id: "expired-long-ago", expiresAt: at(-5_000), usesLeft: null, createdAt: at(-9_000) },
    { ...base, id: "expired-just-now", expiresAt: at(-100), usesLeft: null, createdAt: at(-9_000) },
    { ...base, id: "used-up", expiresAt: at(9_000), usesLeft: 0, createdAt: at(-9_000) },
    { ...base, id: "used-up-just-now", expiresAt: at(9_000), usesLeft: 0, createdAt: at(-100) },
  ];
  for (const record of records) await put(store, keys.token(record.id), JSON.stringify(record));
  expect(await pruneTokens(store, 2_000)).toBe(2);
  const { kvs } = await store.range(keys.tokens);
  expect(kvs.map((kv) => kv.key)).toEqual(
    ["expired-just-now", "forever", "used-up-just-now"].map((id) => keys.token(id)),
  );
});

test("history goes when it is old, and what is watched for stays", async () => {
  const store = openMemoryStore();
  const compactor = new Compactor(store, 1_000);
  const readable = async (revision: number) => {
    try {
      await store.range("/", { revision });
      return true;
    } catch (e) {
      if (e instanceof StoreError && e.code === "COMPACTED") return false;
      throw e;
    }
  };
  const oldest = await put(store, "/t/a", "0");
  const first = await put(store, "/t/a", "1");
  const second = await put(store, "/t/a", "2");
  await compactor.round(0);
  const third = await put(store, "/t/a", "3");
  await compactor.round(500);
  await put(store, "/t/a", "4");
  await compactor.round(999);
  expect(await readable(oldest)).toBe(true);
  await compactor.round(1_000);
  // What was the newest a second ago, and the state before it, stay.
  expect(await readable(oldest)).toBe(false);
  expect(await readable(first)).toBe(true);
  await compactor.round(1_600);
  expect(await readable(first)).toBe(false);
  expect(await readable(second)).toBe(true);
  expect(await readable(third)).toBe(true);
});

test("housekeeping runs while the coordinator acts, and a compaction disturbs nobody", async () => {
  lab = await Lab.start({
    openStore: () => Promise.resolve(openMemoryStore()),
    timing: { storeMs: 5, sweepMs: 5, scrubMs: 5 },
  });
  await (await FakeAgent.join(lab, "n1")).run();
  for (const name of ["a", "b", "c"]) {
    await lab.api.instances.create(hello(name));
    await until(async () => (await lab!.api.instances.get(name)).phase === "running");
  }
  expect(lab.log.filter((line) => line.startsWith("warn"))).toEqual([]);
});

/** Serial number of the certificate that a port shows. */
function serialAt(address: string, identity?: { certificate: string; key: string }): Promise<string> {
  const [host, port] = address.split(":") as [string, string];
  return new Promise((resolve, reject) => {
    const socket = connect(
      {
        host,
        port: Number(port),
        rejectUnauthorized: false,
        ...(identity ? { cert: identity.certificate, key: identity.key } : {}),
      },
      () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      },
    );
    socket.once("error", reject);
  });
}

test("the coordinator's certificate is renewed by itself on both ports, and what runs is not disturbed", async () => {
  lab = await Lab.start({ timing: { certificateDays: 12 / 86_400 } });
  const { apiAddress, agentAddress } = lab.running.ready;
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  const watch = lab.api.instances.watch();
  expect((await watch.next()).value).toEqual({ type: "synced" });
  const before = [await serialAt(apiAddress), await serialAt(agentAddress, agent.enrolled.certificates)];
  await until(() => lab!.log.some((line) => line.includes("renewed the certificate")));
  // For a while the old listener may still be the one that accepts.
  await until(async () => (await serialAt(apiAddress)) !== before[0]);
  await until(async () => (await serialAt(agentAddress, agent.enrolled.certificates)) !== before[1]);
  await lab.api.instances.create(hello("a"));
  expect((await watch.next()).value).toMatchObject({ type: "instance", instance: { name: "a" } });
  expect(agent.streamEnded).toBe(false);
});
