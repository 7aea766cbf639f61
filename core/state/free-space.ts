/**
 * Watches the room on the disk of a replica. Below a reserve it takes no more writes, so that those under way, the
 * database and a snapshot still find room: a full disk is then a refusal, and nothing breaks.
 */
import { statfs } from "node:fs/promises";
import { reserveBytes, reserveShare } from "./limits.ts";

/** Room comes back in larger pieces than it goes: the answer does not flutter. */
const backShare = 1.25;

export class FreeSpace {
  readonly #dir: string;
  readonly #reserve: { bytes: number; share: number };
  #low = false;
  #bytesFree = Infinity;

  /** `reserve`: so many bytes, but at most that share of the disk. */
  constructor(dir: string, reserve = { bytes: reserveBytes, share: reserveShare }) {
    this.#dir = dir;
    this.#reserve = reserve;
  }

  /** Whether the reserve is being used up, as of the last look. */
  get low(): boolean {
    return this.#low;
  }

  /** What is left above the reserve, as of the last look; Infinity before the first. */
  get bytesFree(): number {
    return this.#bytesFree;
  }

  async look(): Promise<boolean> {
    const { bavail, blocks, bsize } = await statfs(this.#dir);
    const reserve = Math.min(this.#reserve.bytes, blocks * bsize * this.#reserve.share);
    this.#low = bavail * bsize < (this.#low ? reserve * backShare : reserve);
    this.#bytesFree = Math.max(0, bavail * bsize - reserve);
    return this.#low;
  }
}
