/**
 * The log's files on a simulated disk, for tests of recovery: each operation takes its effect when `step` is called, or
 * at once; it can be observed, refused, and be the last one before the power fails.
 */
import { type Done, type LogFile, type LogFiles, NoSpace } from "../../../core/log/log-files.ts";
import { type Disk, type DiskFile, DiskFull } from "../../sim/harness/disk.ts";

/** The cache writes pages, each on its own. */
const pageBytes = 4_096;

export class DiskFiles implements LogFiles {
  readonly disk: Disk;
  /** Each operation, before its effect: throws to make it fail. */
  onOperation: ((what: string, name: string) => void) | undefined;
  /** Where operations wait for `step`; null: they are carried out at once. */
  waiting: (() => void)[] | null = null;

  constructor(disk: Disk) {
    this.disk = disk;
  }

  /** Carries out one that waits; which one, `pick` says: syncs and writes finish in any order. */
  step(pick: (count: number) => number): boolean {
    const { waiting } = this;
    if (!waiting || waiting.length === 0) return false;
    waiting.splice(pick(waiting.length), 1)[0]!();
    return true;
  }

  list(done: Done<string[]>): void {
    this.complete("list", "", () => this.disk.names(), done);
  }

  open(name: string, how: "create" | "write" | "read", done: Done<LogFile>): void {
    const open = (): LogFile => {
      const file = how === "create" ? this.disk.create(name) : this.disk.file(name);
      if (!file) throw new Error(`no file ${name}`);
      return new OpenFile(this, name, file);
    };
    this.complete(how === "create" ? "create" : "open", name, open, done);
  }

  rename(from: string, to: string, done: Done): void {
    this.complete("rename", to, () => this.disk.rename(from, to), done);
  }

  remove(name: string, done: Done): void {
    this.complete("remove", name, () => this.disk.remove(name), done);
  }

  syncDirectory(done: Done): void {
    const { changes } = this.disk;
    this.complete("syncDirectory", "", () => this.disk.syncDirectory(changes), done);
  }

  /** For its files. */
  complete<T>(what: string, name: string, effect: () => T, done: Done<T>): void {
    const operation = (): void => {
      let value: T;
      try {
        this.onOperation?.(what, name);
        value = effect();
      } catch (e) {
        return done(e instanceof DiskFull ? new NoSpace(e.message) : (e as Error));
      }
      done(null, value);
    };
    if (this.waiting) this.waiting.push(operation);
    else operation();
  }
}

class OpenFile implements LogFile {
  readonly #files: DiskFiles;
  readonly #name: string;
  readonly #file: DiskFile;

  constructor(files: DiskFiles, name: string, file: DiskFile) {
    this.#files = files;
    this.#name = name;
    this.#file = file;
  }

  size(done: Done<number>): void {
    this.#files.complete("size", this.#name, () => this.#file.size, done);
  }

  write(blocks: Uint8Array[], position: number, done: Done): void {
    const write = (): void => {
      let at = position;
      for (const block of blocks) {
        for (let from = 0; from < block.length;) {
          const bytes = block.subarray(from, from + pageBytes - (at % pageBytes));
          this.#file.write(at, bytes);
          from += bytes.length;
          at += bytes.length;
        }
      }
    };
    this.#files.complete("write", this.#name, write, done);
  }

  datasync(done: Done): void {
    const { changes } = this.#file;
    this.#files.complete("datasync", this.#name, () => this.#file.sync(changes), done);
  }

  truncate(bytes: number, done: Done): void {
    this.#files.complete("truncate", this.#name, () => this.#file.cut(bytes), done);
  }

  read(position: number, bytes: number, done: Done<Uint8Array>): void {
    this.#files.complete("read", this.#name, () => this.#file.read(position, bytes), done);
  }

  close(done: Done): void {
    this.#files.complete("close", this.#name, () => {}, done);
  }
}
