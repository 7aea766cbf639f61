/**
 * What of a backed-up volume is restored, and where its bytes go. Files without a name are left behind, and with them
 * segments of which nothing is needed any more; the others get numbers from 0 on. Files of the image are cut into
 * segments behind them, as if they had been written. All bytes are compared with their checksums.
 */
import { segmentLengthMax } from "../../blocks/limits.ts";
import { extentBytesMax, filePageBytes, segmentBytes } from "../../limits.ts";
import { segmentsIn } from "../../state/database-blocks.ts";
import {
  type BackupBytes,
  type ColumnValue,
  ModuleRefusal,
  type RestorePlan,
  type StateTables,
} from "../../state/module.ts";
import { namedFiles, neededBlobs } from "./backup.ts";
import { checksumBytes, checksumsOf, firstDamaged } from "./checksums.ts";
import type { Extent } from "./extents.ts";
import { tables } from "./tables.ts";

/** Of one backup: so that those of many fit. */
export const idsMax = 2 ** 48;

interface ExtentRow extends Extent {
  content: number;
}
/** Of bytes that are in one place: a segment, or as much of the files of the image as one can take. */
interface Place {
  from: number;
  length: number;
  /** Sum of the lengths of extents in it. */
  live: number;
  number: number;
}
type Placed = ExtentRow & { place: Place };

export function planVolume(backup: StateTables, bytes: BackupBytes): RestorePlan {
  return new VolumePlan(backup, bytes);
}

class VolumePlan implements RestorePlan {
  readonly ids: number;
  readonly segments: readonly (readonly [from: number, length: number])[];
  readonly #backup: StateTables;
  readonly #bytes: BackupBytes;
  readonly #places = new Map<number, Place>();
  /** Of files of the image, one behind the other. */
  readonly #imagePlaces: Place[] = [];
  /** By row: where it begins among them. */
  readonly #blobs = new Map<number, number>();
  readonly #kept: readonly Place[];
  /** Of all that is kept. */
  #allocated = 0;

