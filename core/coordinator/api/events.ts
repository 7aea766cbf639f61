/** What happened, for people; and the pruning of what is too old to keep. */
import { Hono } from "hono";
import { eventsKeptMax, txnOperationsMax } from "../../limits.ts";
import { EventRecord, keys } from "../../records.ts";
import type { KeyValue, Store } from "../../store/store.ts";
import type { ApiEnv, Coordinator } from "../context.ts";
import { Mailbox } from "../mailbox.ts";
import { keepAliveMs, ndjson, type LineSource } from "../ndjson.ts";
import { queryFlag, queryNumber } from "../read.ts";

const limits = { fallback: 1_000, min: 0, max: eventsKeptMax };

export function eventRoutes(coordinator: Coordinator) {
  return new Hono<ApiEnv>().get("/v1/events", (c) => {
    const limit = queryNumber(c.req.query("limit"), "limit", limits);
    const follow = queryFlag(c.req.query("follow"), "follow");
    return ndjson(eventLines(coordinator, limit, follow), coordinator.signal);
  });
}

/** The newest `limit`, oldest first; then, for a follower, each one that comes. */
export function eventLines(
  { store, driver }: Pick<Coordinator, "store" | "driver">,
  limit: number,
  follow: boolean,
): LineSource {
  const mailbox = new Mailbox<KeyValue>({ max: eventsKeptMax });
  // From now on, so that none is missed between the reading and the following.
  const unsubscribe = follow ? driver.events.subscribe((kv) => mailbox.put(kv)) : () => undefined;
  async function* lines(): AsyncGenerator<EventRecord | undefined> {
    const { kvs, revision } = await store.range(keys.events);
    if (limit > 0) for (const kv of inOrder(kvs).slice(-limit)) yield parse(kv);
    if (!follow) return;
    for (;;) {
      const kv = await mailbox.take(keepAliveMs);
      if (kv === null) return;
      if (kv === undefined) yield undefined;
      else if (kv.modRevision > revision) yield parse(kv);
    }
  }
  const stop = () => {
    unsubscribe();
    mailbox.close();
  };
  return { lines: lines(), stop };
}

function parse(kv: KeyValue): EventRecord {
  return EventRecord.parse(JSON.parse(kv.value));
}

/** As they happened. Their keys sort by the clocks of coordinators, which may be set back. */
function inOrder(kvs: KeyValue[]): KeyValue[] {
  return kvs.toSorted((a, b) => a.modRevision - b.modRevision);
}

/** Deletes the oldest events beyond the number that is kept. */
export async function pruneEvents(store: Store, kept = eventsKeptMax): Promise<number> {
  const { kvs } = await store.range(keys.events);
  const old = inOrder(kvs).slice(0, Math.max(0, kvs.length - kept));
  for (let at = 0; at < old.length; at += txnOperationsMax) {
    const then = old.slice(at, at + txnOperationsMax).map((kv) => ({ type: "delete" as const, key: kv.key }));
    await store.txn({ if: [], then });
  }
  return old.length;
}
