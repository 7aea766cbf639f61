/**
 * The store on etcd 3.4 or newer, for several coordinators. One call of the interface is one request to etcd, but
 * for lists, which are read in pages. See `gateway.ts` for what happens to requests on the way, `etcd-watch.ts` for
 * watches.
 */
import { prefixEnd } from "../local/table.ts";
import { generationKey, generationOf, type Driver } from "../driver.ts";
import { StoreError } from "../store.ts";
import type { KeyValue, RangeOptions, RangeResult, StoreStatus, Txn, TxnResult } from "../store.ts";
import { watchEtcd, type WatchTimes } from "./etcd-watch.ts";
import { healthOf } from "./etcd-health.ts";
import type { Gateway } from "./gateway.ts";
import { revisionOf, type Wire, type WireHeader, type WireRange, type WireTxn } from "./wire.ts";

/** Keys per request of a list: it bounds the answer, which the gateway builds in memory, to some MiB as a rule. */
const pageKeys = 500;
/** A list that compaction overtook is begun again, this often. */
const listsMax = 3;

export class EtcdStore implements Driver {
  readonly #gateway: Gateway;
  readonly #wire: Wire;
  readonly #watchTimes: WatchTimes;
  readonly #closing = new AbortController();

  constructor(gateway: Gateway, wire: Wire, watchTimes: WatchTimes) {
    this.#gateway = gateway;
    this.#wire = wire;
    this.#watchTimes = watchTimes;
  }

  async get(key: string): Promise<KeyValue | null> {
    const answer = (await this.#call("kv/range", { key: this.#wire.key(key) })) as WireRange;
    revisionOf(answer);
    const kv = answer.kvs?.[0];
    return kv ? this.#wire.kv(kv) : null;
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    for (let lists = 1; ; lists += 1) {
      try {
        return await this.#list(prefix, options);
      } catch (e) {
        const overtaken = e instanceof StoreError && e.code === "COMPACTED" && options.revision === undefined;
        if (!overtaken || lists >= listsMax) throw e;
      }
    }
  }

  async #list(prefix: string, options: RangeOptions): Promise<RangeResult> {
    const { limit = Infinity } = options;
    let { revision, after = "" } = options;
    const kvs: KeyValue[] = [];
    for (;;) {
      const answer = (await this.#call("kv/range", {
        // The key right behind `after`.
        key: this.#wire.key(after >= prefix ? `${after}\0` : prefix),
        range_end: this.#wire.key(prefixEnd(prefix)),
        limit: String(Math.min(pageKeys, limit - kvs.length)),
        ...(revision === undefined ? {} : { revision: String(revision) }),
      })) as WireRange;
      revision ??= revisionOf(answer);
      for (const kv of answer.kvs ?? []) kvs.push(this.#wire.kv(kv));
      const more = answer.more === true;
      if (!more || kvs.length >= limit) return { kvs, more, revision };
      after = kvs.at(-1)!.key;
    }
  }

  async txn(txn: Txn): Promise<TxnResult> {
    const writes = [...txn.then, ...(txn.else ?? [])].some((operation) => operation.type !== "get");
    const body = this.#wire.txn(txn);
    const answer = (await this.#call("kv/txn", body, writes ? "once" : "repeat")) as WireTxn;
    const succeeded = answer.succeeded === true;
    const branch = (succeeded ? txn.then : txn.else) ?? [];
    const results = branch.map((_, i) => {
      const kv = answer.responses?.[i]?.response_range?.kvs?.[0];
      return kv ? this.#wire.kv(kv) : null;
    });
    return { succeeded, revision: revisionOf(answer), results };
  }

  watch(prefix: string, fromRevision: number, signal: AbortSignal) {
    const context = {
      gateway: this.#gateway,
      wire: this.#wire,
      times: this.#watchTimes,
      closing: this.#closing.signal,
    };
    return watchEtcd(context, prefix, fromRevision, signal);
  }

  /** Safe to repeat: a lease whose id was lost has no keys and ends by itself. */
  async grant(ttlSeconds: number): Promise<string> {
    const answer = (await this.#call("lease/grant", { TTL: String(ttlSeconds) })) as { ID?: string };
    if (!answer.ID) throw new StoreError("UNAVAILABLE", "Cannot read etcd's answer: it grants no lease.");
    return answer.ID;
  }

  async keepAlive(lease: string): Promise<void> {
    const answer = (await this.#call("lease/keepalive", { ID: lease })) as { result?: { TTL?: string } };
    if (!(Number(answer.result?.TTL) > 0)) {
      throw new StoreError("LEASE_NOT_FOUND", `Cannot use lease ${lease}: it has expired or was revoked.`);
    }
  }

  async revoke(lease: string): Promise<void> {
    try {
      await this.#call("lease/revoke", { ID: lease });
    } catch (e) {
      if (!(e instanceof StoreError && e.code === "LEASE_NOT_FOUND")) throw e;
    }
  }

  /** etcd keeps the state at the revision that it is given, and drops deletions at it: so the one before. */
  async compact(revision: number): Promise<void> {
    if (revision <= 1) return;
    try {
      await this.#call("kv/compaction", { revision: String(revision - 1) });
    } catch (e) {
      if (!(e instanceof StoreError && e.code === "COMPACTED")) throw e;
    }
  }

  async generation(): Promise<number> {
    return this.#generationIn(await this.#askGeneration());
  }

  async status(): Promise<StoreStatus> {
    const [answer, { warnings, members }] = await Promise.all([
      this.#askGeneration(),
      healthOf(this.#gateway),
    ]);
    return {
      driver: "etcd",
      revision: revisionOf(answer),
      generation: this.#generationIn(answer),
      warnings,
      ...(members ? { members } : {}),
    };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#gateway.close();
  }

  async #askGeneration(): Promise<WireRange> {
    return this.#call("kv/range", { key: this.#wire.key(generationKey) });
  }
  #generationIn({ kvs }: WireRange): number {
    return generationOf(kvs?.[0] && this.#wire.kv(kvs[0]).value);
  }

  #call(path: string, body: object, repeatable: "repeat" | "once" = "repeat"): Promise<WireHeader | object> {
    if (this.#closing.signal.aborted) {
      return Promise.reject(new StoreError("UNAVAILABLE", "Cannot use the store: it is closed."));
    }
    return this.#gateway.call(path, body, repeatable) as Promise<object>;
  }
}
