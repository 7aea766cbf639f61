/** What files have in segments, extent by extent, so that each can be looked at again and again. */
import { filePageBytes } from "../../limits.ts";
import type { ScrubRange, StateStatement, StateTables } from "../../state/module.ts";
import { checksumBytes, firstDamaged } from "./checksums.ts";

export interface PlacedRow {
  segment: number;
  position: number;
  bytes: number;
  checksums: Uint8Array;
}
interface Row extends PlacedRow {
  content: number;
  start: number;
}
type Place = readonly [content: number, start: number];

export class Scrubbing {
  readonly #next: StateStatement;

  constructor(tables: StateTables) {
    this.#next = tables.prepare(
      `SELECT content, start, segment, position, bytes, checksums FROM files_extent
       WHERE (content, start) > (?, ?) ORDER BY content, start LIMIT ?`,
    );
  }

  /** Behind the place that `after` says, `next` of the step before. Files of images are their store's to look at. */
  step(after: unknown, max: number): { ranges: ScrubRange[]; next: Place | null } {
    const [content, start] = (after as Place | null) ?? [-1, -1];
    const rows = this.#next.all(content, start, max) as unknown as Row[];
    const last = rows.at(-1);
    return {
      ranges: rows.filter(({ segment }) => segment > 0).map(rangeOf),
      next: last && rows.length === max ? [last.content, last.start] : null,
    };
  }
}

/** Where the bytes of an extent are, and whether they are what was written. */
export function rangeOf({ segment, position, bytes, ...row }: PlacedRow): ScrubRange {
  // A copy: what SQLite gives may be a view of its memory.
  const checksums = row.checksums.slice(0, Math.ceil(bytes / filePageBytes) * checksumBytes);
  const isGood = (pages: Uint8Array): boolean => pages.length === bytes && firstDamaged(pages, checksums) < 0;
  return { segment, position, length: bytes, isGood };
}
