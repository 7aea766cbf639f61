/**
 * The bytes that a snapshot of another replica names and this one does not have. Where bytes go is the same on each
 * replica, so what this one has applied it has already. Of the rest it compares pieces by their checksums and asks for
 * those that are missing or others: so a transfer that was cut off, or a process that was killed, begins where it ended.
 */
import { crc32 } from "../checksum.ts";
import type { BlockStore } from "../blocks/block-store.ts";
import { DvsError } from "../errors.ts";
import type { DiskId } from "../replica/configuration.ts";
import type { BlockExchange } from "./block-exchange.ts";
import { blockFetchesAhead, blockPieceBytes, summedBytesMax } from "./limits.ts";
import type { Segments } from "./snapshots.ts";

export interface ReceiveSegmentsOptions {
  from: DiskId;
  store: BlockStore;
  exchange: Pick<BlockExchange, "sums" | "fetch">;
  /** How many bytes of each segment are known to be those of the sender, from its beginning on. */
  known: ReadonlyMap<number, number>;
  /** Throws when it is not to go on. */
  check: () => void;
  /** Something has been done. */
  progress: () => void;
}

interface Range {
  segment: number;
  position: number;
  length: number;
}

/**
 * Resolves with the bytes that came, and those that the sender does not have: zeros are in their place, which whoever
 * reads them finds out, and repairs from another replica. All of it is on the disk then.
 */
export async function receiveSegments(
  segments: Segments,
  options: ReceiveSegmentsOptions,
): Promise<{ received: number; missing: number }> {
  const { store, known, check, progress } = options;
  const total = { received: 0, missing: 0 };
  for (const [segment, length] of segments) {
    const has = await store.lengthOf(segment);
    // Known and nevertheless lost by the disk: it comes anew.
    const begin = floorToPiece(Math.min(known.get(segment) ?? 0, has, length));
    for (let position = begin; position < length; position += summedBytesMax) {
      check();
      const range = { segment, position, length: Math.min(summedBytesMax, length - position) };
      const wanted = await missingPieces(range, has, options);
      const { received, missing } = await fetchAll(wanted, options);
      total.received += received;
      total.missing += missing;
      progress();
    }
    // Bit by bit: at the end it would take long.
    await store.synced(segment);
    progress();
  }
  check();
  await store.synced();
  check();
  return total;
}

/** Pieces of the range that the file does not have as the sender does. */
async function missingPieces(
  { segment, position, length }: Range,
  has: number,
  { from, store, exchange }: ReceiveSegmentsOptions,
): Promise<Range[]> {
  const pieces: Range[] = [];
  for (let at = 0; at < length; at += blockPieceBytes)
    pieces.push({ segment, position: position + at, length: Math.min(blockPieceBytes, length - at) });
  if (has <= position) return pieces;
  const sums = await exchange.sums(from, segment, position, length);
  const missing: Range[] = [];
  for (const [i, piece] of pieces.entries()) {
    const isThere = sums !== null && piece.position + piece.length <= has;
    // What the disk cannot read comes anew, too: writing may mend it.
    const bytes = isThere ? await store.read(segment, piece.position, piece.length).catch(() => null) : null;
    if (!bytes || crc32(bytes) !== sums![i]) missing.push(piece);
  }
  return missing;
}

/** Some at a time, so that beacons on the same link do not wait long. */
async function fetchAll(
  wanted: readonly Range[],
  { from, store, exchange, check }: ReceiveSegmentsOptions,
): Promise<{ received: number; missing: number }> {
  const queue = [...wanted];
  const total = { received: 0, missing: 0 };
  const work = async (): Promise<void> => {
    for (let piece = queue.shift(); piece; piece = queue.shift()) {
      check();
      const { segment, position, length } = piece;
      const bytes = await exchange.fetch(from, segment, position, length);
      if (bytes) total.received += length;
      else total.missing += length;
      await store.put(segment, position, bytes ?? new Uint8Array(length));
    }
  };
  const workers = await Promise.allSettled(Array.from({ length: blockFetchesAhead }, work));
  const failed = workers.find((worker) => worker.status === "rejected");
  if (failed) throw DvsError.from(failed.reason);
  return total;
}

function floorToPiece(position: number): number {
  return position - (position % blockPieceBytes);
}
