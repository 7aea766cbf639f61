/**
 * Blobs that are missing or corrupted, until an agent says that they are good again. A container cannot fetch: it has
 * no way to the coordinator. What nobody answered is asked again on the next link.
 */
import { DvsError } from "../errors.ts";
import { blobRepairTimeoutMs } from "../limits.ts";
import type { FromContainer, ToContainer } from "./control.ts";

interface Repair {
  done: Promise<void>;
  resolve: () => void;
  reject: (error: DvsError) => void;
}

export class BlobRepairs {
  readonly #send: (message: FromContainer) => void;
  readonly #pending = new Map<string, Repair>();

  constructor(send: (message: FromContainer) => void) {
    this.#send = send;
  }

  /** Waits until the blob is good. Rejects with UNAVAILABLE when nobody can give it, or nobody answers in time. */
  ask(digest: string): Promise<void> {
    const known = this.#pending.get(digest);
    if (known) return known.done;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#settle(digest, `no answer within ${blobRepairTimeoutMs / 1000} s`);
    }, blobRepairTimeoutMs);
    const done = promise.finally(() => clearTimeout(timer));
    this.#pending.set(digest, { done, resolve, reject });
    this.#send({ type: "badBlob", digest });
    return done;
  }

  /** What a new agent has to be told. */
  messages(): FromContainer[] {
    return [...this.#pending.keys()].map((digest) => ({ type: "badBlob", digest }));
  }

  answer(message: Extract<ToContainer, { type: "blob" }>): void {
    this.#settle(message.digest, message.ok ? null : message.reason);
  }

  #settle(digest: string, failure: string | null): void {
    const repair = this.#pending.get(digest);
    if (!repair) return;
    this.#pending.delete(digest);
    if (failure === null) repair.resolve();
    else repair.reject(new DvsError("UNAVAILABLE", `Cannot get blob ${digest} again: ${failure}`));
  }
}
