/**
 * Backup and restore of an instance's OS state on real host processes: what was is there again, on every replica and
 * for every client, whatever became of it since; and a restore in which the primary dies is carried out whole or not at
 * all. Three replicas, each on its own node.
 */
import { beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { copyFileSync, createReadStream, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DvsError } from "../../core/errors.ts";
import { encodeBackup, readBackup } from "../../core/state/backup/format.ts";
import { stateDigest } from "../../core/state/digest.ts";
import { modules } from "../../core/state/modules.ts";
import { databaseName } from "../../core/state/schema.ts";
import type { TestNode } from "./cluster.ts";
import { clusterForFile, createHello, stateInSync } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 3 });
const dvs = (...args: string[]) => cluster().dvs(args);
const file = (name: string) => join(cluster().dir, name);
const inSync = () => stateInSync(cluster(), "hello");
const exitOf = (code: "INVALID" | "FAILED" | "OUTCOME_UNKNOWN") => new DvsError(code, "").exit;
let port = 0;
let uid = "";

beforeAll(async () => {
  const created = await createHello(cluster(), "hello", 3);
  port = created.port;
  uid = created.view.uid;
  await inSync();
}, 60_000);

async function put(keys: readonly string[], value: Buffer | string, instance = "hello"): Promise<void> {
  const body = { value: Buffer.from(value).toString("base64") };
  for (let at = 0; at < keys.length; at += 10) {
    const some = keys.slice(at, at + 10);
    await Promise.all(some.map((key) => cluster().api.kv.put(instance, key, body, randomUUID())));
  }
}
async function listed(instance = "hello", prefix = "keys/"): Promise<Record<string, string>> {
  const all: [string, string][] = [];
  for (let after: string | null = null; ;) {
    const query = { prefix, limit: 500, ...(after !== null && { after }) };
    const { entries, next } = await cluster().api.kv.page(instance, query);
    for (const { key, value } of entries) all.push([key, Buffer.from(value, "base64").toString()]);
    if (next === null) return Object.fromEntries(all);
    after = next;
  }
}
async function count(node: TestNode, method: "GET" | "POST" = "GET"): Promise<number> {
  let counted = 0;
  await cluster().until("the counter is told", async () => {
    const signal = AbortSignal.timeout(5_000);
    const response = await fetch(`http://${node.address}:${port}/count`, { method, signal });
    counted = ((await response.json()) as { count: number }).count;
    return response.status === 200;
  });
  return counted;
}

/** What the database of a node's replica has, read beside its state process. */
function look<T>(node: TestNode, act: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(join(node.dataDir, "state", uid, databaseName), { readOnly: true });
  try {
    return act(db);
  } finally {
    db.close();
  }
}
/** Replicas agree on everything that they have applied. */
async function agree(): Promise<void> {
  let found: string[] = [];
  await cluster().until("all replicas have applied the same", () => {
    const applied = () =>
      cluster().nodes.map((node) =>
        look(node, (db) => db.prepare("SELECT record FROM applied").get()!["record"]),
      );
    const before = applied();
    found = cluster().nodes.map((node) => look(node, (db) => stateDigest(db, modules)));
    return new Set([...before, ...applied()]).size === 1;
  });
  expect(new Set(found).size).toBe(1);
}
const staged = (node: TestNode) =>
  look(node, (db) => Number(db.prepare("SELECT pieces FROM restore_state").get()!["pieces"]));

async function roles(): Promise<{ primary: TestNode; backups: TestNode[] }> {
  const { state } = await inSync();
  const primary = cluster().node(state.primary!.nodeName);
  return { primary, backups: cluster().nodes.filter((node) => node !== primary) };
}

