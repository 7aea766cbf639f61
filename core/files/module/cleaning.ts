/**
 * Gives segments back of which little is needed: what is left of one is put elsewhere, piece by piece. The primary
 * reads the pieces and writes a `move`; applied is what is still where it was.
 */
import { movedPiecesMax, writeBytesMax } from "../../limits.ts";
import type { ModuleBlocks, StateTables } from "../../state/module.ts";
import { kindOf, kinds } from "../attributes.ts";
import type { FileOperations, FileResult, MovedPiece } from "../operations.ts";
import { endOf, type Extent, partOf } from "./extents.ts";
import { readPart } from "./reading.ts";
import { prepareAll } from "./statements.ts";
import type { Volume } from "./volume.ts";

const statements = {
  // Least first: most room for least work.
  sparse: "SELECT segment FROM files_segment WHERE live * 2 < bytes ORDER BY live, segment LIMIT ?",
  extents: `SELECT content, start, length, segment, position, lead, bytes, checksums FROM files_extent
    WHERE segment = ?1 AND segment > 0 AND (content > ?2 OR (content = ?2 AND start > ?3))
    ORDER BY content, start LIMIT ?4`,
  // Most contents have the id of their inode.
  owner: `SELECT ino FROM files_inode WHERE content = ? AND content <> ino AND (mode & 61440) = ${kinds.file}`,
};

interface Piece {
  ino: number;
  extent: Extent;
}

export class Cleaning {
  readonly #sql;
  readonly #volume: Volume;
  readonly #blocks: ModuleBlocks | undefined;
  /** Segments that could not be read: not tried again by this process. */
  readonly #unreadable = new Set<number>();

  constructor(tables: StateTables, volume: Volume, blocks: ModuleBlocks | undefined) {
    this.#sql = prepareAll(tables, statements);
    this.#volume = volume;
    this.#blocks = blocks;
  }

  /** The next operation, or null: no segment is worth it. */
  async next(): Promise<FileOperations["move"] | null> {
    const rows = this.#sql.sparse.all(this.#unreadable.size + segmentsLookedAt) as { segment: number }[];
    for (const { segment } of rows) {
      if (this.#unreadable.has(segment)) continue;
      const pieces = this.#pieces(segment);
      if (pieces.length === 0) continue;
      try {
        return await this.#move(segment, pieces);
      } catch {
        // The scrub finds what is damaged, and says so.
        this.#unreadable.add(segment);
      }
    }
    return null;
  }

  /** Up to one write of bytes that somebody still has. */
  #pieces(segment: number): Piece[] {
    const pieces: Piece[] = [];
    let room = writeBytesMax;
    let [content, start] = [-1, -1];
    for (let round = 0; round < roundsPerLook; round++) {
      const rows = this.#sql.extents.all(segment, content, start, movedPiecesMax);
      for (const row of rows) {
        const extent = row as unknown as Extent & { content: number };
        ({ content, start } = extent);
        const ino = this.#ownerOf(content, extent);
        if (ino === null) continue;
        if (extent.length > room || pieces.length === movedPiecesMax) return pieces;
        room -= extent.length;
        // What SQLite gives may be a view of its memory.
        pieces.push({ ino, extent: { ...extent, checksums: extent.checksums.slice() } });
      }
      if (rows.length < movedPiecesMax) break;
    }
    return pieces;
  }

  /** Null: nobody needs it any more. */
  #ownerOf(content: number, { start }: Extent): number | null {
    const { inodes } = this.#volume;
    let inode = inodes.find(content);
    if (inode?.content !== content) {
      const other = this.#sql.owner.get(content) as { ino: number } | undefined;
      inode = other && inodes.find(other.ino);
    }
    return inode && start < inode.size ? inode.ino : null;
  }

  async #move(segment: number, pieces: readonly Piece[]): Promise<FileOperations["move"]> {
    const parts = await Promise.all(
      pieces.map(async ({ extent }) => readPart(this.#volume, this.#blocks, extent)),
    );
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    const moved: MovedPiece[] = [];
    let at = 0;
    for (const [i, { ino, extent }] of pieces.entries()) {
      bytes.set(parts[i]!, at);
      at += extent.length;
      moved.push([ino, extent.start, extent.position + extent.lead, extent.length]);
    }
    return [33, segment, moved, bytes];
  }
}

/** Those of which all is being taken apart need nothing. */
const segmentsLookedAt = 16;
/** Of a segment that is looked through for something that is needed: a millisecond each. */
const roundsPerLook = 4;

/** Applies a `move`. */
export function move(volume: Volume, [, segment, pieces, bytes]: FileOperations["move"]): FileResult {
  let at = 0;
  for (const [ino, start, position, length] of pieces) {
    const data = bytes.subarray(at, at + length);
    at += length;
    if (data.length < length) break;
    movePiece(volume, ino, start, data, (extent) => {
      const part = partOf(extent, start, start + length);
      return part.segment === segment && part.position + part.lead === position;
    });
  }
  return [""];
}

function movePiece(
  { inodes, extents, contents }: Volume,
  ino: number,
  start: number,
  data: Uint8Array,
  isThere: (extent: Extent) => boolean,
): void {
  const inode = inodes.find(ino);
  if (!inode || kindOf(inode) !== kinds.file) return;
  const end = start + data.length;
  const extent = extents.overlapping(inode.content, start, end).find((each) => endOf(each) > start);
  // It must be within one extent, which it may be a part of by now.
  if (!extent || extent.start > start || endOf(extent) < end || !isThere(extent)) return;
  contents.write(inode, start, data);
}
