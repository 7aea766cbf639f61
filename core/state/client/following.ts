/** What somebody follows, across links: values as they come, each once. Bounded by whoever reads too slowly: it ends. */
import { DvsError } from "../../errors.ts";
import { followedMax } from "../../limits.ts";
import { clientNumbers } from "./messages.ts";

export class Following implements AsyncIterable<unknown> {
  readonly #ticket: number;
  readonly #module: string;
  readonly #resume: (query: unknown, last: unknown) => unknown;
  readonly #onEnd: () => void;
  #query: unknown;
  #values: unknown[] = [];
  #wake: (() => void) | null = null;
  #ended = false;
  #error: DvsError | null = null;

  constructor(
    ticket: number,
    module: string,
    query: unknown,
    resume: (query: unknown, last: unknown) => unknown,
    onEnd: () => void,
  ) {
    this.#ticket = ticket;
    this.#module = module;
    this.#query = query;
    this.#resume = resume;
    this.#onEnd = onEnd;
  }

  /** The message that asks for what has not come yet. */
  fields(): readonly unknown[] {
    return [clientNumbers.follow, this.#ticket, this.#module, this.#query];
  }

  push(value: unknown): void {
    if (this.#ended) return;
    this.#query = this.#resume(this.#query, value);
    if (this.#values.push(value) > followedMax) {
      this.fail(
        new DvsError("UNAVAILABLE", `Cannot follow ${this.#module}: more than ${followedMax} unread.`),
      );
    }
    this.#wake?.();
  }

  fail(error: DvsError): void {
    this.#error ??= error;
    this.end();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#onEnd();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<unknown> {
    try {
      for (;;) {
        while (this.#values.length > 0) {
          const values = this.#values;
          this.#values = [];
          yield* values;
        }
        if (this.#error) throw this.#error;
        if (this.#ended) return;
        await new Promise<void>((resolve) => (this.#wake = resolve));
        this.#wake = null;
      }
    } finally {
      this.end();
    }
  }
}
