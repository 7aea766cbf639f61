/**
 * Reads all blocks again and again, slowly, as the tables of their modules name them, and repairs what the disk no
 * longer has as it was written: before the other replicas' disks have lost it, too.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BlockStore } from "../blocks/block-store.ts";
import {
  blockScrubBytesPerSecond,
  blockScrubFirstMs,
  blockScrubRangeBytes,
  blockScrubRestMs,
  blockScrubStepBytes,
  scrubbedAtOnce,
} from "./limits.ts";
import type { OpenModule, ScrubRange } from "./module.ts";

export interface BlockScrubOptions {
  store: Pick<BlockStore, "read">;
  /** As they are now: others after a snapshot was installed. */
  modules: () => readonly OpenModule[];
  isNeeded: (segment: number) => boolean;
  repair: (
    segment: number,
    position: number,
    length: number,
    isGood: (bytes: Uint8Array) => boolean,
  ) => Promise<Uint8Array>;
  bytesPerSecond?: number;
  /** For tests: before the first round. */
  firstMs?: number;
}

/** Returns how to stop. */
export function startBlockScrub(options: BlockScrubOptions): () => void {
  const ended = new AbortController();
  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal: ended.signal, ref: false });
  const rate = options.bytesPerSecond ?? blockScrubBytesPerSecond;
  let unpaid = 0;
  const pay = async (bytes: number): Promise<void> => {
    unpaid += Math.max(bytes, blockScrubRangeBytes);
    if (unpaid < blockScrubStepBytes) return;
    const ms = (unpaid / rate) * 1_000;
    unpaid = 0;
    await pause(ms);
  };
  const rounds = async (): Promise<void> => {
    await pause(options.firstMs ?? blockScrubFirstMs);
    for (;;) {
      await scrubBlocks(options, pay);
      await pause(blockScrubRestMs);
    }
  };
  // It ends only when it is stopped: what it meets it has told whoever repairs.
  rounds().catch(() => undefined);
  return () => ended.abort();
}

/** One round. Resolves with how many ranges were damaged, and how many of them are now good. */
export async function scrubBlocks(
  options: BlockScrubOptions,
  pause: (bytes: number) => Promise<void> = () => Promise.resolve(),
): Promise<{ damaged: number; repaired: number }> {
  const found = { damaged: 0, repaired: 0 };
  for (const [i, module] of options.modules().entries()) {
    if (!("scrub" in module)) continue;
    let after: unknown = null;
    for (;;) {
      // Another one, if a snapshot was installed meanwhile.
      const step = options.modules()[i]!.scrub!(after, scrubbedAtOnce);
      for (const range of step.ranges) {
        await look(range, options, found);
        await pause(range.length);
      }
      if (step.next === null) break;
      after = step.next;
    }
  }
  return found;
}

async function look(
  { segment, position, length, isGood }: ScrubRange,
  { store, isNeeded, repair }: BlockScrubOptions,
  found: { damaged: number; repaired: number },
): Promise<void> {
  const bytes = await store.read(segment, position, length).catch(() => null);
  if ((bytes && isGood(bytes)) || !isNeeded(segment)) return;
  found.damaged++;
  const repaired = await repair(segment, position, length, isGood).catch(() => null);
  if (repaired) found.repaired++;
}
