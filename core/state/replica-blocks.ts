/** What a replica does for its blocks beside applying records: gives them to others, has damaged ones repaired, looks at all. */
import type { BlockStore } from "../blocks/block-store.ts";
import type { DiskId } from "../replica/configuration.ts";
import { BlockExchange } from "./block-exchange.ts";
import { BlockRepairs, type BlockRepairsOptions } from "./block-repairs.ts";
import type { Fields } from "./link/frames.ts";
import type { OpenModule } from "./module.ts";
import { type BlockScrubOptions, scrubBlocks, startBlockScrub } from "./scrub-blocks.ts";

export interface ReplicaBlocksOptions extends Pick<BlockRepairsOptions, "isNeeded" | "others" | "say"> {
  store: BlockStore;
  modules: () => readonly OpenModule[];
  /** To another replica. */
  send: (disk: DiskId, fields: Fields) => void;
}

export class ReplicaBlocks {
  readonly store: BlockStore;
  /** Bytes of segments, asked for and answered. */
  readonly exchange: BlockExchange;
  readonly #repairs: BlockRepairs;
  readonly #scrub: BlockScrubOptions;
  readonly #stopScrub: () => void;

  constructor({ store, isNeeded, others, say, modules, send }: ReplicaBlocksOptions) {
    this.store = store;
    this.exchange = new BlockExchange({ store, send });
    this.#repairs = new BlockRepairs({ store, isNeeded, exchange: this.exchange, others, say });
    this.#scrub = { store, isNeeded, modules, repair: (...range) => this.repair(...range) };
    this.#stopScrub = startBlockScrub(this.#scrub);
  }

  /** As `ModuleBlocks.repair`. */
  repair(...range: Parameters<BlockRepairs["repair"]>): Promise<Uint8Array> {
    return this.#repairs.repair(...range);
  }

  /** One round over all of them, at once: how many ranges were damaged, and how many of them are good now. */
  scrub(): Promise<{ damaged: number; repaired: number }> {
    return scrubBlocks(this.#scrub);
  }

  close(): void {
    this.#stopScrub();
    this.exchange.close();
  }
}
