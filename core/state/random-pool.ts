/** Random bytes for records, drawn many at a time: that is a call of the system. */
import { randomFillSync } from "node:crypto";

const poolBytes = 4_096;
const drawnBytes = 16;

export class RandomPool {
  readonly #pool = new Uint8Array(poolBytes);
  #at = poolBytes;

  /** Sixteen of them. */
  draw(): Uint8Array {
    if (this.#at === poolBytes) {
      randomFillSync(this.#pool);
      this.#at = 0;
    }
    this.#at += drawnBytes;
    return this.#pool.slice(this.#at - drawnBytes, this.#at);
  }
}