test("a restore brings back what was, on each replica, for each client; a watcher is told to look anew", async () => {
  const [first, second] = cluster().nodes as [TestNode, TestNode];
  for (let i = 0; i < 7; i++) await count(first, "POST");
  const keys = Array.from({ length: 60 }, (_, i) => `keys/${i}`);
  await put(keys, "old");
  const before = await listed();
  const backup = await dvs("instance", "backup", "hello", file("hello.dvs"));
  expect(backup).toMatchObject({ code: 0 });

  await put([...keys.slice(0, 30), "keys/more"], "new");
  expect(await dvs("kv", "rm", "hello", "keys/59")).toMatchObject({ code: 0 });
  for (let i = 0; i < 3; i++) await count(second, "POST");
  const [command, ...args] = cluster().command as [string, ...string[]];
  const watch = spawn(command, [...args, "kv", "watch", "hello", "keys/"], {
    env: { ...process.env, NO_COLOR: "1", ...cluster().environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let shown = "";
  let said = "";
  watch.stdout.on("data", (bytes: Buffer) => (shown += bytes.toString()));
  watch.stderr.on("data", (bytes: Buffer) => (said += bytes.toString()));
  const watched = new Promise<number | null>((resolve) => watch.once("close", resolve));
  await cluster().until("it watches", async () => {
    await put(["keys/watched"], "x");
    return shown.includes("keys/watched");
  });

  const restored = await dvs("instance", "restore", "hello", file("hello.dvs"), "--yes");
  expect(restored).toMatchObject({ code: 0 });
  expect(restored.stderr).toMatch(/restored from .*, record \d+/);
  expect(await listed()).toEqual(before);
  for (const node of cluster().nodes) expect(await count(node)).toBe(7);
  expect(await watched).not.toBe(0);
  expect(said).toContain("List the keys");
  expect(await count(second, "POST")).toBe(8);
  const [entry] = (await cluster().api.kv.page("hello", { prefix: "keys/0" })).entries;
  const cas = await dvs("kv", "cas", "hello", "keys/0", String(entry!.revision), "after");
  expect(cas).toMatchObject({ code: 0 });
  await inSync();
  await agree();
});

test("another instance of the same OS may be given it; one of another OS refuses it", async () => {
  await createHello(cluster(), "other", 1);
  await cluster().until("its state is served", async () => (await dvs("kv", "ls", "other")).code === 0);
  await put(["keys/other"], "x", "other");
  expect(await dvs("instance", "restore", "other", file("hello.dvs"), "--yes")).toMatchObject({ code: 0 });
  expect(Object.keys(await listed("other"))).toHaveLength(60);
  // The same, as if it was of another OS.
  const { header, chunks } = await readBackup(createReadStream(file("hello.dvs")));
  const parts: Uint8Array[] = [];
  for await (const part of encodeBackup({ ...header, os: "web" }, chunks)) parts.push(part.slice());
  writeFileSync(file("web.dvs"), Buffer.concat(parts));
  const refused = await dvs("instance", "restore", "other", file("web.dvs"), "--yes");
  expect(refused).toMatchObject({
    code: exitOf("INVALID"),
    stderr: expect.stringContaining("OS web") as string,
  });
  expect(Object.keys(await listed("other"))).toHaveLength(60);
});

test("what is no whole backup is refused with its reason, and nothing has changed", async () => {
  const whole = readFileSync(file("hello.dvs"));
  const flipped = Buffer.from(whole);
  flipped[whole.length >> 1]! ^= 1;
  const cases: [name: string, bytes: Buffer, says: string][] = [
    ["short.dvs", whole.subarray(0, whole.length - 1_000), "damaged or was cut short"],
    ["flipped.dvs", flipped, "damaged or was cut short"],
    ["page.dvs", Buffer.from("<html>\n"), "no backup"],
    [
      "newer.dvs",
      Buffer.from(whole.toString("latin1").replace('"version":2', '"version":9'), "latin1"),
      "version",
    ],
  ];
  const before = await listed();
  for (const [name, bytes, says] of cases) {
    writeFileSync(file(name), bytes);
    const refused = await dvs("instance", "restore", "hello", file(name), "--yes");
    expect({ name, ...refused }).toMatchObject({ stderr: expect.stringContaining(says) as string });
    expect([exitOf("INVALID"), exitOf("FAILED")]).toContain(refused.code);
  }
  expect(await dvs("instance", "restore", "hello", file("nothing.dvs"), "--yes")).toMatchObject({ code: 2 });
  expect(await dvs("instance", "restore", "nobody", file("hello.dvs"), "--yes")).toMatchObject({ code: 3 });
  expect(await listed()).toEqual(before);
});

test("the primary is killed in the middle of a restore: all of it or nothing, on all replicas; the next one does it", async () => {
  // Each is a piece by itself.
  const large = Array.from({ length: 50 }, (_, i) => `keys/large-${i}`);
  await put(large, Buffer.alloc(70 * 1024, "b"));
  expect(await dvs("instance", "backup", "hello", file("large.dvs"))).toMatchObject({ code: 0 });
  const inBackup = await listed();
  copyFileSync(file("large.dvs"), file("copy.dvs"));
  for (const at of [1, 25]) {
    await put(["keys/mark"], String(at));
    const before = await listed();
    const { primary, backups } = await roles();
    const pid = await primary.pid("state", uid);
    const restore = dvs("instance", "restore", "hello", file("large.dvs"), "--yes");
    await cluster().until("pieces have come to another replica", () => staged(backups[0]!) >= at);
    process.kill(pid, "SIGKILL");
    const { code } = await restore;
    expect([0, exitOf("OUTCOME_UNKNOWN")]).toContain(code);
    await inSync();
    const after = await listed();
    const is = (state: object) => JSON.stringify(after) === JSON.stringify(state);
    // Whoever was told that it is done finds it done; whoever was not finds one or the other.
    expect(is(inBackup) || (code !== 0 && is(before))).toBe(true);
    await agree();
  }
  expect(await dvs("instance", "restore", "hello", file("copy.dvs"), "--yes")).toMatchObject({ code: 0 });
  expect(await listed()).toEqual(inBackup);
  await inSync();
  await agree();
  await cluster().until("what was put aside is gone", () =>
    cluster().nodes.every((node) =>
      look(
        node,
        (db) =>
          !db
            .prepare("SELECT 1 FROM sqlite_master WHERE name GLOB 'trash_*' OR name GLOB 'restore_[0-9]*'")
            .get(),
      ),
    ),
  );
});

test("a machine that was away during a restore has the new state when it is back", async () => {
  const { backups } = await roles();
  await backups[0]!.kill();
  await put(["keys/mark"], "while it is away");
  await cluster().until(
    "it is restored by the others",
    async () => (await dvs("instance", "restore", "hello", file("copy.dvs"), "--yes")).code === 0,
  );
  backups[0]!.start();
  await inSync();
  expect((await listed())["keys/mark"]).toBeUndefined();
  await agree();
});

test("a restore goes on when another replica becomes the primary in the middle of it", async () => {
  await put(["keys/mark"], "before");
  const { primary, backups } = await roles();
  const pid = await primary.pid("state", uid);
  const restore = dvs("instance", "restore", "hello", file("copy.dvs"), "--yes");
  await cluster().until("pieces have come to another replica", () => staged(backups[0]!) >= 5);
  process.kill(pid, "SIGSTOP");
  try {
    const isPrimary = ({ node, role }: { node: string; role: string }) =>
      role === "primary" && backups.some(({ id }) => id === node);
    await cluster().until("another is the primary", async () =>
      (await cluster().api.instances.get("hello")).state!.replicas.some(isPrimary),
    );
  } finally {
    process.kill(pid, "SIGCONT");
  }
  expect(await restore).toMatchObject({ code: 0 });
  expect((await listed())["keys/mark"]).toBeUndefined();
  await inSync();
  await agree();
});
