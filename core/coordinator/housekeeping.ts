/**
 * What the acting coordinator does now and then: old events and tokens, history that nobody watches, and its images (image-care.ts).
 * Whatever goes wrong is told and tried again at the next round; nobody waits for it.
 */
import { storeHistoryMs } from "../limits.ts";
import type { Store } from "../store/store.ts";
import { pruneEvents } from "./api/events.ts";
import { pruneTokens } from "./api/tokens.ts";
import type { ImageCare } from "./image-care.ts";
import type { KernelLogs } from "./kernel/kernel-logs.ts";
import { pause } from "./pause.ts";
import type { Log } from "./log.ts";

export interface HousekeepingTiming {
  /** Between two looks at events and history. */
  storeMs: number;
  /** Between two looks for images and blobs that nothing needs. */
  sweepMs: number;
  /** Between two readings of all blobs. */
  scrubMs: number;
}

const timingDefaults: HousekeepingTiming = { storeMs: 60_000, sweepMs: 10 * 60_000, scrubMs: 24 * 3_600_000 };

export interface Housekeeping {
  store: Store;
  images: ImageCare;
  kernelLogs: Pick<KernelLogs, "sweep">;
  signal: AbortSignal;
  timing?: Partial<HousekeepingTiming>;
  log: Log;
}

/** Resolves when the signal has aborted and nothing is under way any more. */
export async function keepHouse(house: Housekeeping): Promise<void> {
  const { store, images, kernelLogs, signal } = house;
  const timing = { ...timingDefaults, ...house.timing };
  const compactor = new Compactor(store);
  await Promise.all([
    // What another coordinator took in is not on this one's disk.
    attempt(house, "look at the images", () => images.check()),
    repeat(house, "pruning of events", timing.storeMs, () => pruneEvents(store)),
    repeat(house, "pruning of tokens", timing.sweepMs, () => pruneTokens(store)),
    repeat(house, "compaction of the store", timing.storeMs, () => compactor.round(performance.now())),
    repeat(house, "removal of records that no instance needs", timing.sweepMs, () => kernelLogs.sweep()),
    repeat(house, "removal of unused images", timing.sweepMs, () => images.sweep(signal)),
    repeat(house, "scrub of the images", timing.scrubMs, () => images.scrub(signal)),
  ]);
}

/** What a coordinator that stands by does: its disk alone. Resolves when the signal has aborted. */
export async function keepDisk(
  house: Pick<Housekeeping, "images" | "signal" | "timing" | "log">,
): Promise<void> {
  const { images, signal } = house;
  const timing = { ...timingDefaults, ...house.timing };
  await Promise.all([
    repeat(house, "removal of unused blobs", timing.sweepMs, () => images.sweep(signal, { records: false })),
    repeat(house, "scrub of the images", timing.scrubMs, () => images.scrub(signal)),
  ]);
}

/** One round after the other, however long one takes. */
async function repeat(
  { signal, log }: Pick<Housekeeping, "signal" | "log">,
  what: string,
  everyMs: number,
  round: () => Promise<unknown>,
): Promise<void> {
  for (;;) {
    await pause(everyMs, signal);
    if (signal.aborted) return;
    await attempt({ signal, log }, what, round);
  }
}

async function attempt(
  { signal, log }: Pick<Housekeeping, "signal" | "log">,
  what: string,
  act: () => Promise<unknown>,
): Promise<void> {
  try {
    await act();
  } catch (e) {
    if (!signal.aborted) log("warn", `${what}: ${e instanceof Error ? e.message : String(e)}`);
  }
}

/** Forgets the store's history beyond `historyMs`, by revisions that it has seen in time. */
export class Compactor {
  readonly #store: Store;
  readonly #historyMs: number;
  readonly #past: { revision: number; atMs: number }[] = [];

  constructor(store: Store, historyMs = storeHistoryMs) {
    this.#store = store;
    this.#historyMs = historyMs;
  }

  async round(nowMs: number): Promise<void> {
    const past = this.#past;
    past.push({ revision: (await this.#store.status()).revision, atMs: nowMs });
    while (past[1] && nowMs - past[1].atMs >= this.#historyMs) past.shift();
    const oldest = past[0]!;
    if (nowMs - oldest.atMs >= this.#historyMs) await this.#store.compact(oldest.revision);
  }
}
