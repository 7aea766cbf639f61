/**
 * Which blob files were verified, remembered by inode, mtime and size, so that a large file is hashed once and not for
 * each range of it. A file that is replaced or written to is verified again; bits that rot under an unchanged inode
 * are found by BlobStore.scrub.
 */
import type { FileHandle } from "node:fs/promises";
import { open } from "node:fs/promises";
import { verifyHandle } from "./blob-file.ts";

export interface Verification {
  state: "running" | "good" | "bad";
  /** True when the content is right. Rejects, and is forgotten, when the file could not be read. */
  done: Promise<boolean>;
}

export class Verifications {
  readonly #known = new Map<string, { identity: string; verification: Verification }>();

  /** The verification of an open file, begun if need be. It goes on when the caller closes `file`. */
  async of(file: FileHandle, digest: string): Promise<Verification> {
    const stat = await file.stat({ bigint: true });
    const identity = `${stat.dev}:${stat.ino}:${stat.mtimeNs}:${stat.size}`;
    const known = this.#known.get(digest);
    if (known?.identity === identity) return known.verification;
    // A handle of its own on the same file: the caller's is closed with its stream.
    const own = await open(`/proc/self/fd/${file.fd}`, "r");
    const verification: Verification = { state: "running", done: Promise.resolve(false) };
    verification.done = this.#run(own, digest, verification);
    verification.done.catch(() => {}); // Whoever awaits it hears of it.
    this.#known.set(digest, { identity, verification });
    return verification;
  }

  async #run(file: FileHandle, digest: string, verification: Verification): Promise<boolean> {
    try {
      const good = await verifyHandle(file, digest);
      verification.state = good ? "good" : "bad";
      return good;
    } catch (e) {
      if (this.#known.get(digest)?.verification === verification) this.#known.delete(digest);
      throw e;
    } finally {
      await file.close();
    }
  }
}
