/**
 * How much is free on the disks of an instance's replicas, as they tell each other every few seconds: the volume has room
 * for what the smallest of them takes. Nothing is decided by it: a disk that is full says so by itself.
 */
import { Malformed } from "../kernel/proxy/malformed.ts";
import type { DiskId } from "../replica/configuration.ts";
import type { Fields } from "./link/frames.ts";

const roomNumber = 58;
/** Replicas of the versions before do not know the message. */
export const roomProtocol = 2;

export function isRoom(fields: Fields): boolean {
  return fields[0] === roomNumber;
}

export class Rooms {
  readonly #own: () => number;
  readonly #others = new Map<DiskId, number>();

  /** `own`: bytes that are free on the disk of this replica. */
  constructor(own: () => number) {
    this.#own = own;
  }

  /** What this replica tells the others. */
  get message(): Fields {
    return [roomNumber, wholeBytes(this.#own())];
  }

  /** Throws Malformed. */
  received(from: DiskId, [, bytes]: Fields): void {
    if (!Number.isSafeInteger(bytes) || (bytes as number) < 0) throw new Malformed("free bytes of a replica");
    this.#others.set(from, bytes as number);
  }

  /** Others are no replicas any more. */
  keepOnly(disks: ReadonlySet<DiskId>): void {
    for (const disk of this.#others.keys()) if (!disks.has(disk)) this.#others.delete(disk);
  }

  /** Of the one that has least. Of a replica that has not told it yet nothing is known. */
  get bytesFree(): number {
    return wholeBytes(Math.min(this.#own(), ...this.#others.values()));
  }
}

function wholeBytes(bytes: number): number {
  return Math.min(Math.floor(bytes), Number.MAX_SAFE_INTEGER);
}
