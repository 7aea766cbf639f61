/** Publish and subscribe inside one process: a subscriber sees what is published after it subscribed. */
export class Topic<T> {
  #subscribers = new Set<(value: T) => void>();

  publish(value: T): void {
    for (const s of this.#subscribers) s(value);
  }

  /** Returns the function that ends the subscription. */
  subscribe(subscriber: (value: T) => void): () => void {
    this.#subscribers.add(subscriber);
    return () => this.#subscribers.delete(subscriber);
  }
}

/**
 * A queue between a topic and a slow reader. Values of the same key replace each other while they wait, so its size
 * is bounded by the number of keys; without a key function the oldest go when `max` are waiting, and `dropped` says so.
 */
export class Mailbox<T> {
  #values = new Map<string, T>();
  #next = 0;
  #wake: (() => void) | null = null;
  #closed = false;
  dropped = 0;
  readonly #key: (value: T) => string;
  readonly #max: number;

  constructor(options: { key?: (value: T) => string; max?: number } = {}) {
    this.#key = options.key ?? (() => String(this.#next++));
    this.#max = options.max ?? 100_000;
  }

  put(value: T): void {
    const key = this.#key(value);
    this.#values.delete(key); // so that the newest is last
    this.#values.set(key, value);
    if (this.#values.size > this.#max) {
      this.#values.delete(this.#values.keys().next().value!);
      this.dropped += 1;
    }
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** The next value; null after `close`; undefined when `timeoutMs` passed without one. */
  async take(timeoutMs: number): Promise<T | null | undefined> {
    if (this.#values.size === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    if (this.#closed) return null;
    const first = this.#values.entries().next().value;
    if (!first) return undefined;
    this.#values.delete(first[0]);
    return first[1];
  }
}
