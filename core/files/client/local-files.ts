/**
 * Files read beside a replica: what was read before is kept in this process, with the number of the last record that
 * may have changed it; it is true as long as the guard (core/state/guard.ts) names the same record. So most looks at a
 * file are two loads from memory, and a read of bytes is one system call.
 *
 * Bytes are checked when a page of theirs is first read by this process. What is damaged, gone or not here is asked of
 * the replica, which repairs it.
 */
import { localFileBytesMax, localNamesMax } from "../../limits.ts";
import { bucketsOf } from "../../state/buckets.ts";
import { notClean } from "../../state/guard.ts";
import type { OpenModule } from "../../state/module.ts";
import { type Attributes, kindOf, kinds } from "../attributes.ts";
import { FileError } from "../errno.ts";
import type { DirectoryEntry } from "../file-system.ts";
import { inodeKey, nameKey } from "../module/touched.ts";
import type { FileQuery } from "../operations.ts";
import { LocalExtents, windowBytes } from "./local-extents.ts";
import { LocalListings } from "./local-listings.ts";
import type { NearReader, NearState } from "./near-reader.ts";
import type { NearVolume } from "./near-volume.ts";
import { attributesIn, entriesIn, rowsIn, valuesOf, type What } from "./results.ts";

interface KnownFile {
  readonly attributes: Attributes;
  readonly bucket: number;
  /** The last record that may have changed it when it was read. */
  readonly last: number;
  /** By window of the file. */
  readonly windows: Map<number, LocalExtents>;
}

interface KnownName {
  /** 0: there is no such name. */
  readonly ino: number;
  readonly bucket: number;
  readonly last: number;
}

export class LocalFiles implements NearVolume {
  readonly #reader: NearReader;
  /** What is known is of this one. */
  #state: NearState | null = null;
  #module: OpenModule | undefined;
  readonly #files = new Map<number, KnownFile>();
  readonly #names = new Map<string, KnownName>();
  readonly #listings = new LocalListings();
  /** Of all extents that are kept. */
  #bytes = 0;

  constructor(reader: NearReader) {
    this.#reader = reader;
  }

