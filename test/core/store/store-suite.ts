/**
 * What every driver of the store must do, sentence by sentence of core/store/store.ts. Each driver's test file calls
 * `storeSuite` with a way to open an empty store.
 */
import { afterEach, describe, expect, test } from "bun:test";
import { MiB } from "../../../core/limits.ts";
import { generationKey } from "../../../core/store/driver.ts";
import { driverOf } from "../../../core/store/enforce.ts";
import { StoreError, type Compare, type Operation, type Store } from "../../../core/store/store.ts";
import { copyStore, raiseGeneration } from "../../../core/store/transfer.ts";
import { openMemoryStore } from "../../../core/store/memory/memory.ts";

export interface Subject {
  store: Store;
  /** Lets this much time pass for the store's leases; real time when absent. */
  advance?: (ms: number) => Promise<void>;
  /** Closes the store and opens it again on what it kept. */
  reopen?: () => Promise<Store>;
  close?: () => Promise<void>;
}

export interface SuiteOptions {
  skip?: boolean;
}

const timeoutMs = 60_000;

export function storeSuite(name: string, open: () => Promise<Subject>, options: SuiteOptions = {}): void {
  describe.skipIf(options.skip === true)(`store: ${name}`, () => {
    const opened: Subject[] = [];
    const subject = async () => {
      const s = await open();
      opened.push(s);
      return s;
    };
    const fresh = async () => (await subject()).store;
    afterEach(async () => {
      for (const s of opened.splice(0)) {
        await s.store.close();
        await s.close?.();
      }
    });
    const fact = (what: string, run: () => Promise<void>) => test(what, run, timeoutMs);

    describe("limits", () => {
      fact("a value of 1 MiB is kept, one byte more is refused", async () => {
        const store = await fresh();
        const value = "é".repeat(MiB / 2);
        await put(store, "/v", value);
        expect((await store.get("/v"))!.value === value).toBe(true);
        await refused(put(store, "/v", `${value}x`), "a value of 1048577 bytes for key /v: at most 1048576");
      });

      fact("100 compares and operations per branch are the most, counted per branch", async () => {
        const store = await fresh();
        const compares = Array.from({ length: 40 }, (_, i) => absent(`/c${i}`));
        const branch = (n: number) => Array.from({ length: n }, (_, i) => putOp(`/k${i}`, "v"));
        const { succeeded } = await store.txn({ if: compares, then: branch(60), else: branch(60) });
        expect(succeeded).toBe(true);
        await refused(store.txn({ if: compares, then: branch(61) }), `101 compares and operations in "then"`);
        await refused(
          store.txn({ if: compares, then: [], else: branch(61) }),
          `101 compares and operations in "else"`,
        );
        expect((await store.txn({ if: [], then: branch(100) })).results).toHaveLength(100);
      });

      fact("a branch names each key once, reads included", async () => {
        const store = await fresh();
        const twice: Operation[] = [putOp("/a", "1"), { type: "get", key: "/a" }];
        await refused(store.txn({ if: [], then: twice }), `key /a twice in "then"`);
        await refused(store.txn({ if: [], then: [], else: twice }), `key /a twice in "else"`);
        await store.txn({ if: [absent("/a")], then: [putOp("/a", "1")], else: [putOp("/a", "2")] });
        expect((await store.get("/a"))!.value).toBe("1");
      });

      fact("a transaction of more than 1.25 MiB is refused, one of as much is not", async () => {
        const store = await fresh();
        const then = (bytes: number) => [
          putOp("/a", "x".repeat(MiB)),
          putOp("/b", "x".repeat(bytes - MiB - 4)),
        ];
        expect((await store.txn({ if: [], then: then(1.25 * MiB) })).succeeded).toBe(true);
        await refused(store.txn({ if: [], then: then(1.25 * MiB + 1) }), "a transaction of 1310721 bytes");
      });

      fact(
        "keys, prefixes, revisions, limits, leases and values that some driver could not take are refused",
        async () => {
          const store = await fresh();
          for (const key of ["", "a", "!generation", "/é", "/a b", "/a\0", "/a\n"]) {
            await refused(store.get(key), "printable ASCII");
            await refused(put(store, key, "v"), "printable ASCII");
          }
          await refused(store.get(`/${"k".repeat(512)}`), "a key of 513 characters");
          await refused(store.range("a"), "printable ASCII");
          await refused(store.range("/", { limit: 0 }), "limit");
          await refused(store.range("/", { revision: 0 }), "revisions are whole numbers from 1");
          await refused(store.compact(1.5), "revisions are whole numbers from 1");
          await refused(first(store.watch("/", 0, never)), "revisions are whole numbers from 1");
          for (const ttl of [1, 2.5, -2, Number.NaN, 1e10]) await refused(store.grant(ttl), "lease");
          for (const lease of ["", "0", "-1", "x", "1".repeat(20)]) {
            await refused(store.keepAlive(lease), "lease");
            await refused(store.revoke(lease), "lease");
            await refused(put(store, "/k", "v", lease), "lease");
          }
          await refused(put(store, "/k", "\ud800"), "surrogate");
          const negative: Compare = { key: "/k", target: "mod", op: "=", value: -1 };
          await refused(store.txn({ if: [negative], then: [] }), "whole number from 0");
        },
      );
    });

    describe("transactions", () => {
      fact("create, mod and version follow a key through its lives", async () => {
        const store = await fresh();
        const a = await put(store, "/k", "1");
        expect(await store.get("/k")).toEqual({
          key: "/k",
          value: "1",
          lease: null,
          version: 1,
          createRevision: a.revision,
          modRevision: a.revision,
        });
        const b = await put(store, "/k", "2");
        expect(b.revision).toBeGreaterThan(a.revision);
        expect(await store.get("/k")).toMatchObject({
          value: "2",
          createRevision: a.revision,
          modRevision: b.revision,
          version: 2,
        });
        await remove(store, "/k");
        expect(await store.get("/k")).toBeNull();
        const c = await put(store, "/k", "3");
        expect(await store.get("/k")).toMatchObject({ createRevision: c.revision, version: 1 });
      });

      fact("values come back as they were: empty, with NUL, beyond the basic plane", async () => {
        const store = await fresh();
        for (const value of ["", "a\0b", "\u{1F600}\uFFFD\uE000", '{"a":"\\u0000"}', "\r\n", "\uFEFFx"]) {
          await put(store, "/v", value);
          expect((await store.get("/v"))!.value).toBe(value);
        }
      });

      fact("compares hold and fail as the table says", async () => {
        const store = await fresh();
        const { revision } = await put(store, "/k", "m");
        const table: [Compare, boolean][] = [
          [{ key: "/k", target: "create", op: "=", value: revision }, true],
          [{ key: "/k", target: "create", op: "=", value: 0 }, false],
          [{ key: "/k", target: "create", op: ">", value: 0 }, true],
          [{ key: "/k", target: "mod", op: "<", value: revision + 1 }, true],
          [{ key: "/k", target: "mod", op: "<", value: revision }, false],
          [{ key: "/k", target: "mod", op: "!=", value: revision }, false],
          [{ key: "/k", target: "version", op: "=", value: 1 }, true],
          [{ key: "/k", target: "version", op: ">", value: 1 }, false],
          [{ key: "/k", target: "value", op: "=", value: "m" }, true],
          [{ key: "/k", target: "value", op: "!=", value: "m" }, false],
          [{ key: "/k", target: "value", op: ">", value: "lz" }, true],
          [{ key: "/k", target: "value", op: "<", value: "mm" }, true],
          [{ key: "/none", target: "create", op: "=", value: 0 }, true],
          [{ key: "/none", target: "mod", op: "<", value: 1 }, true],
          [{ key: "/none", target: "version", op: ">", value: 0 }, false],
          // A missing key has no value, so nothing holds about it.
          [{ key: "/none", target: "value", op: "=", value: "" }, false],
          [{ key: "/none", target: "value", op: "!=", value: "x" }, false],
          [{ key: "/none", target: "value", op: "<", value: "x" }, false],
        ];
        for (const [compare, expected] of table) {
          const { succeeded } = await store.txn({ if: [compare], then: [] });
          expect([compare, succeeded]).toEqual([compare, expected]);
        }
      });

      fact("values are ordered by their bytes in UTF-8", async () => {
        const store = await fresh();
        await put(store, "/k", "\u{1F600}");
        const compare: Compare = { key: "/k", target: "value", op: ">", value: "\uFFFD" };
        expect((await store.txn({ if: [compare], then: [] })).succeeded).toBe(true);
      });

      fact("all compares must hold; the branch that runs gives one result per operation", async () => {
        const store = await fresh();
        await put(store, "/a", "1");
        const result = await store.txn({
          if: [present("/a"), absent("/a")],
          then: [putOp("/never", "x")],
          else: [
            { type: "get", key: "/a" },
            putOp("/b", "2"),
            { type: "get", key: "/none" },
            deleteOp("/none2"),
          ],
        });
        expect(result.succeeded).toBe(false);
        expect(result.results.map((kv) => kv?.value ?? null)).toEqual(["1", null, null, null]);
        expect(await store.get("/never")).toBeNull();
        expect(await store.get("/b")).toMatchObject({ modRevision: result.revision });
        expect(await store.txn({ if: [absent("/a")], then: [] })).toEqual({
          succeeded: false,
          revision: result.revision,
          results: [],
        });
      });

      fact("what a transaction changes has one revision; what changes nothing makes none", async () => {
        const store = await fresh();
        const { revision } = await store.txn({ if: [], then: [putOp("/a", "1"), putOp("/b", "1")] });
        expect((await store.range("/")).kvs.map((kv) => kv.modRevision)).toEqual([revision, revision]);
        await store.txn({ if: [absent("/a")], then: [putOp("/a", "2")] });
        await store.txn({ if: [], then: [{ type: "get", key: "/a" }] });
        await remove(store, "/none");
        expect((await store.range("/")).revision).toBe(revision);
        expect((await put(store, "/a", "1")).revision).toBe(revision + 1);
      });

      fact("transactions of one turn each have their own revision and their own result", async () => {
        const store = await fresh();
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, i) =>
            store.txn({ if: [absent(`/k${i % 25}`)], then: [putOp(`/k${i % 25}`, String(i))] }),
          ),
        );
        const won = results.filter((r) => r.succeeded).map((r) => r.revision);
        expect(won).toHaveLength(25);
        expect(new Set(won).size).toBe(25);
        const stored = (await store.range("/k")).kvs.map((kv) => kv.modRevision);
        expect(new Set(stored)).toEqual(new Set(won));
      });

      fact("concurrent compare-and-set: exactly one wins each round", async () => {
        const store = await fresh();
        let wins = 0;
        const writer = async () => {
          for (let i = 0; i < 10; i += 1) {
            const kv = await store.get("/n");
            const { succeeded } = await store.txn({
              if: [{ key: "/n", target: "mod", op: "=", value: kv?.modRevision ?? 0 }],
              then: [putOp("/n", String(Number(kv?.value ?? 0) + 1))],
            });
            if (succeeded) wins += 1;
          }
        };
        await Promise.all([writer(), writer(), writer(), writer()]);
        expect(Number((await store.get("/n"))!.value)).toBe(wins);
      });

      fact("a transaction that fails on its own leaves the others of its turn alone", async () => {
        const store = await fresh();
        const lease = await store.grant(60);
        await store.revoke(lease);
        const bad = store.txn({ if: [], then: [putOp("/x", "1"), { ...putOp("/y", "1"), lease }] });
        const [a, b, c] = await Promise.allSettled([put(store, "/a", "1"), bad, put(store, "/c", "1")]);
        expect([a.status, b.status, c.status]).toEqual(["fulfilled", "rejected", "fulfilled"]);
        expect((await store.range("/")).kvs.map((kv) => kv.key)).toEqual(["/a", "/c"]);
      });
    });

    describe("lists", () => {
      fact("keys with the prefix, in order, in pages, at one revision", async () => {
        const store = await fresh();
        const keys = ["/a", "/a/", "/a/1", "/a/10", "/a/2", "/a/~", "/a0", "/ab", "/b"];
        for (const key of keys.toReversed()) await put(store, key, key);
        const list = async (prefix: string, after?: string) =>
          (await store.range(prefix, after === undefined ? {} : { after })).kvs.map((kv) => kv.key);
        expect(await list("")).toEqual(keys);
        expect(await list("/")).toEqual(keys);
        expect(await list("/a/")).toEqual(keys.slice(1, 6));
        expect(await list("/a/1")).toEqual(["/a/1", "/a/10"]);
        expect(await list("/a/", "/a/10")).toEqual(["/a/2", "/a/~"]);
        expect(await list("/a/", "/a/~")).toEqual([]);
        expect(await list("/a/", "/0")).toEqual(keys.slice(1, 6));
        expect(await list("/none")).toEqual([]);

        const page = await store.range("", { limit: 4 });
        expect(page).toMatchObject({ more: true });
        expect(page.kvs.map((kv) => kv.key)).toEqual(keys.slice(0, 4));
        await remove(store, "/a/2");
        await put(store, "/aa", "new");
        const rest = await store.range("", {
          after: page.kvs.at(-1)!.key,
          revision: page.revision,
          limit: 5,
        });
        expect(rest.kvs.map((kv) => kv.key)).toEqual(keys.slice(4));
        expect(rest).toMatchObject({ more: false, revision: page.revision });
      });

      fact("the state as of any revision, and none of the future", async () => {
        const store = await fresh();
        const { revision: before } = await store.range("");
        const a = await put(store, "/k", "1");
        const b = await put(store, "/k", "2");
        const c = await remove(store, "/k");
        const d = await put(store, "/k", "3");
        const at = async (revision: number) => (await store.range("/k", { revision })).kvs[0] ?? null;
        expect(await at(before)).toBeNull();
        expect(await at(a.revision)).toMatchObject({ value: "1", version: 1, modRevision: a.revision });
        expect(await at(b.revision)).toMatchObject({ value: "2", version: 2, createRevision: a.revision });
        expect(await at(c.revision)).toBeNull();
        expect(await at(d.revision)).toMatchObject({ value: "3", version: 1 });
        await rejects(at(d.revision + 1_000), "INVALID");
      });
    });

    describe("watches", () => {
      fact("whole revisions in order, from the past into the present", async () => {
        const store = await fresh();
        const one = await store.txn({
          if: [],
          then: [putOp("/w/b", "1"), putOp("/w/a", "1"), putOp("/x", "1")],
        });
        await put(store, "/x", "2");
        const two = await store.txn({ if: [], then: [deleteOp("/w/a"), putOp("/w/b", "2")] });
        const watch = collect(store, "/w/", one.revision);
        await watch.until(2);
        const three = await put(store, "/w/c", "3");
        await put(store, "/x", "3");
        const four = await remove(store, "/w/c");
        expect(await watch.until(4)).toEqual([
          { revision: one.revision, events: ["put /w/a 1", "put /w/b 1"] },
          { revision: two.revision, events: ["delete /w/a", "put /w/b 2"] },
          { revision: three.revision, events: ["put /w/c 3"] },
          { revision: four.revision, events: ["delete /w/c"] },
        ]);
        await watch.stop();
      });

      fact("starts at exactly the revision that was asked for", async () => {
        const store = await fresh();
        const { revision } = await put(store, "/k", "1");
        for (const value of ["2", "3", "4"]) await put(store, "/k", value);
        const watch = collect(store, "/k", revision + 2);
        expect((await watch.until(2)).map((b) => b.revision)).toEqual([revision + 2, revision + 3]);
        const future = collect(store, "/k", revision + 5);
        for (const value of ["5", "6"]) await put(store, "/k", value);
        expect((await future.until(1))[0]).toEqual({ revision: revision + 5, events: ["put /k 6"] });
        await Promise.all([watch.stop(), future.stop()]);
      });

      fact("ends without an error when its signal aborts, also before it began", async () => {
        const store = await fresh();
        const watch = collect(store, "/", 1);
        await put(store, "/a", "1");
        await watch.until(1);
        await watch.stop();
        for await (const _ of store.watch("/", 1, AbortSignal.abort())) throw new Error("delivered");
      });

      fact("1,500 revisions from the past, none missing", async () => {
        const store = await fresh();
        const { revision } = await store.range("");
        for (let i = 0; i < 1_500; i += 50) {
          await Promise.all(Array.from({ length: 50 }, (_, j) => put(store, `/k${j}`, String(i + j))));
        }
        const watch = collect(store, "/", revision + 1);
        const batches = await watch.until(1_500);
        expect(batches.map((b) => b.revision)).toEqual(batches.map((_, i) => revision + 1 + i));
        await watch.stop();
      });

      fact("a consumer that is slow misses nothing", async () => {
        const store = await fresh();
        const { revision } = await put(store, "/k", "0");
        const iterator = store.watch("/k", revision, never)[Symbol.asyncIterator]();
        const seen: string[] = [];
        for (let i = 1; i <= 30; i += 1) {
          await put(store, "/k", String(i));
          if (i % 3 === 0) seen.push((await iterator.next()).value!.events[0]!.kv!.value);
        }
        while (seen.length <= 30) seen.push((await iterator.next()).value!.events[0]!.kv!.value);
        expect(seen).toEqual(Array.from({ length: 31 }, (_, i) => String(i)));
        await iterator.return?.();
      });

      fact("a put carries the whole key, its lease too", async () => {
        const store = await fresh();
        const lease = await store.grant(60);
        const { revision } = await put(store, "/k", "v", lease);
        const batch = await first(store.watch("/k", revision, never));
        expect(batch.events).toEqual([{ type: "put", key: "/k", kv: await store.get("/k") }]);
        expect(batch.events[0]!.kv!.lease).toBe(lease);
      });
    });

    describe("compaction", () => {
      fact("history below the revision is gone, from it on it is whole", async () => {
        const store = await fresh();
        const revisions: number[] = [];
        for (let i = 0; i < 4; i += 1) revisions.push((await put(store, "/k", String(i))).revision);
        // The deletion has the very revision of the compaction.
        const floor = (await remove(store, "/k")).revision;
        await put(store, "/other", "x");
        await store.compact(floor);

        await rejects(first(store.watch("/", revisions[0]!, never)), "COMPACTED");
        await rejects(first(store.watch("/", floor - 1, never)), "COMPACTED");
        await rejects(store.range("/k", { revision: revisions[1]! }), "COMPACTED");
        const watch = collect(store, "/", floor);
        expect(await watch.until(2)).toEqual([
          { revision: floor, events: ["delete /k"] },
          { revision: floor + 1, events: ["put /other x"] },
        ]);
        await watch.stop();
        expect((await store.range("/k", { revision: floor - 1 })).kvs[0]!.value).toBe("3");
        expect((await store.range("/k", { revision: floor })).kvs).toEqual([]);
        expect((await store.range("/")).kvs.map((kv) => kv.key)).toEqual(["/other"]);
      });

      fact("compacting again, or to what was compacted, does nothing; to the future is refused", async () => {
        const store = await fresh();
        const { revision } = await put(store, "/k", "1");
        await store.compact(revision);
        await store.compact(revision);
        await store.compact(1);
        await rejects(store.compact(revision + 1_000), "INVALID");
        expect((await store.get("/k"))!.value).toBe("1");
        expect((await put(store, "/k", "2")).revision).toBe(revision + 1);
        expect((await store.get("/k"))!.version).toBe(2);
      });

      fact("thousands of old versions go and every current one stays", async () => {
        const store = await fresh();
        for (let round = 0; round < 3; round += 1) {
          for (let i = 0; i < 1_000; i += 100) {
            await store.txn({
              if: [],
              then: Array.from({ length: 100 }, (_, j) => putOp(`/k${i + j}`, `${round}`)),
            });
          }
        }
        await store.txn({ if: [], then: Array.from({ length: 100 }, (_, j) => deleteOp(`/k${j}`)) });
        const { revision } = await store.range("", { limit: 1 });
        await store.compact(revision + 1);
        const { kvs } = await store.range("/k");
        expect(kvs).toHaveLength(900);
        expect(kvs.every((kv) => kv.value === "2" && kv.version === 3)).toBe(true);
        await put(store, "/k0", "again");
        expect(await store.get("/k0")).toMatchObject({ version: 1, createRevision: revision + 1 });
      });

      fact("a watch that has seen everything is not disturbed", async () => {
        const store = await fresh();
        const { revision } = await put(store, "/k", "1");
        const watch = collect(store, "/k", revision);
        await watch.until(1);
        await put(store, "/other", "1");
        await store.compact((await put(store, "/other", "2")).revision);
        await put(store, "/k", "2");
        expect((await watch.until(2))[1]!.events).toEqual(["put /k 2"]);
        await watch.stop();
      });
    });

    describe("leases", () => {
      fact("its keys go together, never early, and it is gone with them", async () => {
        const { store, advance } = await subject();
        const wait = advance ?? ((ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)));
        const lease = await store.grant(2);
        const kept = await store.grant(2);
        await store.txn({
          if: [],
          then: [putOp("/l/a", "1", lease), putOp("/l/b", "1", lease), putOp("/k", "1", kept)],
        });
        const { revision } = await store.range("");
        const watch = collect(store, "/l/", revision + 1);
        let renewed = performance.now();
        await store.keepAlive(lease);
        let gone = false;
        for (let waited = 0; !gone && waited < 20_000; waited += 500) {
          await wait(500);
          await store.keepAlive(kept);
          if (waited === 500) {
            renewed = performance.now();
            await store.keepAlive(lease);
          }
          gone = (await store.get("/l/a")) === null;
          // The renewal gave it two seconds from its being sent, at least.
          const age = advance ? waited - 500 : performance.now() - renewed;
          if (gone) expect(age).toBeGreaterThanOrEqual(2_000);
        }
        expect(gone).toBe(true);
        expect((await watch.until(1)).map((b) => b.events)).toEqual([["delete /l/a", "delete /l/b"]]);
        expect((await store.get("/k"))!.lease).toBe(kept);
        await rejects(store.keepAlive(lease), "LEASE_NOT_FOUND");
        await rejects(put(store, "/l/a", "2", lease), "LEASE_NOT_FOUND");
        await watch.stop();
      });

      fact("revoke deletes its keys in one revision, 150 of them too; twice is no error", async () => {
        const store = await fresh();
        const lease = await store.grant(60);
        for (let i = 0; i < 150; i += 50) {
          await store.txn({
            if: [],
            then: Array.from({ length: 50 }, (_, j) => putOp(`/l${i + j}`, "v", lease)),
          });
        }
        await put(store, "/stays", "v");
        const { revision } = await store.range("");
        await store.revoke(lease);
        const batch = await first(store.watch("/", revision + 1, never));
        expect(batch.revision).toBe(revision + 1);
        expect(batch.events).toHaveLength(150);
        expect((await store.range("")).kvs.map((kv) => kv.key)).toEqual(["/stays"]);
        await store.revoke(lease);
        await rejects(store.keepAlive(lease), "LEASE_NOT_FOUND");
        expect((await store.range("")).revision).toBe(revision + 1);
      });

      fact("a put moves a key to its lease, or off any", async () => {
        const store = await fresh();
        const [one, two] = [await store.grant(60), await store.grant(60)];
        expect(one).not.toBe(two);
        for (const key of ["/off", "/moved", "/deleted", "/stays"]) await put(store, key, "1", one);
        await put(store, "/off", "2");
        await put(store, "/moved", "2", two);
        await remove(store, "/deleted");
        await put(store, "/deleted", "2");
        await store.revoke(one);
        expect((await store.range("")).kvs.map((kv) => [kv.key, kv.lease])).toEqual([
          ["/deleted", null],
          ["/moved", two],
          ["/off", null],
        ]);
      });
    });

    describe("generation and copies", () => {
      fact("a store starts at generation 1, out of reach of its users", async () => {
        const store = await fresh();
        expect((await store.status()).generation).toBe(1);
        expect(await store.generation()).toBe(1);
        expect(await raiseGeneration(store)).toBe(2);
        expect((await store.status()).generation).toBe(2);
        expect(await store.generation()).toBe(2);
        expect((await store.range("")).kvs).toEqual([]);
        expect((await driverOf(store).get(generationKey))!.value).toBe("2");
      });

      fact("a copy has every key that hangs on no lease, and a higher generation than both", async () => {
        const from = await fresh();
        for (let i = 0; i < 600; i += 100) {
          await from.txn({
            if: [],
            then: Array.from({ length: 100 }, (_, j) => putOp(`/k${i + j}`, `é${i + j}`)),
          });
        }
        await put(from, "/big", "x".repeat(MiB));
        await put(from, "/leased", "x", await from.grant(60));
        await raiseGeneration(from);
        const memory = openMemoryStore();
        expect(await copyStore(from, memory)).toEqual({ keys: 601, generation: 3 });
        const back = await fresh();
        expect(await copyStore(memory, back)).toEqual({ keys: 601, generation: 4 });
        expect((await back.status()).generation).toBe(4);
        const content = async (store: Store) => (await store.range("")).kvs.map((kv) => [kv.key, kv.value]);
        const expected = (await content(from)).filter(([key]) => key !== "/leased");
        expect(await content(back)).toEqual(expected);
        const refusal = await copyStore(from, back).catch((e: unknown) => e);
        expect(String(refusal)).toContain("it is not empty");
      });
    });

    fact("1,000 instances' records: listed, and watched one by one", async () => {
      const store = await fresh();
      const record = JSON.stringify({ spec: "x".repeat(1_500) });
      const { revision } = await store.range("");
      const watch = collect(store, "/t/", revision + 1);
      for (let i = 0; i < 1_000; i += 50) {
        await Promise.all(
          Array.from({ length: 50 }, (_, j) => put(store, `/t/default/i/web-${i + j}`, record)),
        );
      }
      const started = performance.now();
      const { kvs } = await store.range("/t/default/i/");
      const listed = performance.now();
      expect(kvs).toHaveLength(1_000);
      expect(await watch.until(1_000)).toHaveLength(1_000);
      await watch.stop();
      const again = collect(store, "/t/", revision + 1);
      await again.until(1_000);
      await again.stop();
      if (process.env["DVS_TEST_FIGURES"]) {
        const watched = performance.now();
        console.error(
          `${name}: list ${(listed - started).toFixed(1)} ms, then both watches ${(watched - listed).toFixed(1)} ms`,
        );
      }
    });

    fact("a closed store says so, and its watches end", async () => {
      const store = await fresh();
      const { revision } = await put(store, "/k", "1");
      const iterator = store.watch("/k", revision + 1, never)[Symbol.asyncIterator]();
      const pending = iterator.next();
      await store.close();
      await rejects(pending, "UNAVAILABLE");
      await rejects(store.get("/k"), "UNAVAILABLE");
      await rejects(put(store, "/k", "2"), "UNAVAILABLE");
    });

    fact(
      "a restart keeps everything, never reuses a revision, and gives leases their whole time again",
      async () => {
        const { store, reopen, advance } = await subject();
        if (!reopen) return;
        const lease = await store.grant(3);
        const a = await put(store, "/kept", "1", lease);
        const b = await put(store, "/gone", "1");
        await raiseGeneration(store);
        await remove(store, "/gone");
        const { revision } = await store.range("");
        await store.compact(revision + 1);
        await advance?.(2_900);
        const again = await reopen();
        expect(await again.get("/kept")).toMatchObject({ value: "1", lease, createRevision: a.revision });
        expect(await again.get("/gone")).toBeNull();
        expect((await again.range("")).revision).toBe(revision);
        expect((await again.status()).generation).toBe(2);
        await rejects(first(again.watch("/", b.revision, never)), "COMPACTED");
        await advance?.(2_900);
        expect(await again.get("/kept")).not.toBeNull();
        await again.keepAlive(lease);
        expect((await put(again, "/new", "1")).revision).toBe(revision + 1);
      },
    );
  });
}

