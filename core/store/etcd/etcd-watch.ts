/**
 * A watch over etcd: a stream (`etcd-stream.ts`) that is opened again from the next revision when it ends, whatever
 * ended it, at the next endpoint when that one failed.
 */
import { StoreError, type WatchBatch } from "../store.ts";
import { readStream } from "./etcd-stream.ts";
import type { Gateway } from "./gateway.ts";
import { settled } from "./patience.ts";
import type { Wire } from "./wire.ts";

export interface WatchTimes {
  /** The member must confirm a new watch within this. */
  openMs: number;
  /** After this much silence the member is asked, and again after as much. */
  probeMs: number;
  /** A stream that was silent for this long is opened again. */
  renewMs: number;
  /** Before a stream that failed is opened again. */
  pauseMs: number;
}

export interface WatchContext {
  gateway: Gateway;
  wire: Wire;
  times: WatchTimes;
  /** Aborts when the store is closed. */
  closing: AbortSignal;
}

/** Where a watch stands; what a stream delivers moves it on. */
export interface WatchCursor {
  prefix: string;
  /** The next revision to deliver. */
  next: number;
  /** True once `next` comes from what etcd has delivered, not from the caller. */
  delivered: boolean;
}

export async function* watchEtcd(
  context: WatchContext,
  prefix: string,
  fromRevision: number,
  signal: AbortSignal,
): AsyncGenerator<WatchBatch> {
  const { gateway, times, closing } = context;
  const cursor: WatchCursor = { prefix, next: fromRevision, delivered: false };
  const end = AbortSignal.any([signal, closing]);
  while (!end.aborted) {
    const endpoint = gateway.endpoint;
    try {
      for await (const batch of readStream(context, endpoint, cursor, end)) {
        cursor.next = batch.revision + 1;
        cursor.delivered = true;
        yield batch;
      }
    } catch (e) {
      if (end.aborted) break;
      if (e instanceof StoreError) throw e;
      gateway.leave(endpoint);
      const ended = Promise.withResolvers<void>();
      end.addEventListener("abort", () => ended.resolve(), { once: true });
      await settled(ended.promise, times.pauseMs);
    }
  }
  if (!signal.aborted) throw new StoreError("UNAVAILABLE", `Cannot watch ${prefix}: the store is closed.`);
}
