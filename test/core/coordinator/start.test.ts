import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createApi } from "../../../core/api/client.ts";
import { keys } from "../../../core/records.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import type { Store } from "../../../core/store/store.ts";
import { FaultyStore } from "./faulty-store.ts";
import { codeOf, failure, hello, Lab, type LabOptions } from "./lab.ts";

setDefaultTimeout(30_000);

const labs: Lab[] = [];
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab.close();
});

function newLab(options: LabOptions = {}): Lab {
  const lab = new Lab(options);
  labs.push(lab);
  return lab;
}

/** A store that outlives the coordinators on it. */
function lasting(inner: Store): () => Promise<Store> {
  const kept = new FaultyStore(inner);
  kept.close = () => Promise.resolve();
  return () => Promise.resolve(kept);
}

test("one coordinator a data directory, whatever its store; when it has ended the next one starts", async () => {
  const lab = newLab();
  await lab.start();
  const e = await failure(lab.begin().ready);
  expect([e.code, e.message]).toEqual([
    "CONFLICT",
    expect.stringContaining(`a coordinator (pid ${process.pid}) runs`),
  ]);
  expect(await lab.stop()).toBe(0);
  await lab.start();
});

test("it comes back as the same cluster, with the same ports, token and records", async () => {
  const lab = newLab();
  const { ready } = await lab.start();
  await lab.api.instances.create(hello("a"));
  await lab.stop();
  const again = await lab.start();
  expect(again.ready).toEqual(ready);
  expect((await lab.api.instances.get("a")).phase).toBe("pending");
});

test("keys and tokens are for its user's eyes only", async () => {
  const lab = newLab();
  await lab.start();
  const data = join(lab.dir, "data");
  expect(statSync(data).mode & 0o777).toBe(0o700);
  for (const file of ["admin-token", "coordinator.json", "store.db"]) {
    expect([file, statSync(join(data, file)).mode & 0o077]).toEqual([file, 0]);
  }
});

test("a port that somebody has is told, and the start leaves nothing behind", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => {
    taken.listen(0, "127.0.0.1", () => resolve());
  });
  const { port } = taken.address() as AddressInfo;
  for (const options of [{ listen: `127.0.0.1:${port}` }, { listen: `127.0.0.1:${port - 1}` }]) {
    const lab = newLab(options);
    const e = await failure(lab.begin().ready);
    expect([e.code, e.message]).toEqual(["CONFLICT", expect.stringContaining("Cannot listen on 127.0.0.1:")]);
    // Lock, store and leadership are free.
    expect(await codeOf(lab.begin().ready)).toBe("CONFLICT");
    expect(await failure(lab.begin().ready)).toMatchObject({ message: e.message });
  }
  await new Promise((resolve) => taken.close(resolve));
});

test("told to end at any moment of its start, it ends with 0", async () => {
  const lab = newLab();
  await lab.start();
  await lab.stop();
  for (const afterMs of [0, 1, 2, 4, 8, 16, 32]) {
    const { ended, stop } = lab.begin();
    setTimeout(stop, afterMs);
    expect(await ended).toBe(0);
  }
  await lab.start();
});

test("an administrator's token is made anew when its file or record is gone, and the file is whole", async () => {
  const lab = newLab();
  const { ready } = await lab.start();
  const file = join(lab.dir, "data", "admin-token");
  await lab.stop();
  for (const damage of [() => rmSync(file), () => writeFileSync(file, readFileSync(file).subarray(0, 10))]) {
    damage();
    const again = await lab.start();
    expect(again.ready.adminToken).not.toBe(ready.adminToken);
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ token: again.ready.adminToken });
    expect((await lab.api.tokens.list()).length).toBeGreaterThan(0);
    await lab.stop();
  }
});

test("a store that was lost, or is another cluster's, does not become a new cluster", async () => {
  const store = openMemoryStore();
  const other = newLab({ openStore: lasting(store) });
  const { ready } = await other.start();
  const empty = openMemoryStore();
  const before = (await empty.status()).revision;
  let now: Store | undefined;
  const lab = newLab({ openStore: async () => lasting(now ?? openMemoryStore())() });
  const first = await lab.start();
  await lab.stop();
  for (const [wrong, says] of [
    [empty, "has no cluster"],
    [store, `is of cluster ${ready.clusterId}`],
  ] as const) {
    now = wrong;
    const e = await failure(lab.begin().ready);
    expect([e.code, e.message]).toEqual(["FAILED", expect.stringContaining(says)]);
    expect(e.message).toContain(first.ready.clusterId);
  }
  expect((await empty.status()).revision).toBe(before);
});

test("a store of another version, or without its authorities, is left alone", async () => {
  for (const [key, value, says] of [
    [keys.cluster, '{"stateVersion":99,"clusterId":"c-x","createdAt":""}', "another version than 1"],
    [keys.authority, "", "has no authorities"],
  ] as const) {
    const inner = openMemoryStore();
    const lab = newLab({ openStore: lasting(inner) });
    await lab.start();
    await lab.stop();
    const then = value === "" ? { type: "delete" as const, key } : { type: "put" as const, key, value };
    await inner.txn({ if: [], then: [then] });
    const before = (await inner.status()).revision;
    const e = await failure(lab.begin().ready);
    expect([e.code, e.message]).toEqual(["FAILED", expect.stringContaining(says)]);
    expect((await inner.status()).revision).toBe(before);
  }
});

test("a store that does not answer at the start is UNAVAILABLE", async () => {
  const store = new FaultyStore(openMemoryStore());
  store.reads = "UNAVAILABLE";
  expect(await codeOf(newLab({ openStore: () => Promise.resolve(store) }).begin().ready)).toBe("UNAVAILABLE");
});

test("the token alone is enough to connect: it pins the authority", async () => {
  const lab = newLab();
  const { ready } = await lab.start();
  const api = createApi({ addresses: [ready.apiAddress], token: ready.adminToken });
  expect((await api.status()).clusterId).toBe(ready.clusterId);
  api.close();
});
