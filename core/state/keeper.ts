/**
 * Keeps a replica's disk in order while it runs: moves the database's write-ahead log on, makes snapshots so that the
 * log can be cut off, gives back old ones and segments of blocks that no snapshot needs any more, and looks after the
 * free space. The heavy work is the helper's.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { BlockStore } from "../blocks/block-store.ts";
import { DvsError } from "../errors.ts";
import { scrubBytesPerSecond } from "../log/limits.ts";
import type { Log } from "../log/log.ts";
import type { StateDatabase } from "./database.ts";
import { FreeSpace } from "./free-space.ts";
import {
  keeperMs,
  keeperRetryMs,
  snapshotCheckMs,
  snapshotHeldLogBytes,
  snapshotLogBytes,
  snapshotPerDatabase,
  spaceMs,
  walBytesMax,
} from "./limits.ts";
import { askHelper } from "./run-helper.ts";
import { databaseName } from "./schema.ts";
import { isWhole, removeOtherSnapshots, type SnapshotInfo } from "./snapshots.ts";

export interface KeeperOptions {
  dataDir: string;
  log: Log;
  /** Beside the database. Missing: it has none. */
  blocks?: Pick<BlockStore, "collect">;
  /** The one that is in use: it changes when a snapshot is installed. */
  database: () => StateDatabase;
  /** All up to its index is on the disk outside of the log. */
  snapshotTaken: (info: SnapshotInfo) => void;
  /** The room on the disk has become scarce, or no longer is. */
  spaceChanged: (low: boolean) => void;
  say: (level: "info" | "warn", message: string, fields?: Record<string, unknown>) => void;
  walBytesMax?: number;
  snapshotLogBytes?: number;
}

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #space: FreeSpace;
  readonly #ended = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #spaceTimer: ReturnType<typeof setInterval>;
  readonly #checkTimer: ReturnType<typeof setInterval>;
  #snapshot: SnapshotInfo | null;
  #work: Promise<void> | null = null;
  /** How many hold the snapshots as they are. */
  #holds = 0;
  #retryAtMs = 0;

  /** `snapshot`: the newest that there is. */
  constructor(options: KeeperOptions, snapshot: SnapshotInfo | null) {
    this.#options = options;
    this.#snapshot = snapshot;
    this.#space = new FreeSpace(options.dataDir);
    this.#timer = setInterval(() => void this.look(), keeperMs);
    // Small disks fill within a second.
    this.#spaceTimer = setInterval(
      () => void this.#lookAtSpace().catch((e: unknown) => this.#failed(e)),
      spaceMs,
    );
    this.#checkTimer = setInterval(
      () => void this.checkSnapshot().catch((e: unknown) => this.#failed(e)),
      snapshotCheckMs,
    );
  }

  /** The newest; it stays while somebody holds it. */
  get snapshot(): SnapshotInfo | null {
    return this.#snapshot;
  }

  get spaceLow(): boolean {
    return this.#space.low;
  }

  /** On the disk, above what is kept free. */
  get bytesFree(): number {
    return this.#space.bytesFree;
  }

  /** What is to be done now, if nothing is being done. Resolves when that has ended. */
  look(): Promise<void> {
    this.#work ??= this.#lookNow()
      .catch((e: unknown) => this.#failed(e))
      .finally(() => (this.#work = null));
    return this.#work;
  }

  /** A snapshot of now, or of a moment later. Rejects with FAILED. */
  makeSnapshot(): Promise<SnapshotInfo> {
    return this.alone(() => this.#makeSnapshot());
  }

  /** No snapshot is removed until the returned function is called: one is being sent. */
  hold(): () => void {
    this.#holds++;
    let released = false;
    return () => {
      if (!released) this.#holds--;
      released = true;
    };
  }

  /**
   * Runs with no snapshot in the making: one of what was there before would be taken for the newest, and two helpers would
   * write the same file.
   */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    // Whoever waited beside this one may have begun first.
    while (this.#work) await this.#work.catch(() => undefined);
    const done = work();
    this.#work = done.then(() => undefined).finally(() => (this.#work = null));
    await this.#work;
    return done;
  }

  /** The newest could not be read: another is made where one is needed. */
  doubt(): void {
    this.#snapshot = null;
  }

  /** Reads the newest, slowly; another takes its place when the disk has damaged it. Rejects with FAILED when that cannot be. */
  async checkSnapshot(bytesPerSecond = scrubBytesPerSecond): Promise<void> {
    const { dataDir, say } = this.#options;
    const { signal } = this.#ended;
    const info = this.#snapshot;
    const pace = (bytes: number): Promise<void> =>
      sleep((1_000 * bytes) / bytesPerSecond, undefined, { signal });
    // It may have been given back meanwhile.
    if (!info || (await isWhole(dataDir, info, pace)) || this.#snapshot !== info) return;
    say("warn", "the disk has damaged a snapshot: another one is made", { index: info.index });
    await this.makeSnapshot();
  }

  /** One from another replica has taken the place of all that was here. */
  installed(info: SnapshotInfo): void {
    this.#snapshot = info;
  }

  /** Resolves when the helper has ended too. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    clearInterval(this.#spaceTimer);
    clearInterval(this.#checkTimer);
    this.#ended.abort(new DvsError("UNAVAILABLE", "The state process ends."));
    await this.#work?.catch(() => undefined);
  }

  async #lookNow(): Promise<void> {
    if (this.#ended.signal.aborted || performance.now() < this.#retryAtMs) return;
    if ((await this.#walBytes()) > (this.#options.walBytesMax ?? walBytesMax)) await this.#checkpoint();
    if (this.#logBytes() > (await this.#snapshotDueBytes())) await this.#makeSnapshot();
    await this.#collect();
  }

  async #lookAtSpace(): Promise<void> {
    const wasLow = this.#space.low;
    const low = await this.#space.look();
    if (low !== wasLow && !this.#ended.signal.aborted) this.#options.spaceChanged(low);
  }

  async #checkpoint(): Promise<void> {
    const { dataDir, database } = this.#options;
    await askHelper("checkpoint", dataDir, this.#ended.signal);
    database().checkpoint();
  }

  async #makeSnapshot(): Promise<SnapshotInfo> {
    const { dataDir, snapshotTaken, say } = this.#options;
    const beganMs = performance.now();
    const info = await askHelper("snapshot", dataDir, this.#ended.signal);
    this.#snapshot = info;
    const ms = Math.round(performance.now() - beganMs);
    say("info", "snapshot", { index: info.index, bytes: info.bytes, ms });
    if (this.#holds === 0) await removeOtherSnapshots(dataDir, info);
    snapshotTaken(info);
    await this.#collect();
    return info;
  }

  /** Segments that were discarded go as soon as no snapshot that may be read has them. */
  async #collect(): Promise<void> {
    const { blocks } = this.#options;
    const index = this.#snapshot?.index;
    if (!blocks || index === undefined || this.#holds > 0) return;
    await new Promise<void>((resolve, reject) =>
      blocks.collect(index, (error) => (error ? reject(error) : resolve())),
    );
  }

  /** A snapshot writes the whole database anew: the log has to have grown by more than that. */
  async #snapshotDueBytes(): Promise<number> {
    const { size } = await stat(join(this.#options.dataDir, databaseName));
    const due = Math.max(this.#options.snapshotLogBytes ?? snapshotLogBytes, snapshotPerDatabase * size);
    return this.#holds > 0 && this.#snapshot && !this.#space.low ? Math.max(due, snapshotHeldLogBytes) : due;
  }

  #failed(e: unknown): void {
    if (this.#ended.signal.aborted) return;
    this.#retryAtMs = performance.now() + keeperRetryMs;
    this.#options.say("warn", "housekeeping", { error: e instanceof Error ? e.message : String(e) });
  }

  async #walBytes(): Promise<number> {
    return (await stat(join(this.#options.dataDir, `${databaseName}-wal`))).size;
  }

  /** What a start would have to read again. */
  #logBytes(): number {
    const index = this.#snapshot?.index ?? 0;
    let bytes = 0;
    for (const segment of this.#options.log.segments) if (segment.nextIndex > index + 1) bytes += segment.end;
    return bytes;
  }
}
