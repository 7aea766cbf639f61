/**
 * Files of an instance onto this machine: as upload.ts, the other way. A file is put together beside its own name, under
 * one that says which version it is of, and goes on where an earlier copy has ended.
 */
import { chmod, lchown, lstat, mkdir, open, readlink, rename, rm, symlink, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { BigIntStats } from "node:fs";
import { contentsOf } from "../../core/api/contents.ts";
import { DvsError } from "../../core/errors.ts";
import type { FileEntryJson } from "../../core/files/remote/ask.ts";
import { fileFrameBytesMax, filesPerAskMax, KiB, MiB } from "../../core/limits.ts";
import { fileFailure } from "../file-failure.ts";
import { attempted } from "./attempts.ts";
import { partName } from "./part-name.ts";
import { remoteEntries, under } from "./remote-tree.ts";
import type { CopyOptions } from "./upload.ts";

interface Wanted {
  path: string;
  to: string;
  entry: FileEntryJson;
}

const requestsMax = 4;
/** Small files of one request, and their paths in its head. */
const batchBytesMax = 4 * MiB;
const batchPathBytesMax = 6 * KiB;
/** What file systems and runtimes make of nanoseconds. */
const sameTimeNs = 2_000n;

export class Download {
  readonly #options: CopyOptions;
  readonly #instance: string;
  #batch: Wanted[] = [];
  #batchBytes = 0;
  #batchPathBytes = 0;
  readonly #under = new Set<Promise<void>>();
  #error: unknown = null;
  readonly #directories: { to: string; entry: FileEntryJson }[] = [];

  constructor(instance: string, options: CopyOptions) {
    this.#options = options;
    this.#instance = instance;
  }

  async copy(path: string, entry: FileEntryJson, to: string): Promise<void> {
    this.#options.signal.throwIfAborted();
    await this.#tried(to, async () => {
      const there = await lstat(to, { bigint: true }).catch(nothing);
      if (entry.kind === "directory") return this.#directory(path, entry, to, there);
      if (entry.kind === "symlink") return this.#link(entry, to, there);
      if (entry.kind !== "file") {
        throw new DvsError(
          "INVALID",
          `Cannot copy ${path}: it is a ${entry.kind}, and no file, directory or link.`,
        );
      }
      if (there?.isDirectory()) throw new DvsError("INVALID", `Cannot write ${to}: it is a directory.`);
      if (!this.#options.force && there?.isFile() && isSame(entry, there)) {
        this.#options.tally.skipped++;
        return;
      }
      await this.#want({ path, to, entry });
    });
  }

  async end(): Promise<void> {
    await this.#send();
    await Promise.all(this.#under);
    if (this.#error) throw this.#error;
    for (const { to, entry } of this.#directories.toReversed()) {
      await this.#tried(to, () => this.#finish(to, entry));
    }
  }

  async #directory(path: string, entry: FileEntryJson, to: string, there: BigIntStats | null): Promise<void> {
    if (there && !there.isDirectory()) {
      throw new DvsError("CONFLICT", `Cannot make directory ${to}: there is something else.`);
    }
    if (!there) await mkdir(to, { mode: 0o700 });
    for await (const child of remoteEntries(
      this.#options.api,
      { instance: this.#instance, path },
      this.#options.signal,
    )) {
      // Nothing of what an instance says leads out of the directory that was named.
      if (child.name === "." || child.name === ".." || child.name.includes("/")) continue;
      await this.copy(under(path, child.name), child, join(to, child.name));
    }
    this.#directories.push({ to, entry });
  }

  async #link(
    { target = "", ...entry }: FileEntryJson,
    to: string,
    there: BigIntStats | null,
  ): Promise<void> {
    const { tally, archive } = this.#options;
    if (there?.isSymbolicLink() && (await readlink(to)) === target) {
      tally.skipped++;
      return;
    }
    const part = join(dirname(to), partName(entry.name, [this.#instance, entry.ino, entry.change]));
    await rm(part, { force: true });
    await symlink(target, part);
    if (archive) await lchown(part, entry.uid, entry.gid);
    await rename(part, to);
    tally.files++;
  }

  async #want(wanted: Wanted): Promise<void> {
    const { size } = wanted.entry;
    const pathBytes = encodeURIComponent(wanted.path).length + "&path=".length;
    if (size > fileFrameBytesMax) return this.#start(() => this.#large(wanted));
    const isFull =
      this.#batch.length === filesPerAskMax ||
      this.#batchBytes + size > batchBytesMax ||
      this.#batchPathBytes + pathBytes > batchPathBytesMax;
    if (isFull) await this.#send();
    this.#batch.push(wanted);
    this.#batchBytes += size;
    this.#batchPathBytes += pathBytes;
  }

  async #send(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#batchPathBytes = 0;
    if (batch.length > 0) await this.#start(() => this.#small(batch));
  }

  async #start(act: () => Promise<void>): Promise<void> {
    while (this.#under.size >= requestsMax) await Promise.race(this.#under);
    if (this.#error) throw this.#error;
    const running: Promise<void> = act()
      .catch((e: unknown) => {
        this.#error ??= e;
      })
      .finally(() => this.#under.delete(running));
    this.#under.add(running);
  }

  async #small(batch: Wanted[]): Promise<void> {
    let left = batch;
    await attempted(async () => {
      const now = left;
      let done = 0;
      let bytes: Uint8Array[] = [];
      let entry: FileEntryJson | null = null;
      try {
        const paths = now.map(({ path }) => path);
        for await (const part of contentsOf(
          this.#options.api,
          this.#instance,
          paths,
          {},
          this.#options.signal,
        )) {
          const wanted = now[part.file]!;
          if (part.type === "begin") {
            bytes = [];
            entry = part.entry;
          } else if (part.type === "bytes") bytes.push(part.bytes);
          else {
            done = part.file + 1;
            if (part.type === "failure") this.#options.tally.fail(wanted.path, part.error);
            else await this.#tried(wanted.to, () => this.#write(wanted, entry!, Buffer.concat(bytes)));
          }
        }
      } catch (e) {
        // Those that are here are here.
        left = now.slice(done);
        throw e;
      }
    }, this.#options.signal);
  }

  async #write({ to, entry: { name } }: Wanted, entry: FileEntryJson, bytes: Uint8Array): Promise<void> {
    const part = join(dirname(to), partName(name, [this.#instance, entry.ino, entry.change]));
    const file = await open(part, "w", 0o600);
    try {
      await file.writeFile(bytes);
    } finally {
      await file.close();
    }
    await this.#finish(part, entry);
    await rename(part, to);
    this.#options.tally.files++;
    this.#options.tally.bytes += bytes.length;
  }

  async #large(wanted: Wanted): Promise<void> {
    await this.#tried(wanted.to, () => attempted(() => this.#largeOnce(wanted), this.#options.signal));
  }

  async #largeOnce({ path, to, entry: { name, ino, change, size } }: Wanted): Promise<void> {
    const { api, tally, signal } = this.#options;
    const part = join(dirname(to), partName(name, [this.#instance, ino, change]));
    const file = await open(part, "a", 0o600);
    let begun = (await file.stat()).size;
    try {
      if (begun > size) await file.truncate((begun = 0));
      tally.resumed += begun;
      let at = begun;
      let entry: FileEntryJson | null = null;
      for await (const got of contentsOf(api, this.#instance, [path], { offset: begun }, signal)) {
        if (got.type === "failure") throw got.error;
        if (got.type === "begin") {
          entry = got.entry;
          if (entry.ino !== ino || entry.change !== change) throw changed(path);
        } else if (got.type === "bytes") {
          await file.appendFile(got.bytes);
          at += got.bytes.length;
          tally.bytes += got.bytes.length;
        }
      }
      if (at !== size || !entry) throw changed(path);
      await file.close();
      await this.#finish(part, entry);
      await rename(part, to);
      tally.files++;
    } finally {
      await file.close().catch(() => undefined);
    }
  }

  /** Mode, time and, where they are wanted, owners. */
  async #finish(path: string, { mode, mtime: [seconds, nanos], uid, gid }: FileEntryJson): Promise<void> {
    if (this.#options.archive) await lchown(path, uid, gid);
    await chmod(path, mode);
    const time = seconds + nanos / 1e9;
    await utimes(path, time, time);
  }

  async #tried(to: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (e) {
      const own = fileFailure(e) ?? e;
      if (this.#options.signal.aborted || !(own instanceof DvsError) || own.retry) throw e;
      this.#options.tally.fail(to, own);
    }
  }
}

function isSame({ size, mtime: [seconds, nanos] }: FileEntryJson, there: BigIntStats): boolean {
  const apart = BigInt(seconds) * 1_000_000_000n + BigInt(nanos) - there.mtimeNs;
  return BigInt(size) === there.size && apart <= sameTimeNs && apart >= -sameTimeNs;
}

function changed(path: string): DvsError {
  return new DvsError("CONFLICT", `Cannot copy ${path}: it was changed meanwhile.`);
}

function nothing(e: unknown): null {
  if ((e as NodeJS.ErrnoException).code === "ENOENT") return null;
  throw e;
}
