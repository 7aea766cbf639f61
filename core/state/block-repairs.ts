/**
 * Bytes that this replica's disk has damaged or lost, from another replica: each has the same at the same place. What
 * comes is checked by whoever has its checksum, written over the damaged bytes, and synced.
 */
import type { BlockStore } from "../blocks/block-store.ts";
import { DvsError } from "../errors.ts";
import type { DiskId } from "../replica/configuration.ts";
import type { BlockExchange } from "./block-exchange.ts";
import { blockPieceBytes } from "./limits.ts";

export interface BlockRepairsOptions {
  store: BlockStore;
  /** Whether the segment is needed, as far as this replica has applied. */
  isNeeded: (segment: number) => boolean;
  exchange: Pick<BlockExchange, "fetch">;
  /** Replicas that can be asked now. */
  others: () => readonly DiskId[];
  say: (level: "warn" | "error", message: string, fields: Record<string, unknown>) => void;
}

type IsGood = (bytes: Uint8Array) => boolean;

export class BlockRepairs {
  readonly #options: BlockRepairsOptions;
  /** Under way, by place: whoever meets the same damage waits for the same repair. */
  readonly #running = new Map<string, Promise<Uint8Array>>();

  constructor(options: BlockRepairsOptions) {
    this.#options = options;
  }

  /** Resolves with the bytes. Rejects with NOT_FOUND where the segment is gone, FAILED where no replica that answers has good ones. */
  repair(segment: number, position: number, length: number, isGood: IsGood): Promise<Uint8Array> {
    const key = `${segment} ${position} ${length}`;
    const running = this.#running.get(key);
    if (running) return running;
    const repair = this.#repair(segment, position, length, isGood).finally(() => this.#running.delete(key));
    this.#running.set(key, repair);
    return repair;
  }

  async #repair(segment: number, position: number, length: number, isGood: IsGood): Promise<Uint8Array> {
    const { store, isNeeded, others, say } = this.#options;
    // The bus may have been at fault, or it was written meanwhile.
    const again = await store.read(segment, position, length).catch(() => null);
    if (again && isGood(again)) return again;
    if (!isNeeded(segment))
      throw new DvsError("NOT_FOUND", `Cannot read block segment ${segment}: it is gone.`);
    const range = { segment, position, bytes: length };
    for (const disk of others()) {
      const bytes = await this.#fetch(disk, segment, position, length);
      if (!bytes || !isGood(bytes)) continue;
      // It may have been discarded meanwhile.
      if (isNeeded(segment)) {
        await store.put(segment, position, bytes);
        await store.synced(segment);
        say("warn", "the disk had damaged a block: it is repaired", { ...range, from: disk });
      }
      return bytes;
    }
    say("error", "the disk has damaged a block, and no other replica has it", range);
    throw new DvsError(
      "FAILED",
      `Cannot read ${length} bytes at ${position} of block segment ${segment}: the disk has damaged them, and no other replica that answers has them.`,
    );
  }

  /** Null: it does not have them, or does not answer. */
  async #fetch(disk: DiskId, segment: number, position: number, length: number): Promise<Uint8Array | null> {
    const bytes = new Uint8Array(length);
    try {
      for (let at = 0; at < length; at += blockPieceBytes) {
        const part = Math.min(blockPieceBytes, length - at);
        const fetched = await this.#options.exchange.fetch(disk, segment, position + at, part);
        if (!fetched) return null;
        bytes.set(fetched, at);
      }
      return bytes;
    } catch (e) {
      if (e instanceof DvsError && e.code === "UNAVAILABLE") return null;
      throw e;
    }
  }
}
