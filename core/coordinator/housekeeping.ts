/** What the acting coordinator does now and then: old events, history that nobody watches, blobs of no image. */
import { sweepImages } from "../image/garbage.ts";
import { storeHistoryMs } from "../limits.ts";
import { defaultTenant } from "../names.ts";
import { ImageRecord, keys } from "../records.ts";
import type { BlobStore } from "../image/blob-store.ts";
import type { Store } from "../store/store.ts";
import { pruneEvents } from "./api/events.ts";

const roundMs = 60_000;
/** Blobs younger than this are left alone: an upload may be under way whose image is not committed yet. */
const blobGraceMs = 24 * 60 * 60_000;

export interface Housekeeping {
  store: Store;
  blobs: BlobStore;
  signal: AbortSignal;
  log(level: "info" | "warn" | "error", message: string): void;
}

export function startHousekeeping(house: Housekeeping): void {
  /** Revisions seen at past rounds: what is older than storeHistoryMs is compacted. */
  const past: { revision: number; atMs: number }[] = [];
  const round = async () => {
    const { store, blobs } = house;
    await pruneEvents(store);
    past.push({ revision: (await store.status()).revision, atMs: performance.now() });
    while (past[1] && performance.now() - past[1].atMs >= storeHistoryMs) past.shift();
    const oldest = past[0];
    if (oldest && performance.now() - oldest.atMs >= storeHistoryMs) await store.compact(oldest.revision);
    const { kvs } = await store.range(keys.images(defaultTenant));
    await sweepImages(
      blobs,
      kvs.map((kv) => ImageRecord.parse(JSON.parse(kv.value)).digest),
      blobGraceMs,
    );
  };
  const timer = setInterval(() => {
    round().catch((e: unknown) =>
      house.log("warn", `housekeeping: ${e instanceof Error ? e.message : String(e)}`),
    );
  }, roundMs);
  house.signal.addEventListener("abort", () => clearInterval(timer), { once: true });
}
