/**
 * One stream of watch events from one member: JSON lines, until it ends, fails, or has been silent for too long.
 *
 * A stream can hang without ending, so while it is silent its member is asked:
 * - it does not answer a linearizable read (hung, or cut off from the others): the stream fails;
 * - it has keys newer than what the stream brings, still after another wait: the stream fails;
 * - the whole store is behind what was delivered (etcd was restored from a backup): COMPACTED.
 * Deletions leave nothing to ask for, hence a silent stream also ends by itself after a time.
 *
 * etcd 3.4 drops deletions at the very revision of a compaction. So a watch from revision r asks for r - 1 and
 * throws the events of r - 1 away: if r - 1 was compacted, etcd says so.
 */
import { readLines } from "../../transport/ndjson.ts";
import { prefixEnd } from "../local/table.ts";
import { StoreError, type WatchBatch, type WatchEvent } from "../store.ts";
import type { WatchContext, WatchCursor } from "./etcd-watch.ts";
import { RequestFailure } from "./gateway.ts";
import { settled } from "./patience.ts";
import { revisionOf, type Wire, type WireKeyValue, type WireRange } from "./wire.ts";

interface WireEvent {
  /** Left out for PUT. */
  type?: "PUT" | "DELETE";
  kv: WireKeyValue;
}

interface WatchAnswer {
  result?: {
    canceled?: boolean;
    compact_revision?: string;
    /** More of the same answer follows. */
    fragment?: boolean;
    events?: WireEvent[];
  };
  error?: { message?: string } | string;
}

/** Throws RequestFailure when another stream may do better, StoreError COMPACTED. */
export async function* readStream(
  context: WatchContext,
  endpoint: string,
  cursor: WatchCursor,
  end: AbortSignal,
): AsyncGenerator<WatchBatch> {
  const { gateway, wire, times } = context;
  const controller = new AbortController();
  const abort = () => controller.abort();
  end.addEventListener("abort", abort, { once: true });
  try {
    const opening = gateway.stream(endpoint, "watch", createRequest(wire, cursor), controller.signal);
    if (!(await settled(opening, times.openMs))) throw silent(endpoint, "a new watch", times.openMs);
    const lines = readLines((await opening).body);
    const first = lines.next();
    if (!(await settled(first, times.openMs))) throw silent(endpoint, "a new watch", times.openMs);
    let { value: line } = await first;
    let pending: WatchBatch | undefined;
    while (line !== undefined) {
      const { events = [], fragment } = read(line, cursor);
      for (const event of events) {
        const revision = Number(event.kv.mod_revision);
        if (revision < cursor.next) continue;
        if (pending?.revision !== revision) {
          if (pending) yield sorted(pending);
          pending = { revision, events: [] };
        }
        pending.events.push(eventOf(wire, event));
      }
      // A revision is never spread over two answers, only over the fragments of one.
      if (pending && !fragment) {
        yield sorted(pending);
        pending = undefined;
      }
      const next = lines.next();
      if (!(await patient(context, endpoint, cursor, next))) return;
      line = (await next).value ?? undefined;
    }
    throw new RequestFailure("lost", `${endpoint}: the watch ended`);
  } finally {
    end.removeEventListener("abort", abort);
    controller.abort();
  }
}

/** Waits for the next line. False when the stream has been silent for so long that it should be opened again. */
async function patient(
  { gateway, wire, times }: WatchContext,
  endpoint: string,
  { prefix, next, delivered }: WatchCursor,
  line: Promise<unknown>,
): Promise<boolean> {
  let behind = false;
  for (let silentMs = 0; silentMs < times.renewMs; silentMs += times.probeMs) {
    if (await settled(line, times.probeMs)) return true;
    if (behind) throw new RequestFailure("lost", `${endpoint}: the watch of ${prefix} hangs`);
    const answer = (await gateway.callAt(endpoint, "kv/range", {
      key: wire.key(prefix),
      range_end: wire.key(prefixEnd(prefix)),
      min_mod_revision: String(next),
      keys_only: true,
      limit: "1",
    })) as WireRange;
    behind = (answer.kvs ?? []).length > 0;
    const revision = revisionOf(answer);
    if (delivered && revision < next - 1) {
      throw new StoreError(
        "COMPACTED",
        `Cannot watch ${prefix} from revision ${next}: etcd has gone back to revision ${revision}. List again.`,
      );
    }
  }
  return false;
}

function createRequest(wire: Wire, { prefix, next }: WatchCursor): object {
  return {
    create_request: {
      key: wire.key(prefix),
      range_end: wire.key(prefixEnd(prefix)),
      start_revision: String(Math.max(1, next - 1)),
      fragment: true,
    },
  };
}

function read(line: string, { prefix, next }: WatchCursor): NonNullable<WatchAnswer["result"]> {
  const { result, error } = JSON.parse(line) as WatchAnswer;
  if (Number(result?.compact_revision) > 0) {
    throw new StoreError(
      "COMPACTED",
      `Cannot watch ${prefix} from revision ${next}: history up to revision ${result!.compact_revision} was forgotten. List again and go on from there.`,
    );
  }
  if (!result || result.canceled) {
    const reason = typeof error === "object" ? error.message : error;
    throw new RequestFailure("lost", `the watch was ended: ${reason ?? "no reason given"}`);
  }
  return result;
}

function eventOf(wire: Wire, event: WireEvent): WatchEvent {
  const key = wire.keyOf(event.kv);
  if (event.type === "DELETE") return { type: "delete", key, kv: null };
  return { type: "put", key, kv: wire.kv(event.kv) };
}

function sorted(batch: WatchBatch): WatchBatch {
  batch.events.sort((a, b) => (a.key < b.key ? -1 : 1));
  return batch;
}

function silent(endpoint: string, what: string, ms: number): RequestFailure {
  return new RequestFailure("lost", `${endpoint}: no answer to ${what} within ${ms} ms`);
}