/** Never aborts. */
export const never = new AbortController().signal;

export function putOp(key: string, value: string, lease?: string): Operation & { type: "put" } {
  return { type: "put", key, value, ...(lease === undefined ? {} : { lease }) };
}
export function deleteOp(key: string): Operation {
  return { type: "delete", key };
}
export function absent(key: string): Compare {
  return { key, target: "create", op: "=", value: 0 };
}
export function present(key: string): Compare {
  return { key, target: "create", op: ">", value: 0 };
}
export function put(store: Store, key: string, value: string, lease?: string) {
  return store.txn({ if: [], then: [putOp(key, value, lease)] });
}
export function remove(store: Store, key: string) {
  return store.txn({ if: [], then: [deleteOp(key)] });
}

export async function first<T>(items: AsyncIterable<T>): Promise<T> {
  for await (const item of items) return item;
  throw new Error("nothing came");
}

export async function rejects(promise: Promise<unknown>, code: StoreError["code"]): Promise<StoreError> {
  const error = await promise.then(
    (value) => new Error(`resolved with ${JSON.stringify(value)}`),
    (e: unknown) => e,
  );
  if (!(error instanceof StoreError)) throw error;
  expect(error.code).toBe(code);
  return error;
}

async function refused(promise: Promise<unknown>, words: string): Promise<void> {
  expect((await rejects(promise, "INVALID")).message).toContain(words);
}

/** Reads a watch in the background, each event as words. */
export function collect(store: Store, prefix: string, fromRevision: number) {
  const controller = new AbortController();
  const batches: { revision: number; events: string[] }[] = [];
  let arrived = Promise.withResolvers<void>();
  const reading = (async () => {
    for await (const batch of store.watch(prefix, fromRevision, controller.signal)) {
      const events = batch.events.map((e) => (e.kv ? `put ${e.key} ${e.kv.value}` : `delete ${e.key}`));
      batches.push({ revision: batch.revision, events });
      arrived.resolve();
      arrived = Promise.withResolvers();
    }
  })();
  reading.catch(() => undefined);
  return {
    batches,
    /** Resolves when there are so many; throws what ended the watch. */
    async until(count: number) {
      while (batches.length < count) await Promise.race([arrived.promise, reading]);
      return batches;
    },
    async stop() {
      controller.abort();
      await reading;
    },
  };
}
