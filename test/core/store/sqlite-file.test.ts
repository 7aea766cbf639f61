/** What only the store in a file must do: one opener, one fsync a turn, full disks, failing disks, kill -9. */
import { afterEach, expect, test } from "bun:test";
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DvsError } from "../../../core/errors.ts";
import type { Connect, Database } from "../../../core/store/sqlite/database.ts";
import { openSqliteStore } from "../../../core/store/sqlite/sqlite.ts";
import { collect, first, never, put, putOp, rejects, remove } from "./store-suite.ts";

const dirs: string[] = [];
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});
function newPath(): string {
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  dirs.push(dir);
  return join(dir, "store.db");
}

/** A process that runs this code and writes to stdout. */
function run(code: string) {
  const child = spawn(process.execPath, ["--no-install", "-e", code], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  return child;
}

function refusal(run: () => unknown): DvsError {
  try {
    run();
  } catch (e) {
    if (e instanceof DvsError) return e;
    throw e;
  }
  throw new Error("was not refused");
}

test("a second opener gets a clear error, and the first goes on", async () => {
  const path = newPath();
  const store = openSqliteStore(path);
  const error = refusal(() => openSqliteStore(path));
  expect(error.code).toBe("CONFLICT");
  expect(error.message).toContain(`${path}: another coordinator has it open`);
  await put(store, "/k", "1");
  await store.close();
  const again = openSqliteStore(path);
  expect((await again.get("/k"))!.value).toBe("1");
  await again.close();
});

test("a second opener in another process is refused, until the first is killed", async () => {
  const path = newPath();
  const module = JSON.stringify(join(import.meta.dir, "../../../core/store/sqlite/sqlite.ts"));
  const code = `
    const { openSqliteStore } = await import(${module});
    // Held: what nobody refers to is collected, and closed by that.
    globalThis.store = openSqliteStore(${JSON.stringify(path)});
    console.log("open");
    setInterval(() => {}, 1000);`;
  const child = run(code);
  await new Promise((resolve) => child.stdout.once("data", resolve));
  expect(refusal(() => openSqliteStore(path)).code).toBe("CONFLICT");
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
  await openSqliteStore(path).close();
});

test("kill -9 loses nothing that was acknowledged", async () => {
  const path = newPath();
  const module = JSON.stringify(join(import.meta.dir, "../../../core/store/sqlite/sqlite.ts"));
  const code = `
    const { openSqliteStore } = await import(${module});
    const store = openSqliteStore(${JSON.stringify(path)});
    for (let i = 1; ; i += 1) {
      await Promise.all(["/a", "/b"].map((key) =>
        store.txn({ if: [], then: [{ type: "put", key, value: String(i) }, { type: "put", key: key + "2", value: String(i) }] })));
      require("node:fs").writeSync(1, i + "\\n");
    }`;
  const child = run(code);
  let out = "";
  const gone = new Promise((resolve) => child.once("close", resolve));
  child.stdout.on("data", (data: Buffer) => {
    out += data.toString();
    if (out.length > 200) child.kill("SIGKILL");
  });
  await gone;
  const acknowledged = Number(out.trimEnd().split("\n").at(-1));
  const store = openSqliteStore(path);
  const [a, a2, b, b2] = (await store.range("/")).kvs;
  for (const kv of [a, b]) expect(Number(kv!.value)).toBeGreaterThanOrEqual(acknowledged);
  // A transaction is there whole or not at all.
  expect([a2!.value, a2!.modRevision]).toEqual([a!.value, a!.modRevision]);
  expect([b2!.value, b2!.modRevision]).toEqual([b!.value, b!.modRevision]);
  await store.close();
});

/** Connects through `around`, which sees every statement that is executed. */
function watched(around: (sql: string, run: () => void) => void): {
  connect: Connect;
  db: () => DatabaseSync;
} {
  let db: DatabaseSync;
  const connect: Connect = (path): Database => {
    db = new DatabaseSync(path);
    return {
      exec: (sql) => around(sql, () => db.exec(sql)),
      prepare: (sql) => db.prepare(sql),
      close: () => db.close(),
    };
  };
  return { connect, db: () => db };
}

test("writes of one turn share one commit, each with its own revision", async () => {
  let commits = 0;
  const { connect } = watched((sql, run) => {
    if (sql === "COMMIT") commits += 1;
    run();
  });
  const store = openSqliteStore(newPath(), { connect });
  const results = await Promise.all(Array.from({ length: 40 }, (_, i) => put(store, `/k${i}`, "v")));
  expect(commits).toBe(1);
  expect(results.map((r) => r.revision)).toEqual(results.map((_, i) => results[0]!.revision + i));
  await put(store, "/k", "v");
  expect(commits).toBe(2);
  const watch = collect(store, "/", results[0]!.revision);
  expect((await watch.until(41)).every((batch) => batch.events.length === 1)).toBe(true);
  await watch.stop();
  await store.close();
});

test("the log is synced at every commit", async () => {
  const { connect, db } = watched((_, run) => run());
  const store = openSqliteStore(newPath(), { connect });
  expect(db().prepare("PRAGMA synchronous").get()).toMatchObject({ synchronous: 2 });
  expect(db().prepare("PRAGMA journal_mode").get()).toMatchObject({ journal_mode: "wal" });
  await store.close();
});

test("a full disk refuses writes with NO_SPACE, breaks nothing, and all goes on when there is space", async () => {
  const path = newPath();
  const { connect, db } = watched((_, run) => run());
  const store = openSqliteStore(path, { connect });
  const lease = await store.grant(60);
  const { revision } = await put(store, "/before", "1", lease);
  const pages = (db().prepare("PRAGMA page_count").get() as { page_count: number }).page_count;
  db().exec(`PRAGMA max_page_count = ${pages + 20}`);
  const big = "x".repeat(30_000);
  const fill = async () => {
    for (let i = 0; ; i += 1) await put(store, `/fill${i}`, big);
  };
  const error = await rejects(fill(), "NO_SPACE");
  expect(error.message).toContain("disk is full");
  const filled = (await store.range("/")).kvs.length;
  const after = (await store.range("/")).revision;
  expect(filled).toBeGreaterThan(1);
  await rejects(store.txn({ if: [], then: [putOp("/a", "1"), putOp("/b", big)] }), "NO_SPACE");
  expect(await store.get("/a")).toBeNull();
  expect(await store.get("/before")).toMatchObject({ value: "1", version: 1 });
  await store.keepAlive(lease);
  expect((await store.txn({ if: [], then: [{ type: "get", key: "/before" }] })).revision).toBe(after);

  // One that does not fit takes none of its turn with it: small ones are written on their own.
  const outcomes = await Promise.allSettled([
    put(store, "/s1", "1"),
    put(store, "/big", big),
    put(store, "/s2", "1"),
  ]);
  expect(outcomes.map((o) => o.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);

  db().exec("PRAGMA max_page_count = 1000000");
  const next = await put(store, "/after", big);
  expect(next.revision).toBe(after + 3);
  const watch = collect(store, "/", revision);
  const batches = await watch.until(next.revision - revision + 1);
  expect(batches.map((b) => b.revision)).toEqual(batches.map((_, i) => revision + i));
  await watch.stop();
  await store.close();
  const again = openSqliteStore(path);
  expect((await again.range("/")).kvs).toHaveLength(filled + 3);
  await again.close();
});

for (const kept of [true, false]) {
  test(`a commit that fails on the disk has an unknown outcome; reading tells that it was ${kept ? "" : "not "}kept`, async () => {
    const path = newPath();
    let failing = false;
    const { connect, db } = watched((sql, run) => {
      if (!failing || sql !== "COMMIT") return run();
      failing = false;
      if (kept) run();
      throw Object.assign(new Error("disk I/O error"), { errcode: 1034 });
    });
    const store = openSqliteStore(path, { connect });
    const before = await put(store, "/k", "1");
    const opened = db();
    failing = true;
    await rejects(put(store, "/k", "2"), "UNKNOWN_OUTCOME");
    expect(db()).not.toBe(opened);
    expect((await store.get("/k"))!.value).toBe(kept ? "2" : "1");
    const after = await put(store, "/k", "3");
    expect(after.revision).toBe(before.revision + (kept ? 2 : 1));
    await store.close();
  });
}

test("the file is its owner's alone", async () => {
  const path = join(newPath(), "..", "new", "store.db");
  const store = openSqliteStore(path);
  await put(store, "/k", "1");
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(`${path}-wal`).mode & 0o777).toBe(0o600);
  expect(statSync(join(path, "..")).mode & 0o777).toBe(0o700);
  await store.close();
});

test("what is no store, a newer one, or damaged, is refused and left as it is", async () => {
  const other = newPath();
  const db = new DatabaseSync(other);
  db.exec("CREATE TABLE t (x)");
  db.close();
  expect(refusal(() => openSqliteStore(other)).message).toContain("a database of something else");

  const newer = newPath();
  await openSqliteStore(newer).close();
  const changed = new DatabaseSync(newer);
  changed.exec("PRAGMA user_version = 99");
  changed.close();
  expect(refusal(() => openSqliteStore(newer)).message).toContain("it has format 99, this dvs knows 1");

  const damaged = newPath();
  writeFileSync(damaged, "x".repeat(10_000));
  expect(refusal(() => openSqliteStore(damaged)).message).toContain("restore a backup");
  expect(refusal(() => openSqliteStore("/proc/none/store.db")).message).toContain("Cannot create the store");
  chmodSync(damaged, 0o600);
});

test("old versions leave the file when history is compacted", async () => {
  const { connect, db } = watched((_, run) => run());
  const store = openSqliteStore(newPath(), { connect });
  for (let i = 0; i < 60; i += 1) {
    await Promise.all(Array.from({ length: 50 }, (_, j) => put(store, `/k${j}`, String(i))));
  }
  for (let j = 0; j < 10; j += 1) await remove(store, `/k${j}`);
  const { revision } = await store.range("");
  await store.compact(revision + 1);
  expect(db().prepare("SELECT count(*) AS n FROM version").get()).toEqual({ n: 40 });
  await rejects(first(store.watch("/", revision, never)), "COMPACTED");
  await store.close();
});