  attributes(ino: number): Attributes | null {
    const state = this.#current();
    return state && (this.#file(state, ino)?.attributes ?? null);
  }

  lookup(parent: number, name: string): Attributes | null {
    const state = this.#current();
    if (!state || name === ".") return null;
    const known = this.#name(state, parent, name);
    if (!known) return null;
    if (known.ino === 0)
      throw new FileError("ENOENT", `cannot look up ${JSON.stringify(name)} in directory ${parent}`);
    const found = this.#file(state, known.ino);
    // It still has the name, now that its attributes are known.
    return found && state.last(known.bucket) === known.last ? found.attributes : null;
  }

  entries(ino: number, after: number, limit: number): DirectoryEntry[] | null {
    const state = this.#current();
    if (!state) return null;
    const what: What = () => `list directory ${ino}`;
    return this.#listings.find(state, ino, after, limit, () => {
      try {
        const [rows] = this.#ask(["entries", ino, after, limit, 0], what);
        return entriesIn(rows, what);
      } catch (e) {
        if (e instanceof FileError && e.code === "ESTALE") return null; // as in #row
        throw e;
      }
    });
  }

  read(ino: number, offset: number, length: number): Uint8Array | Promise<Uint8Array | null> | null {
    const state = this.#current();
    const file = state && this.#file(state, ino);
    if (!file || kindOf(file.attributes) !== kinds.file) return null;
    const end = Math.min(file.attributes.size, offset + length);
    if (end <= offset) return new Uint8Array(0);
    const first = Math.floor(offset / windowBytes);
    const extents = this.#window(state, file, first);
    if (!extents) return null;
    const bytes =
      end <= (first + 1) * windowBytes
        ? extents.read(state.blocks, offset, end)
        : this.#readWindows(state, file, offset, end);
    if (bytes === null || bytes instanceof Uint8Array) return this.#good(state, ino, bytes);
    return bytes.then((late) => this.#good(state, ino, late));
  }

  /** Another database may have been read than the one that was looked at. */
  #good(state: NearState, ino: number, bytes: Uint8Array | null): Uint8Array | null {
    if (bytes && !state.guard.isVoid) return bytes;
    // Its extents may be of before a segment was cleaned.
    this.#forget(ino);
    return null;
  }

  #readWindows(
    state: NearState,
    file: KnownFile,
    offset: number,
    end: number,
  ): Promise<Uint8Array | null> | null {
    const parts: { at: number; bytes: Promise<Uint8Array | null> }[] = [];
    for (let at = offset; at < end;) {
      const window = Math.floor(at / windowBytes);
      const to = Math.min(end, (window + 1) * windowBytes);
      const bytes = this.#window(state, file, window)?.read(state.blocks, at, to) ?? null;
      if (!bytes) return null;
      parts.push({ at: at - offset, bytes: Promise.resolve(bytes) });
      at = to;
    }
    return join(parts, end - offset);
  }

  /** Null: there is nothing to read by now. */
  #current(): NearState | null {
    const state = this.#reader.state();
    if (state !== this.#state) {
      this.#state = state;
      this.#module = state?.module("files");
      this.#files.clear();
      this.#names.clear();
      this.#listings.clear();
      this.#bytes = 0;
    }
    return this.#module ? state : null;
  }

  #file(state: NearState, ino: number): KnownFile | null {
    const known = this.#files.get(ino);
    if (known) {
      const last = state.last(known.bucket);
      if (last === known.last) return known;
      this.#forget(ino);
      if (last === notClean) return null;
    }
    const bucket = bucketsOf([inodeKey(ino)])[0]!;
    const last = state.last(bucket);
    if (last === notClean) return null;
    const what: What = () => `look at inode ${ino}`;
    const row = this.#row(ino, what);
    if (!row || state.guard.isVoid) return null;
    const file: KnownFile = { attributes: attributesIn(row, what), bucket, last, windows: new Map() };
    this.#files.set(ino, file);
    if (this.#files.size > localNamesMax) this.#forgetOldest();
    return file;
  }

  /**
   * Null where there is no such inode: no operation that makes one can say which, so the guard does not know of those
   * that are under way, and whoever names one may have heard of it from somebody who is ahead.
   */
  #row(ino: number, what: What): unknown {
    try {
      return this.#ask(["attributes", ino], what)[0];
    } catch (e) {
      if (e instanceof FileError && e.code === "ESTALE") return null;
      throw e;
    }
  }

  #name(state: NearState, parent: number, name: string): KnownName | null {
    const key = nameKey(parent, name);
    const known = this.#names.get(key);
    if (known) {
      const last = state.last(known.bucket);
      if (last === known.last) return known;
      this.#names.delete(key);
      if (last === notClean) return null;
    }
    // Where a directory is, is part of itself.
    const bucket = bucketsOf([name === ".." ? inodeKey(parent) : key])[0]!;
    const last = state.last(bucket);
    if (last === notClean) return null;
    const what: What = () => `look up ${JSON.stringify(name)} in directory ${parent}`;
    let ino = 0;
    try {
      const [row] = this.#ask(["lookup", null, parent, name], what);
      ({ ino } = attributesIn(row, what));
    } catch (e) {
      if (e instanceof FileError && e.code === "ESTALE") return null; // the directory: as in #row
      if (!(e instanceof FileError) || e.code !== "ENOENT") throw e;
    }
    if (state.guard.isVoid) return null;
    const found: KnownName = { ino, bucket, last };
    this.#names.set(key, found);
    if (this.#names.size > localNamesMax) this.#names.delete(this.#names.keys().next().value!);
    return found;
  }

  #window(state: NearState, file: KnownFile, window: number): LocalExtents | null {
    const known = file.windows.get(window);
    if (known) return known;
    const { ino } = file.attributes;
    const what: What = () => `find the bytes of inode ${ino}`;
    const [rows] = this.#ask(["extents", ino, window * windowBytes, windowBytes], what);
    // They are of the file as it was looked at.
    if (state.last(file.bucket) !== file.last) return null;
    const extents = new LocalExtents(rowsIn(rows, what));
    file.windows.set(window, extents);
    this.#bytes += extents.bytes;
    while (this.#bytes > localFileBytesMax && this.#files.size > 1) this.#forgetOldest();
    return extents;
  }

  #ask(query: FileQuery, what: What): readonly unknown[] {
    return valuesOf(this.#module!.read(query), what);
  }

  #forgetOldest(): void {
    this.#forget(this.#files.keys().next().value!);
  }

  #forget(ino: number): void {
    const file = this.#files.get(ino);
    if (!file) return;
    this.#files.delete(ino);
    for (const extents of file.windows.values()) this.#bytes -= extents.bytes;
  }
}

async function join(
  parts: readonly { at: number; bytes: Promise<Uint8Array | null> }[],
  length: number,
): Promise<Uint8Array | null> {
  const all = new Uint8Array(length);
  const got = await Promise.all(parts.map(({ bytes }) => bytes));
  for (const [i, bytes] of got.entries()) {
    if (!bytes) return null;
    all.set(bytes, parts[i]!.at);
  }
  return all;
}
