/**
 * What the kernel keeps of what it was answered.
 *
 *   none  nothing: each call sees what any node has written before it began. Content goes past the page cache; only what
 *         is mapped into memory (programs, `mmap`) is kept, and read anew by the next mapping.
 *   open  names and attributes for a second, and content as long as the file has not changed between two opens: whoever
 *         opens a file sees what others wrote before they closed it, as with NFS. What changes elsewhere is told to the
 *         kernel as it happens, so that usually it is seen much earlier.
 */
import type { FileSystem } from "../files/file-system.ts";
import { type InitFlag, openAnswers } from "./abi.ts";
import { invalInode, type Validity } from "./answer.ts";
import type { CachePolicy } from "./cache-policy.ts";
import type { Handles } from "./handles.ts";

const validity: Record<CachePolicy, Validity> = {
  none: { entryMs: 0, attributesMs: 0 },
  open: { entryMs: 1_000, attributesMs: 1_000 },
};

const always = [
  "asyncRead",
  "posixLocks",
  "atomicTruncate",
  "bigWrites",
  "flockLocks",
  "asyncDio",
  "parallelDirops",
  "maxPages",
  "handleKillprivV2",
] as const satisfies InitFlag[];

const wantedFlags: Record<CachePolicy, readonly InitFlag[]> = {
  none: [...always, "directIoAllowMmap"],
  open: [...always, "autoInvalData", "readdirPlus", "readdirPlusAuto"],
};

/** Files whose content the kernel may have; of more it forgets some. */
const knownMax = 65_536;
const followAgainMs = 1_000;

export class Cache {
  readonly validity: Validity;
  readonly wanted: readonly InitFlag[];
  readonly #policy: CachePolicy;
  /** Inode → `change` at the last open since which the kernel's pages are those of the file. */
  readonly #known = new Map<number, number>();

  constructor(policy: CachePolicy) {
    this.#policy = policy;
    this.validity = validity[policy];
    this.wanted = wantedFlags[policy];
  }

  /** The kernel may have content from an earlier open. */
  get keeps(): boolean {
    return this.#policy === "open";
  }

  /** For the answer to an OPEN of a file that has changed last by this record. */
  openFlags(ino: number, change: number): number {
    if (this.#policy === "none") return openAnswers.directIo | openAnswers.parallelDirectWrites;
    const isKept = this.#known.get(ino) === change;
    this.#known.delete(ino);
    if (this.#known.size >= knownMax) this.#known.clear();
    this.#known.set(ino, change);
    return isKept ? openAnswers.keepCache : 0;
  }

  /** Through this mount: what others did meanwhile cannot be told from it. */
  written(ino: number): void {
    this.#known.delete(ino);
  }

  /** Tells the kernel what has changed, until the signal ends it. Does nothing where nothing is kept. */
  async follow(
    fs: Pick<FileSystem, "changes">,
    handles: Pick<Handles, "isWritten">,
    notify: (bytes: Uint8Array) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    while (this.#policy === "open" && !signal.aborted) {
      try {
        for await (const changes of fs.changes(signal)) {
          for (const { ino, change } of changes) {
            if (this.#known.get(ino) === change || handles.isWritten(ino)) continue;
            this.#known.delete(ino);
            await notify(invalInode(ino));
          }
        }
      } catch {
        // What was missed is seen by the next open.
      }
      await new Promise((resolve) => setTimeout(resolve, followAgainMs));
    }
  }
}
