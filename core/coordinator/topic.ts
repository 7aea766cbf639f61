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

  get subscribers(): number {
    return this.#subscribers.size;
  }
}
