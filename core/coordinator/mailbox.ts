/**
 * A queue between writers that never wait and one reader that may be slow. Values of the same key replace each other
 * while they wait, so that a reader who was asleep gets the newest of each and no history. It never drops a value in
 * silence: with more than `max` waiting the reader gets an error instead, and has to begin anew.
 *
 * Writers that can wait use `send`, which holds them back while `max` values wait.
 */
import { DvsError } from "../errors.ts";

export interface MailboxOptions<T> {
  /** By default every value is of its own. */
  key?: (value: T) => string;
  max: number;
}

export class Mailbox<T> {
  readonly #key: (value: T) => string;
  readonly #max: number;
  #values = new Map<string, T>();
  #numbers = 0;
  #closed = false;
  #overflow: DvsError | null = null;
  #wakeReader: (() => void) | null = null;
  /** In the order in which they came: none of them overtakes another. */
  #writers: { value: T; done: (put: boolean) => void }[] = [];

  constructor(options: MailboxOptions<T>) {
    this.#key = options.key ?? (() => String(this.#numbers++));
    this.#max = options.max;
  }

  get size(): number {
    return this.#values.size;
  }

  put(value: T): void {
    if (this.#closed || this.#overflow) return;
    const key = this.#key(value);
    this.#values.delete(key); // so that the newest is last
    this.#values.set(key, value);
    if (this.#values.size > this.#max) {
      this.#values.clear();
      this.#overflow = new DvsError(
        "UNAVAILABLE",
        `The stream was ended: its reader fell ${this.#max} entries behind. Open it again.`,
      );
    }
    this.#wakeReader?.();
  }

  /** Puts when there is room. False when it was closed: nobody reads any more. */
  async send(value: T): Promise<boolean> {
    if (this.#closed) return false;
    if (this.#values.size >= this.#max) return new Promise((done) => this.#writers.push({ value, done }));
    this.put(value);
    return true;
  }

  /** Nothing more comes; what waits can still be taken. */
  close(): void {
    this.#closed = true;
    this.#wakeReader?.();
    for (const writer of this.#writers.splice(0)) writer.done(false);
  }

  /**
   * The next value; undefined when `timeoutMs` passed without one; null after `close`, when none is left. One call at
   * a time. Throws UNAVAILABLE after too many were put.
   */
  async take(timeoutMs: number): Promise<T | null | undefined> {
    if (this.#values.size === 0 && !this.#closed && !this.#overflow) await this.#something(timeoutMs);
    if (this.#overflow) throw this.#overflow;
    const first = this.#values.entries().next().value;
    if (!first) return this.#closed ? null : undefined;
    this.#values.delete(first[0]);
    const writer = this.#writers.shift();
    if (writer) {
      this.put(writer.value);
      writer.done(true);
    }
    return first[1];
  }

  async #something(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#wakeReader = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wakeReader = null;
  }
}
