/** A snapshot that comes from another replica, piece by piece: it counts once all of it is there, checked and fsynced. */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { DvsError } from "../errors.ts";
import { makePrivateDir, writeAll } from "../files.ts";
import { publishSnapshot, type SnapshotInfo, snapshotsDir } from "./snapshots.ts";

const temporaryName = "received";

export class SnapshotReceiver {
  readonly #dataDir: string;
  readonly #path: string;
  readonly #info: SnapshotInfo;
  readonly #file: FileHandle;
  readonly #hash: Hash = createHash("sha256");
  #bytes = 0;

  /** Only one at a time: it takes the place of one that was not finished. */
  static async begin(dataDir: string, info: SnapshotInfo): Promise<SnapshotReceiver> {
    await makePrivateDir(snapshotsDir(dataDir));
    const path = join(snapshotsDir(dataDir), temporaryName);
    return new SnapshotReceiver(dataDir, path, info, await open(path, "w", 0o600));
  }

  private constructor(dataDir: string, path: string, info: SnapshotInfo, file: FileHandle) {
    this.#dataDir = dataDir;
    this.#path = path;
    this.#info = info;
    this.#file = file;
  }

  /** In order, one after the other. Rejects with INVALID when it is more than was announced, EXHAUSTED when the disk is full. */
  async write(piece: Uint8Array): Promise<void> {
    this.#bytes += piece.length;
    if (this.#bytes > this.#info.bytes) {
      throw new DvsError(
        "INVALID",
        `Cannot take a snapshot: it has more than the ${this.#info.bytes} bytes it said.`,
      );
    }
    this.#hash.update(piece);
    try {
      await writeAll(this.#file, piece);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ENOSPC") throw cause;
      throw new DvsError(
        "EXHAUSTED",
        `Cannot take a snapshot of ${this.#info.bytes} bytes: the disk is full.`,
        { cause },
      );
    }
  }

  /** It is a snapshot of this replica then. Rejects with INVALID when it is not what was announced. */
  async finish(): Promise<SnapshotInfo> {
    const sha256 = this.#hash.digest("hex");
    if (this.#bytes !== this.#info.bytes || sha256 !== this.#info.sha256) {
      await this.abort();
      throw new DvsError(
        "INVALID",
        `Cannot take snapshot ${this.#info.index}: it came with another checksum.`,
      );
    }
    await this.#file.sync();
    await this.#file.close();
    await publishSnapshot(this.#dataDir, this.#path, this.#info);
    return this.#info;
  }

  async abort(): Promise<void> {
    await this.#file.close();
    await rm(this.#path, { force: true });
  }
}
