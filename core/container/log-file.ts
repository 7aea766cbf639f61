/**
 * An append-only file of lines with a bound: lines are gathered and written together (at 64 KiB, else within a
 * second); a file that is full becomes `.1`, its elders move on, and the eldest goes. A disk that takes nothing costs
 * the lines, counted and told when it takes some again, never the container.
 *
 * A file that this host process's stdout and stderr append to as well (`shared`) keeps its inode, or they would write on
 * into a file that has lost its name: when it is full its content is copied to `.1` and it is emptied.
 */
import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, renameSync, writeSync } from "node:fs";

const gatherChars = 64 * 1024;
const flushMs = 1_000;

export interface LogFileOptions {
  bytesMax: number;
  /** Older files kept beside it. */
  kept: number;
  /** Others append to the same file. Only then `bound` has to be called now and then. */
  shared?: boolean;
}

export class LogFile {
  readonly #path: string;
  readonly #options: LogFileOptions;
  #fd = -1;
  #size = 0;
  #pending = "";
  #pendingLines = 0;
  #lostLines = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(path: string, options: LogFileOptions) {
    this.#path = path;
    this.#options = options;
  }

  /** Takes a line without its newline. Written within a second. */
  write(line: string): void {
    this.#pending += `${line}\n`;
    this.#pendingLines++;
    if (this.#pending.length >= gatherChars) this.flush();
    else this.#timer ??= setTimeout(this.flush, flushMs);
  }

  /** Writes what was gathered. Never throws. */
  readonly flush = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pendingLines === 0) return;
    const lost = this.#lostLines > 0 ? `# ${this.#lostLines} lines lost: the disk took none\n` : "";
    const bytes = Buffer.from(lost + this.#pending);
    const lines = this.#pendingLines;
    this.#pending = "";
    this.#pendingLines = 0;
    try {
      this.#append(bytes);
      this.#lostLines = 0;
    } catch {
      this.#lostLines += lines;
      this.#close();
    }
  };

  /** Empties a shared file that others have filled. Never throws. */
  readonly bound = (): void => {
    try {
      if (this.#fd < 0) this.#open();
      this.#size = fstatSync(this.#fd).size;
      if (this.#size > this.#options.bytesMax) this.#rotate();
    } catch {
      this.#close(); // A disk without room grows no file either.
    }
  };

  close(): void {
    this.flush();
    this.#close();
  }

  #append(bytes: Buffer): void {
    if (this.#fd < 0) this.#open();
    else if (this.#options.shared) this.#size = fstatSync(this.#fd).size;
    if (this.#size > 0 && this.#size + bytes.length > this.#options.bytesMax) this.#rotate();
    // A write that takes a part only (a disk that gets full) fails at the next round.
    for (let at = 0; at < bytes.length;) at += writeSync(this.#fd, bytes, at);
    this.#size += bytes.length;
  }

  #open(): void {
    this.#fd = openSync(this.#path, "a", 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  #rotate(): void {
    const { shared, kept } = this.#options;
    for (let n = kept; n > 1; n--) renameIfThere(`${this.#path}.${n - 1}`, `${this.#path}.${n}`);
    if (shared) {
      copyFileSync(this.#path, `${this.#path}.1`);
      ftruncateSync(this.#fd, 0);
      this.#size = 0;
      return;
    }
    this.#close();
    renameIfThere(this.#path, `${this.#path}.1`);
    this.#open();
  }

  #close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e;
  }
}
