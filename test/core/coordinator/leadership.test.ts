import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClusterContext } from "../../../cli/context.ts";
import { createApi } from "../../../core/api/client.ts";
import { campaign, type Leadership } from "../../../core/coordinator/leadership.ts";
import { LeaderRecord, keys } from "../../../core/records.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";
import { openStore } from "../../../core/store/open.ts";
import type { Store } from "../../../core/store/store.ts";
import { etcdMissing, skipNote, startEtcd, type EtcdCluster } from "../store/etcd-fixture.ts";
import { FakeAgent } from "./fake-agent.ts";
import { FaultyStore } from "./faulty-store.ts";
import { codeOf, hello, Lab, until } from "./lab.ts";

setDefaultTimeout(60_000);

const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Candidacy {
  leading: Promise<Leadership | null>;
  lost: string[];
  abort: AbortController;
}

function stand(store: Store, holder: string): Candidacy {
  const abort = new AbortController();
  closing.push(() => abort.abort());
  const lost: string[] = [];
  const leading = campaign({
    store,
    holder,
    address: "127.0.0.1",
    signal: abort.signal,
    onLost: (reason) => lost.push(reason),
    onTrouble: () => undefined,
  });
  return { leading, lost, abort };
}

/** A store as if on etcd: rivals are possible. */
class SharedStore extends FaultyStore {
  override async status() {
    return { ...(await super.status()), driver: "etcd" as const };
  }
}

const putBy = (leadership: Leadership) => ({
  if: [leadership.compare],
  then: [{ type: "put" as const, key: "/t/x", value: "v" }],
});

test("the only coordinator of a store takes over at once from the one before it, whose transactions are refused", async () => {
  const store = openMemoryStore();
  const one = await stand(store, "a").leading;
  const two = await stand(store, "a").leading;
  expect((await store.txn(putBy(one!))).succeeded).toBe(false);
  expect((await store.txn(putBy(two!))).succeeded).toBe(true);
  expect(two!.isFresh()).toBe(true);
});

test("one leads, the other waits; resigning lets it lead at once", async () => {
  const store = new SharedStore(openMemoryStore());
  const one = stand(store, "a");
  const leadership = await one.leading;
  const two = stand(store, "b");
  let secondLeads = false;
  void two.leading.then((l) => (secondLeads = l !== null));
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect(secondLeads).toBe(false);
  expect(leadership!.isFresh()).toBe(true);
  await leadership!.resign();
  expect(await two.leading).not.toBeNull();
  expect(one.lost).toEqual([]);
});

test("a leader whose beats do not come is deposed; paused past that, it does nothing more", async () => {
  const inner = openMemoryStore();
  const pausable = new SharedStore(inner);
  const one = stand(pausable, "a");
  const leadership = (await one.leading)!;
  expect(leadership.isFresh()).toBe(true);
  pausable.txns = "UNAVAILABLE";
  const two = stand(new SharedStore(inner), "b");
  let rivalLeads = false;
  void two.leading.then(() => (rivalLeads = true));
  // Whenever the rival leads, the old leader no longer takes itself for one: in every look, not only at the end.
  await until(() => {
    const fresh = leadership.isFresh();
    if (rivalLeads) expect(fresh).toBe(false);
    return rivalLeads;
  });
  pausable.txns = null;
  expect((await pausable.txn(putBy(leadership))).succeeded).toBe(false);
  await until(() => one.lost.length > 0);
  expect(one.lost).toEqual(["another coordinator has taken over"]);
  expect(leadership.isFresh()).toBe(false);
});

test("a leader that the store does not answer stays leader when nobody took its place", async () => {
  const store = new SharedStore(openMemoryStore());
  const one = stand(store, "a");
  const leadership = (await one.leading)!;
  store.txns = "UNAVAILABLE";
  await until(() => !leadership.isFresh());
  store.txns = null;
  await until(() => leadership.isFresh());
  expect(one.lost).toEqual([]);
  expect((await store.txn(putBy(leadership))).succeeded).toBe(true);
});

test("time in which the store did not answer the rival does not count against the leader", async () => {
  const inner = openMemoryStore();
  const one = stand(new SharedStore(inner), "a");
  await one.leading;
  const cut = new SharedStore(inner);
  const two = stand(cut, "b");
  let rivalLeads = false;
  void two.leading.then((l) => (rivalLeads = l !== null));
  await new Promise((resolve) => setTimeout(resolve, 500));
  // Both are cut off, as by an election of etcd, for longer than a leader may be silent.
  cut.reads = cut.txns = "UNAVAILABLE";
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  cut.reads = cut.txns = null;
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(rivalLeads).toBe(false);
  expect(one.lost).toEqual([]);
});

