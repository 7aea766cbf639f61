/**
 * Clients that are used once (`dvs kv`, `dvs cp`): the primary has each forgotten by all some time after it was heard last,
 * when nobody asks again. They are told by their sessions, which all replicas have: so it does not matter where they
 * asked, nor which process was primary then.
 */
import { onceClientMs } from "../limits.ts";
import type { WriteOutcome } from "../replica/sink.ts";

export interface OnceClientsOptions {
  /** Of each client that has a session: a number that rises with what it does. */
  progress: () => Iterable<readonly [client: string, progress: number]>;
  removeClient: (client: string, done: (outcome: WriteOutcome) => void) => void;
}

interface Seen {
  progress: number;
  /** Since when it is that. */
  atMs: number;
  /** Its removal is under way. */
  isLeaving: boolean;
}

export class OnceClients {
  readonly #options: OnceClientsOptions;
  readonly #seen = new Map<string, Seen>();

  constructor(options: OnceClientsOptions) {
    this.#options = options;
  }

  /** Another primary, or this one again. */
  reset(): void {
    this.#seen.clear();
  }

  /** As the primary, now and then. */
  review(nowMs: number): void {
    for (const [client, progress] of this.#options.progress()) {
      if (!client.startsWith("once-")) continue;
      const seen = this.#seen.get(client);
      if (seen?.progress !== progress) this.#seen.set(client, { progress, atMs: nowMs, isLeaving: false });
      else if (!seen.isLeaving && nowMs - seen.atMs >= onceClientMs) this.#remove(client, seen);
    }
  }

  #remove(client: string, seen: Seen): void {
    seen.isLeaving = true;
    this.#options.removeClient(client, () => {
      // Where that came to nothing it is found again, and has its time once more.
      if (this.#seen.get(client) === seen) this.#seen.delete(client);
    });
  }
}
