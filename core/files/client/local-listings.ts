/**
 * Listings of directories as they were read beside a replica: each part of one is kept, and is true as long as the guard
 * names the same records for the directory and for its names as before.
 */
import { localEntriesMax } from "../../limits.ts";
import { bucketsOf } from "../../state/buckets.ts";
import { notClean } from "../../state/guard.ts";
import type { DirectoryEntry } from "../file-system.ts";
import { inodeKey, listingKey } from "../module/touched.ts";
import type { NearState } from "./near-reader.ts";

interface KnownListing {
  /** Of its names, and of the directory itself. */
  readonly buckets: readonly number[];
  readonly lasts: readonly number[];
  /** By where a part begins and how many were asked for. */
  readonly parts: Map<string, readonly DirectoryEntry[]>;
  entries: number;
}

export class LocalListings {
  readonly #known = new Map<number, KnownListing>();
  #entries = 0;

  clear(): void {
    this.#known.clear();
    this.#entries = 0;
  }

  /**
   * A part of the listing of a directory; `read` reads it where it is not known, and returns null where there is no such
   * directory yet. Null: the replica has to be asked. What is returned is the caller's, its entries are not.
   */
  find(
    state: NearState,
    ino: number,
    after: number,
    limit: number,
    read: () => DirectoryEntry[] | null,
  ): DirectoryEntry[] | null {
    const listing = this.#listing(state, ino);
    if (!listing) return null;
    const key = `${after} ${limit}`;
    const part = listing.parts.get(key);
    if (part) return part.slice();
    const entries = read();
    // It is of the directory as it was looked at, and of the database that was looked at.
    if (!entries || !isStill(state, listing) || state.guard.isVoid) {
      this.#forget(ino);
      return null;
    }
    listing.parts.set(key, entries);
    // An empty part is one, too: whoever asks for ever new ones is not to fill the memory.
    const taken = entries.length + 1;
    listing.entries += taken;
    this.#entries += taken;
    while (this.#entries > localEntriesMax) this.#forget(this.#known.keys().next().value!);
    return entries.slice();
  }

  #listing(state: NearState, ino: number): KnownListing | null {
    const known = this.#known.get(ino);
    if (known) {
      if (isStill(state, known)) return known;
      this.#forget(ino);
    }
    const buckets = [...bucketsOf([listingKey(ino)]), ...bucketsOf([inodeKey(ino)])];
    const lasts = buckets.map((bucket) => state.last(bucket));
    if (lasts.includes(notClean)) return null;
    const listing: KnownListing = { buckets, lasts, parts: new Map(), entries: 0 };
    this.#known.set(ino, listing);
    return listing;
  }

  #forget(ino: number): void {
    this.#entries -= this.#known.get(ino)?.entries ?? 0;
    this.#known.delete(ino);
  }
}

function isStill(state: NearState, { buckets, lasts }: KnownListing): boolean {
  return buckets.every((bucket, i) => state.last(bucket) === lasts[i]);
}
