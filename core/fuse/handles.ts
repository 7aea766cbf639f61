/** Files that the kernel has open, by the number that it was given for each. */
import { FileError } from "../files/errno.ts";
import type { FileSystem, OpenFile } from "../files/file-system.ts";
import { openFlags } from "./abi.ts";

export class Handle {
  readonly ino: number;
  readonly writes: boolean;
  readonly #fs: FileSystem;
  readonly #reads: boolean;
  /** As it was opened, or as somebody has asked with fcntl(F_SETFL) since then: at the end, or where it is told. */
  readonly #files = new Map<boolean, Promise<OpenFile>>();
  readonly #first: OpenFile;

  constructor(fs: FileSystem, file: OpenFile, flags: number) {
    this.#fs = fs;
    this.ino = file.ino;
    const { read, write, append } = openModeOf(flags);
    this.#reads = read;
    this.writes = write;
    this.#first = file;
    this.#files.set(append, Promise.resolve(file));
  }

  /** For all but writing. */
  get file(): OpenFile {
    return this.#first;
  }

  toWrite(append: boolean): Promise<OpenFile> {
    let file = this.#files.get(append);
    if (!file) {
      file = this.#fs.open(this.ino, { read: this.#reads, write: this.writes, append });
      this.#files.set(append, file);
      file.catch(() => this.#files.delete(append));
    }
    return file;
  }

  async close(unlock: Parameters<OpenFile["close"]>[0]): Promise<void> {
    for (const opening of this.#files.values()) {
      const file = await opening.catch(() => null);
      await file?.close(file === this.#first ? unlock : undefined);
    }
  }
}

export class Handles {
  readonly #open = new Map<number, Handle>();
  /** Inode → how often it is open for writing. */
  readonly #written = new Map<number, number>();
  #last = 0;

  get size(): number {
    return this.#open.size;
  }

  add(handle: Handle): number {
    this.#open.set(++this.#last, handle);
    this.#count(handle, 1);
    return this.#last;
  }

  /** Throws EBADF. */
  get(fh: number): Handle {
    const handle = this.#open.get(fh);
    if (!handle) throw new FileError("EBADF", `file handle ${fh}`);
    return handle;
  }

  take(fh: number): Handle {
    const handle = this.get(fh);
    this.#open.delete(fh);
    this.#count(handle, -1);
    return handle;
  }

  isWritten(ino: number): boolean {
    return this.#written.has(ino);
  }

  /** All of them, when nobody can ask any more. */
  async closeAll(): Promise<void> {
    const open = [...this.#open.values()];
    this.#open.clear();
    this.#written.clear();
    await Promise.allSettled(open.map((handle) => handle.close(undefined)));
  }

  #count({ ino, writes }: Handle, by: 1 | -1): void {
    if (!writes) return;
    const count = (this.#written.get(ino) ?? 0) + by;
    if (count === 0) this.#written.delete(ino);
    else this.#written.set(ino, count);
  }
}

/** What `open(2)` was told. */
export function openModeOf(flags: number) {
  const mode = flags & openFlags.accessMode;
  return {
    read: mode !== openFlags.writeOnly,
    write: mode === openFlags.writeOnly || mode === openFlags.readWrite,
    append: (flags & openFlags.append) !== 0,
    truncate: (flags & openFlags.truncate) !== 0,
  };
}
