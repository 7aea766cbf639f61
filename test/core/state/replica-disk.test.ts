/** A replica that comes back to its disk: after an orderly end, a kill, a power cut, with damage, and with snapshots. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  closeSync,
  cpSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Metadata, readMetadata, writeMetadata } from "../../../core/log/metadata.ts";
import { nodeFiles } from "../../../core/log/node-files.ts";
import { promised } from "../../../core/log/steps.ts";
import type { Configuration } from "../../../core/replica/configuration.ts";
import type { WriteOutcome } from "../../../core/replica/sink.ts";
import { kv } from "../../../core/state/modules/kv.ts";
import { ReplicaHost } from "../../../core/state/replica-host.ts";
import { decodeResult } from "../../../core/state/result.ts";
import { listSnapshots, snapshotPath } from "../../../core/state/snapshots.ts";

/** The control store of an instance with one replica. */
interface Store {
  version: number;
  configuration: Configuration | null;
}

const empty = (): Store => ({ version: 0, configuration: null });

let root: string;
let hosts: ReplicaHost[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "dvs-"));
  hosts = [];
});
afterEach(async () => {
  for (const host of hosts) await host.close().catch(() => undefined);
  rmSync(root, { recursive: true });
});

let incarnations = 0;
async function open(dir: string, store: Store, messages: string[] = []): Promise<ReplicaHost> {
  const host: ReplicaHost = await ReplicaHost.open({
    runDir: null,
    dir,
    incarnation: `incarnation${++incarnations}`,
    policy: { replicas: 1, minInSync: 1, durability: "fsync" },
    modules: [kv],
    send: () => undefined,
    sendSnapshot: () => undefined,
    propose: (change) =>
      void setImmediate(() => {
        const fits = change.version === store.version;
        if (fits) {
          store.version++;
          store.configuration = change.configuration;
        }
        host.machine.changed(host.now(), change.configuration.changeId, fits ? "done" : "refused");
        tell();
      }),
    askConfiguration: () => void setImmediate(() => tell()),
    roleChanged: () => undefined,
    applied: () => undefined,
    failed: (reason) => void messages.push(reason),
    log: (level, message) => void (level !== "info" && messages.push(message)),
  });
  const tell = (): void => {
    const { version, configuration } = store;
    host.machine.configurationRead(host.now(), { generation: 1, version, configuration });
  };
  host.machine.replicasWanted(host.now(), [host.disk]);
  tell();
  host.start();
  hosts.push(host);
  return host;
}

