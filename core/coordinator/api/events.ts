/** What happened, for people; and the pruning of what is too old to keep. */
import { Hono } from "hono";
import { eventsKeptMax, txnOperationsMax } from "../../limits.ts";
import { EventRecord, keys } from "../../records.ts";
import { StoreError, type KeyValue, type Store } from "../../store/store.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { keepAliveMs, ndjson } from "../ndjson.ts";
import { queryNumber } from "../read.ts";
import { Mailbox } from "../topic.ts";

export function eventRoutes(coordinator: Coordinator) {
  return new Hono<ApiEnv>().get("/v1/events", (c) => {
    const limit = queryNumber(c.req.query("limit"), "limit", 1_000, eventsKeptMax);
    const mailbox = new Mailbox<KeyValue>({ max: eventsKeptMax });
    const unsubscribe =
      c.req.query("follow") === "true" ? coordinator.driver.events.subscribe((kv) => mailbox.put(kv)) : null;
    async function* source(): AsyncGenerator<EventRecord | undefined> {
      const { kvs, revision } = await coordinator.store.range(keys.events);
      for (const kv of kvs.slice(-limit)) yield parse(kv);
      if (!unsubscribe) return;
      for (;;) {
        const kv = await mailbox.take(keepAliveMs);
        if (kv === null) return;
        if (kv === undefined) yield undefined;
        else if (kv.modRevision > revision) yield parse(kv);
      }
    }
    return ndjson(source(), () => {
      unsubscribe?.();
      mailbox.close();
    });
  });
}

function parse(kv: KeyValue): EventRecord {
  return EventRecord.parse(JSON.parse(kv.value));
}

/** Deletes the oldest events beyond the number that is kept. */
export async function pruneEvents(store: Store, kept = eventsKeptMax): Promise<number> {
  const { kvs } = await store.range(keys.events);
  const old = kvs.slice(0, Math.max(0, kvs.length - kept));
  for (let at = 0; at < old.length; at += txnOperationsMax) {
    const then = old.slice(at, at + txnOperationsMax).map((kv) => ({ type: "delete" as const, key: kv.key }));
    try {
      await store.txn({ if: [], then });
    } catch (e) {
      if (e instanceof StoreError) return at; // the next round deletes the rest
      throw e;
    }
  }
  return old.length;
}