  constructor(backup: StateTables, bytes: BackupBytes) {
    this.#backup = backup;
    this.#bytes = bytes;
    const { next } = backup.prepare("SELECT next FROM files_counter").get() as { next: number };
    if (next > idsMax) throw new ModuleRefusal("it has more files than there can be");
    this.ids = next;
    this.#lookAtPlaces();
    this.#lookAtExtents();
    this.#kept = [...this.#places.values(), ...this.#imagePlaces].filter(({ live }) => live > 0);
    for (const [number, place] of this.#kept.entries()) place.number = number;
    this.segments = this.#kept.map(({ from, length }) => [from, length]);
  }

  *rows(table: string): Iterable<readonly ColumnValue[]> {
    switch (table) {
      case tables.inode.name:
        return yield* this.#inodes();
      case tables.extent.name:
        for (const row of this.#extents())
          for (const { place, ...part } of this.#placed(row))
            yield [
              ...[part.content, part.start, part.length, place.number],
              ...[part.position, part.lead, part.bytes, part.checksums],
            ];
        return;
      case tables.segment.name:
        for (const { number, length, live } of this.#kept) yield [number, length, live];
        return;
      case tables.counter.name:
        return yield [0, this.#allocated, ...this.#counted(), 0, 0, 0, 0];
      default:
        for (const row of this.#backup.prepare(`SELECT * FROM ${table}`).iterate())
          yield Object.values(row as Record<string, ColumnValue>);
    }
  }

  #lookAtPlaces(): void {
    let from = 0;
    for (const [segment, length] of segmentsIn(this.#backup)) {
      if (length > segmentLengthMax) throw new ModuleRefusal("a segment of blocks is too long");
      this.#places.set(segment, { from, length, live: 0, number: 0 });
      from += length;
    }
    const first = from;
    for (const { row, length } of neededBlobs(this.#backup)) {
      this.#blobs.set(row, from - first);
      from += length;
    }
    if (from !== this.#bytes.size) throw new ModuleRefusal("its blocks are not those that its files need");
    for (let at = first; at < from; at += segmentBytes)
      this.#imagePlaces.push({ from: at, length: Math.min(segmentBytes, from - at), live: 0, number: 0 });
  }

  /** Every byte is looked at. */
  #lookAtExtents(): void {
    let [content, end] = [0, 0];
    for (const row of this.#extents()) {
      if (row.content !== content) [content, end] = [row.content, 0];
      if (row.start < end) throw new ModuleRefusal("a file has two contents at one place");
      end = row.start + row.length;
      for (const part of this.#placed(row)) {
        const { place, position, bytes, lead, length, checksums } = part;
        const isWithin = position >= 0 && position + bytes <= place.length && lead + length <= bytes;
        if (!isWithin) throw new ModuleRefusal("a file has bytes that are not there");
        const pages = this.#bytes.read(place.from + position, bytes);
        if (checksums.length * filePageBytes < bytes * checksumBytes || firstDamaged(pages, checksums) >= 0)
          throw new ModuleRefusal("bytes of a file are damaged");
        place.live += length;
        this.#allocated += length;
      }
    }
  }

  /** Those of named files, up to their ends. */
  *#extents(): Iterable<ExtentRow> {
    const rows = this.#backup
      .prepare(
        `SELECT e.* FROM files_inode i JOIN files_extent e ON e.content = i.content
         WHERE ${namedFiles} AND e.start < i.size ORDER BY i.ino, e.start`,
      )
      .iterate();
    for (const row of rows) yield row as unknown as ExtentRow;
  }

  /** Where its bytes are: of a file of the image in parts that rows and segments can take. */
  *#placed(row: ExtentRow): Iterable<Placed> {
    if (row.segment > 0) {
      const place = this.#places.get(row.segment);
      if (!place) throw new ModuleRefusal("a file has bytes that are not there");
      const checksums = row.checksums.slice(0, Math.ceil(row.bytes / filePageBytes) * checksumBytes);
      return yield { ...row, checksums, place };
    }
    const blob = this.#blobs.get(-row.segment);
    if (blob === undefined) throw new ModuleRefusal("a file is of an image that is not there");
    for (let at = 0; at < row.length;) {
      const from = blob + row.position + row.lead + at;
      const place = this.#imagePlaces[Math.floor(from / segmentBytes)]!;
      const position = from % segmentBytes;
      const length = Math.min(extentBytesMax, row.length - at, segmentBytes - position);
      const checksums = checksumsOf(this.#bytes.read(place.from + position, length));
      const { content, segment } = row;
      const start = row.start + at;
      yield { ...{ content, start, length, segment, position, lead: 0, bytes: length, checksums }, place };
      at += length;
    }
  }

  *#inodes(): Iterable<readonly ColumnValue[]> {
    const columns = Object.keys(tables.inode.columns).map((name) =>
      name === "allocated"
        ? `iif(${namedFiles}, (SELECT ifnull(sum(e.length), 0) FROM files_extent e
             WHERE e.content = i.content AND e.start < i.size), 0)`
        : name,
    );
    const sql = `SELECT ${columns.map((column, i) => `${column} AS c${i}`).join(", ")} FROM files_inode i WHERE nlink > 0`;
    for (const row of this.#backup.prepare(sql).iterate())
      yield Object.values(row as Record<string, ColumnValue>);
  }

  /** Quota, how many there are, quota. */
  #counted(): [bytesMax: number, inodes: number, inodesMax: number] {
    const { bytesMax, inodesMax, inodes } = this.#backup
      .prepare(
        "SELECT bytesMax, inodesMax, (SELECT count(*) FROM files_inode WHERE nlink > 0) AS inodes FROM files_counter",
      )
      .get() as { bytesMax: number; inodesMax: number; inodes: number };
    return [bytesMax, inodes, inodesMax];
  }
}
