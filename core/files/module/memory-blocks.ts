/** Blocks of a volume that is in this process only: segments in memory. */
import { DvsError } from "../../errors.ts";
import type { ModuleBlocks } from "../../state/module.ts";

const firstBytes = 64 * 1024;

export class MemoryBlocks implements ModuleBlocks {
  readBlob?: NonNullable<ModuleBlocks["readBlob"]>;
  readonly #segments = new Map<number, Uint8Array>();

  write(segment: number, position: number, bytes: Uint8Array): void {
    let kept = this.#segments.get(segment) ?? new Uint8Array(firstBytes);
    const end = position + bytes.length;
    if (end > kept.length) {
      const larger = new Uint8Array(Math.max(end, 2 * kept.length));
      larger.set(kept);
      kept = larger;
    }
    kept.set(bytes, position);
    this.#segments.set(segment, kept);
  }

  readNow(segment: number, position: number, length: number): Uint8Array | null {
    return this.#segments.get(segment)?.subarray(position, position + length) ?? null;
  }

  read(segment: number, position: number, length: number): Promise<Uint8Array> {
    const bytes = this.readNow(segment, position, length);
    if (bytes) return Promise.resolve(bytes);
    return Promise.reject(new DvsError("NOT_FOUND", `Cannot read segment ${segment}: it is gone.`));
  }

  discard(segment: number): void {
    this.#segments.delete(segment);
  }

  get segments(): number[] {
    return [...this.#segments.keys()];
  }
}
