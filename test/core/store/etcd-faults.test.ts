/** What the etcd driver does when answers are lost, members hang or go away, and etcd is full. */
import { describe, expect, test } from "bun:test";
import { createServer, type AddressInfo } from "node:net";
import { openStore } from "../../../core/store/open.ts";
import { settleTxn } from "../../../core/store/settle.ts";
import type { StoreError } from "../../../core/store/store.ts";
import { etcdContext } from "./etcd-context.ts";
import { etcdMissing, skipNote, startEtcd } from "./etcd-fixture.ts";
import { absent, collect, deleteOp, first, never, put, putOp, rejects, remove } from "./store-suite.ts";

const timeoutMs = 60_000;

describe.skipIf(etcdMissing !== null)(`etcd faults${skipNote}`, () => {
  const etcd = etcdContext();
  const fact = (what: string, run: () => Promise<void>) => test(what, run, timeoutMs);

  fact(
    "a write whose answer is lost was sent once and has an unknown outcome; a read is repeated",
    async () => {
      const proxy = await etcd.proxy(etcd.addresses[0]!);
      const store = await etcd.open([proxy.address]);
      await put(store, "/n", "0");
      proxy.drop = 1;
      await rejects(put(store, "/n", "1"), "UNKNOWN_OUTCOME");
      proxy.drop = 2;
      // Version 2: it was applied, and only once.
      expect(await store.get("/n")).toMatchObject({ value: "1", version: 2 });
      expect(proxy.drop).toBe(0);
      proxy.drop = 1;
      const lease = await store.grant(60);
      proxy.drop = 1;
      await store.keepAlive(lease);
      proxy.drop = 1;
      await store.revoke(lease);
      proxy.drop = 1;
      expect((await store.txn({ if: [], then: [{ type: "get", key: "/n" }] })).results[0]!.value).toBe("1");
    },
  );

  fact("settleTxn finds out that a transaction whose answer was lost was applied", async () => {
    const proxy = await etcd.proxy(etcd.addresses[0]!);
    const store = await etcd.open([proxy.address]);
    await put(store, "/other", "seen");
    proxy.drop = 1;
    const result = await settleTxn(store, {
      if: [absent("/a")],
      then: [putOp("/a", "mine"), { type: "get", key: "/other" }, deleteOp("/none")],
    });
    const written = await store.get("/a");
    expect(result).toEqual({
      succeeded: true,
      revision: written!.modRevision,
      results: [null, await store.get("/other"), null],
    });
    expect(written!.version).toBe(1);
  });

  fact("an endpoint that refuses connections costs nothing: even a write goes on at the next", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const store = await etcd.open([`127.0.0.1:${port}`, etcd.addresses[0]!]);
    await put(store, "/a", "1");
    const proxy = await etcd.proxy(etcd.addresses[0]!);
    const second = await etcd.open([proxy.address, `127.0.0.1:${port}`, etcd.addresses[1]!]);
    await put(second, "/a", "1");
    await proxy.close();
    // The kept connection is cut: only the first write may have been under way on it.
    await put(second, "/a", "2").catch(() => undefined);
    await put(second, "/a", "3");
    expect((await second.get("/a"))!.value).toBe("3");
  });

  fact("a hung endpoint is left: reads are answered elsewhere, one write at most is in doubt", async () => {
    const proxy = await etcd.proxy(etcd.addresses[0]!);
    const store = await etcd.open([proxy.address, etcd.addresses[1]!]);
    await put(store, "/a", "1");
    proxy.hang = true;
    expect((await store.get("/a"))!.value).toBe("1");
    await put(store, "/a", "2");

    proxy.hang = false;
    const again = await etcd.open([proxy.address, etcd.addresses[1]!]);
    proxy.hang = true;
    await rejects(put(again, "/a", "3"), "UNKNOWN_OUTCOME");
    await put(again, "/a", "4");
    expect((await again.get("/a"))!.value).toBe("4");
  });

  fact("a watch outlives cut connections and misses nothing", async () => {
    const proxy = await etcd.proxy(etcd.addresses[0]!);
    const store = await etcd.open([proxy.address]);
    const { revision } = await put(store, "/k", "0");
    const watch = collect(store, "/k", revision);
    for (let i = 1; i <= 5; i += 1) {
      await watch.until(i);
      proxy.cut();
      await settleTxn(store, { if: [], then: [putOp("/k", String(i))] });
    }
    const batches = await watch.until(6);
    const events = [0, 1, 2, 3, 4, 5].map((i) => `put /k ${i}`);
    expect(batches.flatMap((b) => b.events)).toEqual(events);
    await watch.stop();
  });

  fact("a watch on a hung member goes on at another and misses nothing", async () => {
    const proxy = await etcd.proxy(etcd.addresses[0]!);
    const store = await etcd.open([proxy.address, etcd.addresses[1]!]);
    const { revision } = await put(store, "/k", "0");
    const watch = collect(store, "/k", revision);
    await watch.until(1);
    proxy.hang = true;
    await store.get("/k");
    await put(store, "/k", "1");
    await remove(store, "/k");
    const batches = await watch.until(3);
    expect(batches.flatMap((b) => b.events)).toEqual(["put /k 0", "put /k 1", "delete /k"]);
    await watch.stop();
  });

  fact("a stream that hangs while its member is well is opened again", async () => {
    const proxy = await etcd.proxy(etcd.addresses[0]!);
    const store = await etcd.open([proxy.address]);
    const { revision } = await put(store, "/k", "0");
    const watch = collect(store, "/k", revision);
    await watch.until(1);
    proxy.hangOpen();
    await put(await etcd.open(etcd.addresses), "/elsewhere", "x");
    await settleTxn(store, { if: [], then: [putOp("/k", "1")] });
    expect((await watch.until(2)).at(-1)!.events).toEqual(["put /k 1"]);
    await watch.stop();
  });

  fact("a hung stream that misses only a deletion is opened again after a time", async () => {
    const proxy = await etcd.proxy(etcd.addresses[0]!);
    const store = await etcd.open([proxy.address], {
      watchTimes: { openMs: 1_000, probeMs: 200, renewMs: 600 },
    });
    const { revision } = await put(store, "/k", "0");
    const watch = collect(store, "/k", revision);
    await watch.until(1);
    proxy.hangOpen();
    await settleTxn(store, { if: [], then: [deleteOp("/k")] });
    expect((await watch.until(2)).at(-1)!.events).toEqual(["delete /k"]);
    await watch.stop();
  });

  fact("when etcd has gone back in time, a watch says that history is gone", async () => {
    const restored = await startEtcd(1);
    etcd.finally(() => restored.close());
    const proxy = await etcd.proxy(etcd.addresses[0]!);
    const store = await etcd.open([proxy.address]);
    const { revision } = await put(store, "/k", "0");
    const iterator = store.watch("/k", revision, never)[Symbol.asyncIterator]();
    expect((await iterator.next()).value!.revision).toBe(revision);
    proxy.target = restored.members[0]!.address;
    proxy.cut();
    await rejects(iterator.next(), "COMPACTED");
  });

  fact("without a majority nothing is answered, within a bounded time; with one all goes on", async () => {
    const [a, b, c] = etcd.cluster.members;
    const timeouts = { attemptMs: 500, deadlineMs: 1_000 };
    const store = await etcd.open([a!.address], { timeouts });
    const { revision } = await put(store, "/k", "1");
    await Promise.all([b!.kill(), c!.kill()]);
    await rejects(store.get("/k"), "UNAVAILABLE");
    await rejects(etcd.open([a!.address, b!.address], { timeouts }), "UNAVAILABLE");
    const write = put(store, "/k", "2").then(
      () => "done",
      (e: unknown) => (e as StoreError).code,
    );
    expect(["UNAVAILABLE", "UNKNOWN_OUTCOME"]).toContain(await write);
    b!.start();
    c!.start();
    await etcd.cluster.ready();
    const watch = collect(store, "/k", revision);
    await settleTxn(store, { if: [], then: [putOp("/k", "3")] });
    await watch.until(2);
    expect(watch.batches.at(-1)!.events).toEqual(["put /k 3"]);
    await watch.stop();
  });

  fact("status() names members that do not answer", async () => {
    const [, b] = etcd.cluster.members;
    const store = await etcd.open(etcd.addresses);
    expect((await store.status()).warnings).toEqual([]);
    await b!.kill();
    const { warnings, driver } = await store.status();
    expect(driver).toBe("etcd");
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain(b!.address);
    b!.start();
    await etcd.cluster.ready();
  });
});

describe.skipIf(etcdMissing !== null)(`etcd that is full${skipNote}`, () => {
  test(
    "refuses writes with NO_SPACE and goes on reading",
    async () => {
      const cluster = await startEtcd(1, { flags: [`--quota-backend-bytes=${2 * 1024 * 1024}`] });
      try {
        const store = await openStore(cluster.url());
        const { revision } = await put(store, "/k", "1");
        const fill = async () => {
          for (let i = 0; i < 20; i += 1) await put(store, `/fill-${i}`, "x".repeat(500_000));
        };
        const error = await rejects(fill(), "NO_SPACE");
        expect(error.message).toContain("etcdctl defrag");
        expect((await store.get("/k"))!.value).toBe("1");
        expect((await first(store.watch("/k", revision, never))).revision).toBe(revision);
        const { warnings } = await store.status();
        expect(warnings.join()).toContain("NOSPACE");
        await store.close();
      } finally {
        await cluster.close();
      }
    },
    timeoutMs,
  );
});
