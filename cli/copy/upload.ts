/**
 * Files of this machine into an instance: directory by directory, many small files in one request, large ones in
 * pieces. What is there already with the same size and time is left out; a large file goes on where an earlier copy has
 * ended. Each gets its name when it is whole.
 */
import { lstat, open, readdir, readlink } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import type { BigIntStats } from "node:fs";
import type { Api } from "../../core/api/client.ts";
import { DvsError } from "../../core/errors.ts";
import type { FileEntryJson, PutFrame } from "../../core/files/remote/ask.ts";
import { fileFrameBytesMax, putBytesMax } from "../../core/limits.ts";
import { fileFailure } from "../file-failure.ts";
import type { RemotePlace } from "../file-place.ts";
import { Packer, packsAheadMax } from "./packer.ts";
import { partName } from "./part-name.ts";
import { remoteEntries, under } from "./remote-tree.ts";
import type { Tally } from "./tally.ts";

export interface CopyOptions {
  api: Pick<Api, "files">;
  tally: Tally;
  signal: AbortSignal;
  /** Owners, too. */
  archive: boolean;
  /** Also what seems to be there already. */
  force: boolean;
}

type Attributes = Omit<Extract<PutFrame, { op: "attributes" }>, "op">;
const nanosPerSecond = 1_000_000_000n;
/** Requests may have been carried out in any order when the last copy ended: so much of its part may have holes. */
const unsureBytes = (packsAheadMax + 1) * putBytesMax;

export class Upload {
  readonly #options: CopyOptions;
  readonly #instance: string;
  readonly #packer: Packer;
  /** Of directories: set at the end, since what is copied into them changes them. */
  readonly #directories: Attributes[] = [];

  constructor(instance: string, options: CopyOptions) {
    this.#options = options;
    this.#instance = instance;
    this.#packer = new Packer(options.api, instance, options.signal);
  }

  /** `there`: what has the path by now. Files that fail are told to the tally. */
  async copy(from: string, path: string, there: FileEntryJson | null): Promise<void> {
    await this.#tried(from, async () => this.#copy(from, path, await lstat(from, { bigint: true }), there));
  }

  async end(): Promise<void> {
    await this.#packer.flush();
    // The innermost first.
    for (const attributes of this.#directories.toReversed()) {
      await this.#packer.add({ op: "attributes", ...attributes }, undefined, this.#telling(attributes.path));
    }
    await this.#packer.flush();
    await this.#options.api.files.sync(this.#instance);
  }

