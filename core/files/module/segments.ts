/**
 * Where blocks go: one segment after the other, each from its beginning to its end. What is counted of each is how much
 * of it somebody still has; a full one of which nobody has anything is discarded.
 */
import { extentBytesMax, filePageBytes, segmentBytes } from "../../limits.ts";
import type { ModuleBlocks, StateTables } from "../../state/module.ts";
import { checksumsOf } from "./checksums.ts";
import type { Counters } from "./counters.ts";
import type { Extent } from "./extents.ts";
import { prepareAll } from "./statements.ts";

const statements = {
  seal: "INSERT INTO files_segment VALUES (?, ?, ?)",
  free: "UPDATE files_segment SET live = live - ? WHERE segment = ? RETURNING live",
  add: "UPDATE files_segment SET live = live + ? WHERE segment = ?",
  remove: "DELETE FROM files_segment WHERE segment = ?",
  all: "SELECT * FROM files_segment ORDER BY segment",
};

export class Segments {
  readonly #sql;
  readonly #counters: Counters;
  readonly #blocks: ModuleBlocks | undefined;
  readonly #bytesMax: number;

  constructor(tables: StateTables, counters: Counters, blocks: ModuleBlocks | undefined) {
    this.#sql = prepareAll(tables, statements);
    this.#counters = counters;
    this.#blocks = blocks;
    this.#bytesMax = blocks?.segmentBytes ?? segmentBytes;
  }

  /**
   * Puts the bytes of a file from `start` on somewhere. `before`: the extent that ends there, if there is one; it
   * grows where the segment, too, goes on behind it.
   */
  append(start: number, data: Uint8Array, before: Extent | undefined): Extent {
    const counters = this.#counters.change();
    if (before && this.#isLast(before, data.length)) {
      const checksums = checksumsOf(data, before.checksums, before.bytes);
      this.#write(data);
      return {
        ...before,
        length: before.length + data.length,
        bytes: before.bytes + data.length,
        checksums,
      };
    }
    // Large blocks lie on pages, so that a page of a file is one of the disk.
    if (data.length >= filePageBytes) {
      counters.head = Math.ceil(counters.head / filePageBytes) * filePageBytes;
    }
    if (counters.head + data.length > this.#bytesMax) this.#seal();
    const { segment, head: position } = counters;
    this.#write(data);
    const { length } = data;
    return { start, length, segment, position, lead: 0, bytes: length, checksums: checksumsOf(data) };
  }

  /** So many bytes of an extent in it are needed no more. */
  free(segment: number, bytes: number): void {
    // Files of an image are not ours to give back.
    if (segment < 0 || bytes === 0) return;
    const counters = this.#counters.change();
    if (segment === counters.segment) {
      counters.live -= bytes;
      return;
    }
    const { live } = this.#sql.free.get(bytes, segment) as { live: number };
    if (live === 0) this.#discard(segment);
  }

  rows(): Iterable<unknown> {
    return this.#sql.all.iterate();
  }

  #isLast({ segment, position, bytes, lead, length }: Extent, more: number): boolean {
    const { row } = this.#counters;
    const isAtHead = segment === row.segment && position + bytes === row.head && lead + length === bytes;
    return isAtHead && bytes + more <= extentBytesMax && row.head + more <= this.#bytesMax;
  }

  #write(data: Uint8Array): void {
    const counters = this.#counters.change();
    // A replica without a place for bytes must not seem to have them.
    if (!this.#blocks) throw new Error("no blocks");
    this.#blocks.write(counters.segment, counters.head, data);
    counters.head += data.length;
    counters.live += data.length;
  }

  #seal(): void {
    const counters = this.#counters.change();
    const { segment, head, live } = counters;
    counters.segment++;
    counters.head = 0;
    counters.live = 0;
    if (live === 0) this.#blocks?.discard(segment);
    else this.#sql.seal.run(segment, head, live);
  }

  #discard(segment: number): void {
    this.#sql.remove.run(segment);
    this.#blocks?.discard(segment);
  }
}
