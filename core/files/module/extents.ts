/** Where the bytes of contents are: rows of files_extent, and what can be done with one in the mind. */
import { filePageBytes } from "../../limits.ts";
import type { StateTables } from "../../state/module.ts";
import { checksumBytes } from "./checksums.ts";
import { prepareAll } from "./statements.ts";

export interface Extent {
  readonly start: number;
  readonly length: number;
  readonly segment: number;
  readonly position: number;
  readonly lead: number;
  readonly bytes: number;
  readonly checksums: Uint8Array;
}

const columns = "start, length, segment, position, lead, bytes, checksums";
const statements = {
  // Extents do not overlap: of those that begin before, only the last can reach into the range.
  overlapping: `SELECT ${columns} FROM files_extent WHERE content = ?1 AND start < ?3
    AND start >= ifnull((SELECT max(start) FROM files_extent WHERE content = ?1 AND start <= ?2), ?2)
    ORDER BY start LIMIT ?4`,
  last: `SELECT ${columns} FROM files_extent WHERE content = ? AND start >= ? ORDER BY start DESC LIMIT ?`,
  covered: `SELECT sum(min(?3, start + length) - max(?2, start)) AS bytes FROM files_extent WHERE content = ?1
    AND start < ?3 AND start + length > ?2
    AND start >= ifnull((SELECT max(start) FROM files_extent WHERE content = ?1 AND start <= ?2), ?2)`,
  within: `SELECT segment, sum(length) AS bytes FROM files_extent
    WHERE content = ?1 AND start >= ?2 AND start < ?3 AND start + length <= ?3 GROUP BY segment ORDER BY segment`,
  removeWithin: `DELETE FROM files_extent
    WHERE content = ?1 AND start >= ?2 AND start < ?3 AND start + length <= ?3`,
  put: `INSERT OR REPLACE INTO files_extent VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  remove: "DELETE FROM files_extent WHERE content = ? AND start = ?",
  removeFrom: "DELETE FROM files_extent WHERE content = ? AND start >= ?",
  all: "SELECT * FROM files_extent ORDER BY content, start",
};

export class Extents {
  readonly #sql;

  constructor(tables: StateTables) {
    this.#sql = prepareAll(tables, statements);
  }

  /** Those with bytes in [start, end), in their order; perhaps the one before, too. */
  overlapping(content: number, start: number, end: number, limit = -1): Extent[] {
    return this.#sql.overlapping.all(content, start, end, limit) as unknown as Extent[];
  }

  /** Those that begin at `start` or later, from the last one on. */
  last(content: number, start: number, limit: number): Extent[] {
    return this.#sql.last.all(content, start, limit) as unknown as Extent[];
  }

  /** How many bytes of [start, end) are in extents. */
  covered(content: number, start: number, end: number): number {
    const { bytes } = this.#sql.covered.get(content, start, end) as { bytes: number | null };
    return bytes ?? 0;
  }

  /** Removes all that are within [start, end) as a whole; returns what that was of each segment. */
  removeWithin(content: number, start: number, end: number): { segment: number; bytes: number }[] {
    const found = this.#sql.within.all(content, start, end) as { segment: number; bytes: number }[];
    if (found.length > 0) this.#sql.removeWithin.run(content, start, end);
    return found;
  }

  /** Takes the place of one with this start. */
  put(content: number, { start, length, segment, position, lead, bytes, checksums }: Extent): void {
    this.#sql.put.run(content, start, length, segment, position, lead, bytes, checksums);
  }

  remove(content: number, start: number): void {
    this.#sql.remove.run(content, start);
  }

  /** All that begin at `start` or later. */
  removeFrom(content: number, start: number): void {
    this.#sql.removeFrom.run(content, start);
  }

  rows(): Iterable<unknown> {
    return this.#sql.all.iterate();
  }
}

export function endOf({ start, length }: Extent): number {
  return start + length;
}

/** The bytes [start, end) of it, which it has, with the pages that they are in. */
export function partOf(extent: Extent, start: number, end: number): Extent {
  const from = extent.lead + start - extent.start;
  const firstPage = Math.floor(from / filePageBytes);
  const pagesEnd = Math.ceil((from + end - start) / filePageBytes);
  const covered = Math.min(extent.bytes, pagesEnd * filePageBytes);
  return {
    start,
    length: end - start,
    segment: extent.segment,
    position: extent.position + firstPage * filePageBytes,
    lead: from - firstPage * filePageBytes,
    bytes: covered - firstPage * filePageBytes,
    // What SQLite gives may be a view of its memory.
    checksums: extent.checksums.slice(firstPage * checksumBytes, pagesEnd * checksumBytes),
  };
}
