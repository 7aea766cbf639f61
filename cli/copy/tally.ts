/** What a copy has done so far: shown while it goes on, told at its end. */
import { DvsError, type ErrorCode } from "../../core/errors.ts";
import { bytes as size } from "../format.ts";
import type { Io } from "../io.ts";
import { Progress } from "../progress.ts";
import type { Words } from "../words.ts";

const showMs = 200;

export class Tally {
  files = 0;
  bytes = 0;
  /** Those that were there already, the same. */
  skipped = 0;
  /** Bytes of files that an earlier copy has left. */
  resumed = 0;
  failed = 0;
  readonly #words: Words;
  readonly #progress: Progress;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  readonly #startMs = performance.now();
  #first: DvsError | null = null;

  constructor(io: Io, words: Words) {
    this.#words = words;
    this.#progress = new Progress(io, words);
    // Only on a terminal: thousands of lines would say nothing.
    if (io.stderr.isTTY) this.#timer = setInterval(() => this.#show(), showMs);
  }

  /** One file could not be copied; the others go on. */
  fail(path: string, thrown: unknown): void {
    const error = DvsError.from(thrown);
    this.failed++;
    this.#first ??= error;
    this.#progress.end();
    this.#words.error(error.message.includes(path) ? error.message : `${path}: ${error.message}`);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#progress.end();
  }

  get code(): ErrorCode | null {
    return this.#first?.code ?? null;
  }

  /** `copied 12 files (3.1 MiB), 4 were there already` */
  get text(): string {
    const parts = [`copied ${count(this.files)} (${size(this.bytes)})`];
    if (this.skipped > 0) parts.push(`${this.skipped} were there already`);
    if (this.resumed > 0) parts.push(`${size(this.resumed)} were left by an earlier copy`);
    if (this.failed > 0) parts.push(`${this.failed} failed`);
    return parts.join(", ");
  }

  get json(): object {
    const { files, bytes, skipped, resumed, failed } = this;
    return { files, bytes, skipped, resumed, failed };
  }

  #show(): void {
    const seconds = (performance.now() - this.#startMs) / 1_000;
    this.#progress.show(`${this.text}, ${size(this.bytes / Math.max(seconds, 0.1))}/s`);
  }
}

function count(files: number): string {
  return files === 1 ? "1 file" : `${files} files`;
}