async function until<T>(find: () => T | undefined | false): Promise<T> {
  for (;;) {
    const found = find();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function put(host: ReplicaHost, key: string, value: string): Promise<number> {
  await until(() => host.machine.status.role === "primary");
  const operation = host.module("kv").encode({ op: "put", key, value: new TextEncoder().encode(value) });
  for (;;) {
    const request = { client: "", sequence: 0, ackedBelow: 0, module: "kv", operation };
    const outcome = await new Promise<WriteOutcome>((done) => host.write(request, done));
    if (outcome.type === "ok") {
      expect(decodeResult(outcome.result)).toMatchObject({ ok: true });
      return outcome.index;
    }
    if (outcome.type === "unknown") throw new Error("unknown");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function values(host: ReplicaHost): Record<string, string> {
  const { entries } = host.module("kv").read({ get: "list", prefix: "", limit: 1_000 }) as {
    entries: { key: string; value: Uint8Array }[];
  };
  return Object.fromEntries(entries.map(({ key, value }) => [key, new TextDecoder().decode(value)]));
}

/** As kill -9 leaves it: what this process has not written yet is missing. */
function killed(dir: string): string {
  const copy = `${dir}-${readdirSync(root).length}`;
  cpSync(dir, copy, { recursive: true });
  return copy;
}

async function changeMetadata(dir: string, change: Partial<Metadata>): Promise<void> {
  const files = nodeFiles(join(dir, "log"));
  const metadata = (await promised(readMetadata(files)))!;
  await promised(writeMetadata(files, { ...metadata, ...change }));
}

/** What was applied comes from the log as far as the database does not have it: when the replica is primary, all of it. */
const served = (host: ReplicaHost) => until(() => host.machine.status.role === "primary");

test("after an orderly end, and after a kill, everything that was acknowledged is there", async () => {
  const store = empty();
  const dir = join(root, "a");
  let host = await open(dir, store);
  await put(host, "one", "1");
  await host.close();
  host = await open(dir, store);
  await put(host, "two", "2");
  const copy = killed(dir);
  const again = await open(copy, { ...store });
  await served(again);
  expect(values(again)).toEqual({ one: "1", two: "2" });
  await put(again, "three", "3");
});

test("after a power cut the database is not believed, and comes anew from the log", async () => {
  const store = empty();
  const dir = join(root, "a");
  const host = await open(dir, store);
  await put(host, "one", "1");
  const copy = killed(dir);
  // What the power cut may have left of it.
  writeFileSync(join(copy, "state.db"), "garbage");
  await changeMetadata(copy, { bootId: "another boot" });
  const messages: string[] = [];
  const again = await open(copy, { ...store }, messages);
  await served(again);
  expect(values(again)).toEqual({ one: "1" });
  expect(messages.join()).toContain("made anew");
});

test("whoever acknowledged before it synced, and lost its power, is an amnesiac; with fsync it is none", async () => {
  for (const mode of ["fsync", "replicated"] as const) {
    const dir = join(root, mode);
    const store = empty();
    const host = await open(dir, store);
    await put(host, "one", "1");
    const copy = killed(dir);
    await changeMetadata(copy, { bootId: "another boot", mode });
    await open(copy, { ...store });
    const found = (await promised(readMetadata(nodeFiles(join(copy, "log")))))!;
    expect(found.amnesiac).toBe(mode === "replicated");
  }
});

test("a snapshot lets the log be cut off; without the database, state comes from it and from the log", async () => {
  const store = empty();
  const dir = join(root, "a");
  const host = await open(dir, store);
  for (let i = 0; i < 50; i++) await put(host, `key${i % 20}`, String(i));
  await new Promise((resolve) => setTimeout(resolve, 20)); // The transaction is committed.
  const info = await host.keeper.makeSnapshot();
  expect(info.index).toBeGreaterThan(50);
  await put(host, "later", "x");
  const expected = values(host);
  const copy = killed(dir);
  rmSync(join(copy, "state.db"));
  const again = await open(copy, { ...store });
  await served(again);
  expect(values(again)).toEqual(expected);
  expect(await listSnapshots(copy)).toEqual([info]);
});

test("a snapshot from another replica takes the place of all that was there, and stays", async () => {
  const store = empty();
  const host = await open(join(root, "a"), store);
  for (let i = 0; i < 30; i++) await put(host, `key${i}`, String(i));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const info = await host.keeper.makeSnapshot();
  const otherStore = empty();
  const dir = join(root, "b");
  const other = await open(dir, otherStore);
  await put(other, "own", "x");
  cpSync(join(root, "a", "snapshots"), join(dir, "snapshots"), { recursive: true });
  await other.installSnapshot(info);
  expect(Object.keys(values(other))).toHaveLength(30);
  expect(other.machine.status).toMatchObject({ appliedIndex: info.index });
  const copy = killed(dir);
  const again = await open(copy, { version: 1, configuration: { ...otherStore.configuration! } });
  expect(Object.keys(values(again))).toHaveLength(30);
});

test("a snapshot with less takes the place of one with more, whose records were given up, for good", async () => {
  const store = empty();
  const dir = join(root, "b");
  const other = await open(dir, store);
  for (let i = 0; i < 30; i++) await put(other, `lost${i}`, String(i));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const own = await other.keeper.makeSnapshot();
  // A shorter log, of a later epoch.
  const first = empty();
  const before = await open(join(root, "a"), first);
  await put(before, "kept", "x");
  await before.close();
  const host = await open(join(root, "a"), first);
  await put(host, "kept", "x");
  await new Promise((resolve) => setTimeout(resolve, 20));
  const info = await host.keeper.makeSnapshot();
  expect([info.index < own.index, info.epoch > own.epoch]).toEqual([true, true]);
  cpSync(join(root, "a", "snapshots"), join(dir, "snapshots"), { recursive: true });
  await other.installSnapshot(info);
  expect(values(other)).toEqual({ kept: "x" });
  expect(await listSnapshots(dir)).toEqual([info]);
  const again = await open(killed(dir), { version: 1, configuration: { ...store.configuration! } });
  expect(values(again)).toEqual({ kept: "x" });
});

/** A replica that has ended in order, and whose log the disk has damaged since. */
async function damagedAtRest(dir: string, store: Store, position: number): Promise<void> {
  const host = await open(dir, store);
  for (let i = 0; i < 50; i++) await put(host, `key${i}`, String(i));
  await host.close();
  const name = readdirSync(join(dir, "log")).find((each) => each.startsWith("log-"))!;
  const path = join(dir, "log", name);
  const bytes = readFileSync(path);
  bytes[position]! ^= 1;
  writeFileSync(path, bytes);
}

test.each([100, 1_000])("damage at %d of what the database has loses nothing", async (position) => {
  const store = empty();
  const dir = join(root, "a");
  await damagedAtRest(dir, store, position);
  const messages: string[] = [];
  const again = await open(dir, store, messages);
  expect(messages.join()).toContain("a snapshot of the database has them");
  expect(again.machine.status.amnesiac).toBe(false);
  expect(Object.keys(values(again))).toHaveLength(50);
  // And it goes on, from then on without the damaged ones.
  await put(again, "more", "1");
  const copy = killed(dir);
  rmSync(join(copy, "state.db"));
  const third = await open(copy, store);
  expect(Object.keys(values(third))).toHaveLength(50);
  await until(() => third.machine.status.role === "primary");
  expect(Object.keys(values(third))).toHaveLength(51);
});

test.each([100, 1_000])(
  "damage at %d of what nobody has waits for the others, or a person",
  async (position) => {
    const store = empty();
    const dir = join(root, "a");
    await damagedAtRest(dir, store, position);
    rmSync(join(dir, "state.db"));
    const messages: string[] = [];
    const again = await open(dir, store, messages);
    expect(messages.join()).toContain("they come from the other replicas");
    const metadata = await promised(readMetadata(nodeFiles(join(dir, "log"))));
    expect(metadata).toMatchObject({ amnesiac: true, damaged: true });
    const told = (): string => again.machine.status.problems.join();
    await until(() => told().includes("recover --accept-loss"));
    // Alone, and without what it had acknowledged, it serves nobody.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(again.machine.status).toMatchObject({ role: "learner", serving: false });
    const { configuration } = store;
    const holder = { disk: again.disk, incarnation: again.machine.self.incarnation };
    store.version++;
    store.configuration = { ...configuration!, epoch: configuration!.epoch + 1, primary: holder };
    again.machine.configurationRead(again.now(), { generation: 1, ...store });
    await put(again, "more", "1");
    await until(() => !again.machine.status.amnesiac);
  },
);

test("a damaged snapshot is no use, and a replica that has nothing else says that it cannot go on", async () => {
  const store = empty();
  const dir = join(root, "a");
  const host = await open(dir, store);
  await put(host, "one", "1");
  await new Promise((resolve) => setTimeout(resolve, 20));
  const info = await host.keeper.makeSnapshot();
  // Its log begins anew behind what the snapshot has.
  cpSync(join(dir, "snapshots"), join(root, "kept"), { recursive: true });
  await host.installSnapshot({ ...info, index: info.index + 1_000 }).catch(() => undefined);
  cpSync(join(root, "kept"), join(dir, "snapshots"), { recursive: true });
  const path = snapshotPath(dir, info.index);
  const bytes = readFileSync(path);
  bytes[2_000]! ^= 1;
  writeFileSync(path, bytes);
  rmSync(join(dir, "state.db"), { force: true });
  const outcome = await open(killed(dir), store).catch((e: unknown) => e);
  expect(outcome).toMatchObject({ code: "FAILED" });
});

test("records that the disk damages while it runs are found by scrubbing, and a snapshot takes their place", async () => {
  const dir = join(root, "scrubbed");
  const store = empty();
  const messages: string[] = [];
  const host = await open(dir, store, messages);
  for (let i = 0; i < 20; i++) await put(host, `key-${i}`, "value");
  const segment = readdirSync(join(dir, "log")).find((name) => name.startsWith("log-"))!;
  const path = join(dir, "log", segment);
  const bytes = readFileSync(path);
  const at = bytes.indexOf("key-7");
  bytes[at] = bytes[at]! ^ 1;
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, at, 1, at);
  closeSync(fd);
  await host.scrub();
  expect(messages).toContain("records of the log are damaged");
  await until(() => host.keeper.snapshot !== null);
  await host.close();
  const next = await open(dir, store, messages);
  await until(() => next.machine.role === "primary");
  expect(next.machine.status.amnesiac).toBe(false);
  const found = next.module("kv").read({ get: "key", key: "key-7" }) as { entries: unknown[] };
  expect(found.entries).toHaveLength(1);
});