test("a candidate that is told to end stands no longer", async () => {
  const store = new SharedStore(openMemoryStore());
  await stand(store, "a").leading;
  const two = stand(store, "b");
  setTimeout(() => two.abort.abort(), 50);
  expect(await two.leading).toBeNull();
});

describe.skipIf(etcdMissing !== null)(`coordinators on three members of etcd${skipNote}`, () => {
  let etcd: EtcdCluster;
  beforeAll(async () => {
    etcd = await startEtcd(3);
  });
  afterAll(() => etcd.close());

  test("one acts, the other stands by and takes over when it is gone; agents and records are the same", async () => {
    const url = etcd.url();
    const a = await Lab.start({ store: url });
    closing.push(() => a.close());
    const b = new Lab({ store: url });
    closing.push(() => b.close());
    const second = await b.start();
    expect([a.running.ready.acting, second.ready.acting]).toEqual([true, false]);
    expect(second.ready.clusterId).toBe(a.running.ready.clusterId);
    const agent = await (await FakeAgent.join(a, "n1")).run();
    await a.api.instances.create(hello("web"));
    await until(async () => (await a.api.instances.get("web")).phase === "running");
    agent.close();
    expect(await a.stop()).toBe(0);
    const { ready, api } = second;
    expect((await api.nodes.list()).map((n) => n.name)).toEqual(["n1"]);
    expect((await api.status()).coordinator.address).toBe(ready.apiAddress);
    // Tokens carry both, this one first.
    const { token } = await api.tokens.create({ kind: "join" });
    const { a: addresses } = JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString()) as {
      a: string[];
    };
    expect(addresses[0]).toBe(ready.apiAddress);
    expect(addresses).toHaveLength(2);
  });

  test("a coordinator that is deposed stands by, and none of its transactions is carried out", async () => {
    const url = etcd.url();
    const lab = await Lab.start({ store: url });
    closing.push(() => lab.close());
    // As a rival does after a pause of ours.
    const rival = await openStore(url);
    closing.push(() => rival.close());
    const current = (await rival.get(keys.leader))!;
    expect(LeaderRecord.parse(JSON.parse(current.value)).beat).toBeGreaterThanOrEqual(0);
    await rival.txn({ if: [], then: [{ type: "delete", key: keys.leader }] });
    const candidacy = stand(rival, "rival");
    const taken = await candidacy.leading;
    await until(() => lab.log.some((line) => line.includes("another coordinator has taken over")));
    expect((await rival.get(keys.leader))!.createRevision).toBe(taken!.compare.value as number);
    // Nobody whom it knows acts: it says so instead of answering by what it remembers.
    expect(await codeOf(lab.api.nodes.list())).toBe("UNAVAILABLE");
    await taken!.resign();
    expect(await lab.api.nodes.list()).toEqual([]);
    expect((await lab.api.status()).coordinator.address).toBe(lab.running.ready.apiAddress);
  });

  test("a host process that was stopped and goes on after a rival took over has done nothing, and passes on what it is asked", async () => {
    const url = etcd.url();
    const dir = mkdtempSync(join(tmpdir(), "dvs-coordinator-"));
    closing.push(() => rmSync(dir, { recursive: true, force: true }));
    const main = new URL("../../../cli/main.ts", import.meta.url).pathname;
    const context = join(dir, "context.json");
    const flags = ["--data-dir", join(dir, "data"), "--context", context, "--listen", "127.0.0.1:0"];
    const child = spawn(
      process.execPath,
      ["--no-install", main, "coordinator", "start", ...flags, "--store", url, "--no-join-token"],
      { stdio: "ignore" },
    );
    const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
    closing.push(() => void child.kill("SIGKILL"));
    await until(() => existsSync(context));
    process.kill(child.pid!, "SIGSTOP");
    const lab = new Lab({ store: url });
    closing.push(() => lab.close());
    await lab.start();
    // It may have found the leader that was stopped; from now on it acts itself.
    await lab.api.instances.create(hello("web"));
    expect((await lab.api.status()).coordinator.address).toBe(lab.running.ready.apiAddress);
    process.kill(child.pid!, "SIGCONT");
    const { addresses, token, ca } = JSON.parse(readFileSync(context, "utf8")) as ClusterContext;
    const api = createApi({ addresses: [addresses[0]!], token, ca: ca! });
    closing.push(() => api.close());
    // Until it has looked, it may still answer by itself: for reads of what it knows, never with orders.
    await until(async () => (await api.instances.list()).some((i) => i.name === "web"));
    await until(async () => (await api.status()).coordinator.address === lab.running.ready.apiAddress);
    child.kill("SIGTERM");
    expect(await exited).toBe(0);
  });

  test("two coordinators on one data directory: the second is refused", async () => {
    const lab = await Lab.start({ store: etcd.url() });
    closing.push(() => lab.close());
    expect(await codeOf(lab.begin().ready)).toBe("CONFLICT");
  });
});
