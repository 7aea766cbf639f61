/**
 * Bytes of blobs for a host process that only reads them, and has no image open: the state process, and whoever reads
 * beside it. A blob is compared with its digest before the first byte of it leaves, once for each file on the disk.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../errors.ts";
import { blobPath, openIfThere } from "./blob-file.ts";
import { Verifications } from "./verifications.ts";

/** The agent may be fetching it: an image comes to each node in its own time. */
const lookAgainMs = [100, 300];

export class BlobReader {
  readonly #dir: string;
  readonly #verifications = new Verifications();

  /** The node's blob directory. */
  constructor(dir: string) {
    this.#dir = dir;
  }

  /** `hex` is the SHA-256. Rejects with UNAVAILABLE where this node has not got it, or not whole. */
  async read(hex: string, position: number, length: number): Promise<Uint8Array> {
    for (const againMs of [...lookAgainMs, null]) {
      const bytes = await this.#read(`sha256:${hex}`, position, length);
      if (bytes) return bytes;
      if (againMs !== null) await sleep(againMs);
    }
    throw new DvsError("UNAVAILABLE", `Cannot read blob ${hex}: it is missing or damaged on this node.`);
  }

  async #read(digest: string, position: number, length: number): Promise<Uint8Array | null> {
    const file = await openIfThere(blobPath(this.#dir, digest));
    if (!file) return null;
    try {
      const verification = await this.#verifications.of(file, digest);
      if (!(await verification.done)) return null;
      const bytes = new Uint8Array(length);
      for (let at = 0; at < length;) {
        const { bytesRead } = await file.read(bytes, at, length - at, position + at);
        if (bytesRead === 0) return null;
        at += bytesRead;
      }
      return bytes;
    } finally {
      await file.close();
    }
  }
}
