/** Walks the chain of a segment and checks each frame, in bounded pieces: no step is longer than reading one of them. */
import { Buffer } from "node:buffer";
import { recordBytesMax } from "./limits.ts";
import type { LogFile } from "./log-files.ts";
import {
  frameChecks,
  getUint48,
  headBytes,
  type LogRecord,
  type Mark,
  markBytes,
  markMagic,
  markMagicBytes,
  readMark,
  recordMagic,
} from "./frame.ts";
import { call, type Steps } from "./steps.ts";

/** Where the walk is: what has been checked lies before it. */
export interface Place {
  seed: number;
  position: number;
  nextIndex: number;
  /** Of the record before; null when that is not known. */
  epoch: number | null;
  /** Of the frame before; null when that is not known, at the begin or behind damage: a mark comes next then. */
  checksum: number | null;
}

export interface Visitor {
  /** `bytes` are a view, good until the call returns. False ends the walk before this record. */
  record?(record: LogRecord, position: number): boolean | void;
  mark?(mark: Mark): void;
  /** Before each piece that is read, of so many bytes: to go slowly. */
  pause?(bytes: number): Steps<void>;
}

export type Ended = "broken" | "stopped" | "limit";

/** Bytes that are read and checked in one step: about half a millisecond with small records. */
const pieceBytes = 256 * 1024;

export function beginOf(seed: number, firstIndex: number): Place {
  return { seed, position: 0, nextIndex: firstIndex, epoch: null, checksum: null };
}

/** Walks from `place`, which moves, up to `limit`, or to where no frame checks ("broken"), or where the visitor says. */
export function* walk(file: LogFile, place: Place, limit: number, visitor: Visitor): Steps<Ended> {
  let wanted = headBytes;
  while (place.position < limit) {
    const bytes = Math.max(wanted, Math.min(pieceBytes, limit - place.position));
    if (visitor.pause) yield* visitor.pause(bytes);
    const piece = yield* call<Uint8Array>((done) => file.read(place.position, bytes, done));
    if (piece.length < wanted) return "broken";
    const before = place.position;
    const result = walkPiece(piece, place, limit, visitor);
    if (typeof result === "string") return result;
    wanted = result;
    // A frame that the file does not hold in full.
    if (place.position === before && piece.length >= wanted)
      throw new Error("a walk over the log stands still");
  }
  return "limit";
}

/**
 * Walks over damage as well, from mark to mark, and calls `damaged` with what lies between, when that are records.
 * Ends "broken" where no mark follows.
 */
export function* walkOver(
  file: LogFile,
  place: Place,
  limit: number,
  visitor: Visitor,
  damaged: (from: number, to: number) => void,
): Steps<Ended> {
  for (;;) {
    const ended = yield* walk(file, place, limit, visitor);
    if (ended !== "broken") return ended;
    const mark: Mark | null = yield* findMark(file, place, limit);
    if (!mark) return ended;
    if (mark.nextIndex > place.nextIndex) damaged(place.nextIndex, mark.nextIndex - 1);
    Object.assign(place, { position: mark.position, nextIndex: mark.nextIndex, epoch: null, checksum: null });
  }
}

/** Checks the whole frames of a piece that begins at the place. Returns how many bytes the next frame needs. */
function walkPiece(piece: Uint8Array, place: Place, limit: number, visitor: Visitor): number | Ended {
  const view = new DataView(piece.buffer, piece.byteOffset, piece.byteLength);
  const start = place.position;
  for (;;) {
    if (place.position >= limit) return "limit";
    const at = place.position - start;
    if (at + headBytes > piece.length) return headBytes;
    const magic = view.getUint32(at, true);
    if (magic === markMagic) {
      if (at + markBytes > piece.length) return markBytes;
      const mark = readMark(piece, at, start, place.seed);
      if (!mark || !follows(mark, place)) return "broken";
      visitor.mark?.(mark);
      place.position += markBytes;
      place.epoch = mark.epoch;
      place.checksum = view.getUint32(at + 4, true);
      continue;
    }
    if (magic !== recordMagic || place.checksum === null) return "broken";
    const length = view.getUint32(at + 8, true);
    const epoch = getUint48(view, at + 12);
    const index = getUint48(view, at + 18);
    if (length > recordBytesMax || index !== place.nextIndex || epoch < (place.epoch ?? 0)) return "broken";
    if (at + headBytes + length > piece.length) return headBytes + length;
    if (!frameChecks(piece, at, headBytes + length, place.checksum)) return "broken";
    const bytes = piece.subarray(at + headBytes, at + headBytes + length);
    if (visitor.record?.({ epoch, index, bytes }, place.position) === false) return "stopped";
    place.position += headBytes + length;
    place.nextIndex++;
    place.epoch = epoch;
    place.checksum = view.getUint32(at + 4, true);
  }
}

function follows(mark: Mark, place: Place): boolean {
  if (mark.nextIndex !== place.nextIndex) return false;
  return place.checksum === null || (mark.previous === place.checksum && mark.epoch === place.epoch);
}

/** The first mark behind a broken place from which reading can go on; null when there is none. */
export function* findMark(file: LogFile, place: Place, size: number): Steps<Mark | null> {
  const from = place.position;
  let position = from;
  while (position < size) {
    const piece = yield* call<Uint8Array>((done) => file.read(position, pieceBytes, done));
    if (piece.length < markBytes) return null;
    const buffer = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    for (let at = buffer.indexOf(markMagicBytes); at >= 0; at = buffer.indexOf(markMagicBytes, at + 1)) {
      const mark = readMark(piece, at, position, place.seed);
      if (mark && mark.position > from && mark.nextIndex >= place.nextIndex) return mark;
    }
    // The next piece begins with the bytes in which a mark may have been cut.
    position += piece.length - markBytes + 1;
  }
  return null;
}
