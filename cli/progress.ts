/**
 * What a waiting command shows: on a terminal one line that is written anew, elsewhere a line per change. On
 * stderr, since it is no data.
 */
import type { Io } from "./io.ts";
import { clean } from "./table.ts";
import type { Words } from "./words.ts";

const clearLine = "\r\u001B[K";

export class Progress {
  readonly #io: Io;
  readonly #silent: boolean;
  #last = "";

  constructor(io: Io, words: Words) {
    this.#io = io;
    this.#silent = words.isQuiet();
  }

  /** Shows the state of what is waited for; the same text again shows nothing. */
  show(text: string): void {
    const line = clean(text);
    if (this.#silent || line === this.#last) return;
    this.#last = line;
    const { stderr } = this.#io;
    if (!stderr.isTTY) return stderr.write(`${line}\n`);
    const width = stderr.columns - 1;
    stderr.write(`${clearLine}${line.length > width ? `${line.slice(0, width - 1)}…` : line}`);
  }

  /** Takes the line away, before a word or an error is said. */
  end(): void {
    if (this.#last !== "" && !this.#silent && this.#io.stderr.isTTY) this.#io.stderr.write(clearLine);
    this.#last = "";
  }
}
