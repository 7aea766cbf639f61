/**
 * What happened, as lines of text: all of them hashed, so that two runs of a seed can be compared, and the last ones
 * kept to be read after a failure.
 */

const keptLines = 400;

export class Trace {
  readonly #sink: ((line: string) => void) | undefined;
  readonly #lines: string[] = [];
  #high = 0xdeadbeef;
  #low = 0x41c6ce57;
  lines = 0;

  constructor(sink?: (line: string) => void) {
    this.#sink = sink;
  }

  add(atMs: number, line: string): void {
    const text = `${atMs.toFixed(3).padStart(11)} ${line}`;
    this.lines++;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      this.#high = Math.imul(this.#high ^ code, 2654435761);
      this.#low = Math.imul(this.#low ^ code, 1597334677);
    }
    this.#sink?.(text);
    if (this.#lines.push(text) > 2 * keptLines) this.#lines.splice(0, keptLines);
  }

  hash(): string {
    return [this.#high, this.#low].map((n) => (n >>> 0).toString(16).padStart(8, "0")).join("");
  }

  /** The last lines, oldest first. */
  tail(count = 60): string[] {
    return this.#lines.slice(-count);
  }
}