  async #copy(from: string, path: string, stats: BigIntStats, there: FileEntryJson | null): Promise<void> {
    this.#options.signal.throwIfAborted();
    if (stats.isDirectory()) return this.#directory(from, path, stats, there);
    if (stats.isSymbolicLink()) return this.#link(from, path, stats, there);
    if (!stats.isFile())
      throw new DvsError("INVALID", `Cannot copy ${from}: it is no file, directory or link.`);
    const { tally, force } = this.#options;
    if (!force && there?.kind === "file" && isSame(there, stats)) {
      tally.skipped++;
      return;
    }
    if (stats.size <= BigInt(fileFrameBytesMax)) await this.#small(from, path, stats);
    else await this.#large(from, path, stats);
  }

  async #directory(
    from: string,
    path: string,
    stats: BigIntStats,
    there: FileEntryJson | null,
  ): Promise<void> {
    const attributes = this.#attributes(path, stats);
    const isThere = there?.kind === "directory" || (there?.kind === "symlink" && path === "/");
    if (!isThere) {
      const made = Promise.withResolvers<DvsError | null>();
      await this.#packer.add(
        { op: "directory", path, mode: attributes.mode | 0o700 },
        undefined,
        made.resolve,
      );
      // Nothing is copied into what is none.
      if (there) {
        await this.#packer.flush();
        const error = await made.promise;
        if (error) throw error;
      } else {
        void made.promise.then((error) => error && this.#options.tally.fail(path, error));
      }
    }
    const known = new Map<string, FileEntryJson>();
    if (there) {
      const place: RemotePlace = { instance: this.#instance, path };
      for await (const entry of remoteEntries(this.#options.api, place, this.#options.signal)) {
        known.set(entry.name, entry);
      }
    }
    for (const name of (await readdir(from)).toSorted()) {
      const child = join(from, name);
      await this.#tried(child, async () =>
        this.#copy(child, under(path, name), await lstat(child, { bigint: true }), known.get(name) ?? null),
      );
    }
    this.#directories.push(attributes);
  }

  async #link(from: string, path: string, stats: BigIntStats, there: FileEntryJson | null): Promise<void> {
    const target = await readlink(from);
    if (there?.kind === "symlink" && there.target === target) {
      this.#options.tally.skipped++;
      return;
    }
    const part = partName(basename(path), [hostname(), from, target]);
    const { owner } = this.#attributes(path, stats);
    await this.#packer.add(
      { op: "link", path, part, target, ...(owner && { owner }) },
      undefined,
      this.#telling(from, 0),
    );
  }

  async #small(from: string, path: string, stats: BigIntStats): Promise<void> {
    const file = await open(from);
    try {
      const bytes = new Uint8Array(Number(stats.size));
      await readFully(file, bytes, 0, from);
      if (!isUnchanged(await file.stat({ bigint: true }), stats)) throw changed(from);
      const part = this.#part(from, path, stats);
      const frame = { op: "file" as const, part, ...this.#attributes(path, stats) };
      await this.#packer.add(frame, bytes, this.#telling(from, bytes.length));
    } finally {
      await file.close();
    }
  }

  async #large(from: string, path: string, stats: BigIntStats): Promise<void> {
    const { tally } = this.#options;
    const part = this.#part(from, path, stats);
    const size = Number(stats.size);
    // What is before it in the same directory is made, and pieces of other files do not come between.
    await this.#packer.flush();
    const begun = await this.#begun(path, part, size);
    tally.resumed += begun;
    const errors: DvsError[] = [];
    const file = await open(from);
    try {
      for (let offset = begun; offset < size && errors.length === 0; offset += fileFrameBytesMax) {
        const bytes = new Uint8Array(Math.min(fileFrameBytesMax, size - offset));
        await readFully(file, bytes, offset, from);
        await this.#packer.add({ op: "piece", path, part, offset }, bytes, (failed) => {
          if (failed) errors.push(failed);
          else tally.bytes += bytes.length;
        });
      }
      await this.#packer.flush();
      if (errors[0]) throw errors[0];
      if (!isUnchanged(await file.stat({ bigint: true }), stats)) throw changed(from);
    } finally {
      await file.close();
    }
    const frame = { op: "finish" as const, part, size, ...this.#attributes(path, stats) };
    await this.#packer.add(frame, undefined, this.#telling(from, 0));
  }

  /** How much of the file an earlier copy has surely brought. */
  async #begun(path: string, part: string, size: number): Promise<number> {
    const beside = `${path.replace(/[^/]*$/, "")}${part}`;
    const { remoteEntry } = await import("./remote-tree.ts");
    const place: RemotePlace = { instance: this.#instance, path: beside };
    const found = await remoteEntry(this.#options.api, place, this.#options.signal, false);
    if (found?.kind !== "file") return 0;
    const sure = Math.min(found.size, size) - unsureBytes;
    return Math.max(0, sure - (sure % fileFrameBytesMax));
  }

  #part(from: string, path: string, { size, mtimeNs, ino }: BigIntStats): string {
    return partName(basename(path), [hostname(), from, ino, size, mtimeNs]);
  }

  #attributes(path: string, { mode, mtimeNs, uid, gid }: BigIntStats): Attributes {
    const nanos = ((mtimeNs % nanosPerSecond) + nanosPerSecond) % nanosPerSecond;
    return {
      path,
      mode: Number(mode & 0o7777n),
      mtime: [Number((mtimeNs - nanos) / nanosPerSecond), Number(nanos)],
      ...(this.#options.archive && { owner: [Number(uid), Number(gid)] as [number, number] }),
    };
  }

  /** `bytes`: a file of so many is there when it is done. */
  #telling(from: string, bytes?: number): (error: DvsError | null) => void {
    const { tally } = this.#options;
    return (error) => {
      if (error) return tally.fail(from, error);
      if (bytes === undefined) return;
      tally.files++;
      tally.bytes += bytes;
    };
  }

  /** One file's failure is not the others'; what ends all ends this, too. */
  async #tried(from: string, act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (e) {
      const own = fileFailure(e) ?? (isMissing(e) ? missing(from, e) : e);
      if (this.#options.signal.aborted || !(own instanceof DvsError) || own.retry) throw e;
      this.#options.tally.fail(from, own);
    }
  }
}

type Handle = Awaited<ReturnType<typeof open>>;

async function readFully(file: Handle, bytes: Uint8Array, offset: number, from: string): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesRead } = await file.read(bytes, at, bytes.length - at, offset + at);
    if (bytesRead === 0) throw changed(from);
    at += bytesRead;
  }
}

function isSame({ size, mtime: [seconds, nanos] }: FileEntryJson, stats: BigIntStats): boolean {
  return BigInt(size) === stats.size && BigInt(seconds) * nanosPerSecond + BigInt(nanos) === stats.mtimeNs;
}

function isUnchanged(now: BigIntStats, before: BigIntStats): boolean {
  return now.size === before.size && now.mtimeNs === before.mtimeNs;
}

function changed(from: string): DvsError {
  return new DvsError("CONFLICT", `Cannot copy ${from}: it was changed meanwhile.`);
}

function isMissing(e: unknown): boolean {
  return e instanceof Error && (e as NodeJS.ErrnoException).code === "ENOENT";
}

function missing(from: string, cause: unknown): DvsError {
  return new DvsError("NOT_FOUND", `Cannot copy ${from}: there is no such file or directory.`, { cause });
}
