/**
 * What all users of an instance's file system in one host process share: the way to the replicas, what is open, which
 * locks are waited for. `volume-client.ts` is the FileSystem over it, one for each owner.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../../errors.ts";
import { attendTtlMs, changedTriesMax, openRetryMs } from "../../limits.ts";
import type { StateAnswer } from "../../state/client/state-client.ts";
import { FileError } from "../errno.ts";
import type { FileFollow, FileOperation, FileQuery } from "../operations.ts";
import { attend } from "./attendance.ts";
import { LockWaits } from "./lock-waits.ts";
import type { NearVolume } from "./near-volume.ts";
import { Opens } from "./opens.ts";
import { Changed, valuesOf, type What } from "./results.ts";

/** What it needs of a StateClient. */
export interface VolumeState {
  write(module: string, operation: unknown, timeoutMs?: number): Promise<StateAnswer>;
  read(module: string, query: unknown, timeoutMs?: number): Promise<StateAnswer>;
  follow(
    module: string,
    query: unknown,
    resume: (query: unknown, last: unknown) => unknown,
    signal: AbortSignal,
  ): AsyncIterable<unknown>;
  /** Resolves when all that was acknowledged before is on the disks of all replicas in sync. */
  sync(): Promise<void>;
}

export interface VolumeOptions {
  state: VolumeState;
  /** The name of the state's client: its opens and locks are by it. */
  client: string;
  /**
   * Its name is used again for the same request, which is then to come to the same operations: also where the first
   * one has removed what it names.
   */
  once?: boolean;
  /** For a client that is no kernel, and is not `once-…` either: it says that it is there. */
  attends?: boolean;
  /** Reads beside a replica; null where it has to be asked. */
  near?: () => NearVolume | null;
  /** Reads files of the image, where this node has it. */
  readBlob?: ReadBlob;
}

/** Part of a blob, by the hex digits of its SHA-256. */
export type ReadBlob = (digest: string, position: number, length: number) => Promise<Uint8Array>;

const module = "files";

export class Volume {
  readonly state: VolumeState;
  readonly client: string;
  readonly isOnce: boolean;
  readonly opens: Opens;
  readonly locks: LockWaits;
  readonly readBlob: ReadBlob | null;
  readonly #near: () => NearVolume | null;
  readonly #closed = new AbortController();
  /** Shared offsets → how often they are used here: the replicas count this client once. */
  readonly #offsets = new Map<string, number>();

  constructor({ state, client, once = false, attends = false, near = () => null, readBlob }: VolumeOptions) {
    this.state = state;
    this.client = client;
    this.isOnce = once;
    this.#near = near;
    this.readBlob = readBlob ?? null;
    this.opens = new Opens((operation) => this.operate(operation, () => "say which files are open"));
    this.locks = new LockWaits(this);
    if (!attends) return;
    const operate = (operation: FileOperation) =>
      this.operate(operation, () => "say that this client is there");
    void attend({ ttlMs: attendTtlMs, operate, lost: () => this.opens.tellAgain(), signal: this.closed });
  }

  get near(): NearVolume | null {
    return this.#near();
  }

  /** Aborted when the volume is closed. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** Rejects with FileError, Changed, or a DvsError of the state. */
  async operate(operation: FileOperation, what: What): Promise<readonly unknown[]> {
    const { value } = await this.state.write(module, operation);
    return valuesOf(value, what);
  }

  /** Carried out as soon as a replica can be asked, or never, where the volume is closed or the operation is refused. */
  async eventually(operation: FileOperation, what: What): Promise<void> {
    const { closed } = this;
    while (!closed.aborted) {
      const error = await this.operate(operation, what).then(
        () => null,
        (e: unknown) => e,
      );
      if (error === null || error instanceof FileError) return;
      await sleep(openRetryMs, undefined, { signal: closed, ref: false }).catch(() => undefined);
    }
  }

  async query(query: FileQuery, what: What): Promise<readonly unknown[]> {
    const { value } = await this.state.read(module, query);
    return valuesOf(value, what);
  }

  /** Values as they come; after a broken link behind the last one. */
  follow(
    query: FileFollow,
    resume: (query: FileFollow, last: unknown) => FileFollow,
    signal: AbortSignal,
  ): AsyncIterable<unknown> {
    return this.state.follow(module, query, resume as (query: unknown, last: unknown) => unknown, signal);
  }

  /** What somebody looked at before has changed: looks again, and acts by it. */
  async again<T>(act: () => Promise<T>, what: What): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return await act();
      } catch (e) {
        if (!(e instanceof Changed)) throw e;
        if (tries === changedTriesMax) {
          throw new FileError("EBUSY", `cannot ${what()}: it has changed ${tries} times meanwhile`);
        }
      }
    }
  }

  /** One more here uses the offset. Whether it is the first. */
  useOffset(id: string): boolean {
    const users = this.#offsets.get(id) ?? 0;
    this.#offsets.set(id, users + 1);
    return users === 0;
  }

  /** Whether it was the last one here. */
  leaveOffset(id: string): boolean {
    const users = (this.#offsets.get(id) ?? 1) - 1;
    if (users > 0) this.#offsets.set(id, users);
    else this.#offsets.delete(id);
    return users === 0;
  }

  /** Says what is not open any more. Files of it that are open lose what keeps them, once they are unlinked. */
  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort(new DvsError("UNAVAILABLE", "The file system was closed."));
    await this.opens.close();
  }
}
