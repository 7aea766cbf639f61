/**
 * A file system of this process alone: the same module and the same client as an instance's, over a database in memory.
 * For tests, and for work on what uses a FileSystem. Several clients share one.
 */
import { randomBytes } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { DvsError } from "../errors.ts";
import type { StateAnswer } from "../state/client/state-client.ts";
import type { Follower, ModuleBlocks, OpenModule } from "../state/module.ts";
import { ModuleRefusal } from "../state/module.ts";
import { decodeResult, encodeResult } from "../state/result.ts";
import type { VolumeOptions, VolumeState } from "./client/volume.ts";
import { VolumeClient } from "./client/volume-client.ts";
import { files } from "./module/files.ts";
import { MemoryBlocks } from "./module/memory-blocks.ts";
import type { FileOperation } from "./operations.ts";

/** As the primary asks what is due. */
const dueMs = 1_000;
const eventsPerTurn = 64;

export interface LoneOptions {
  /** Unix milliseconds. */
  now?: () => number;
  /** Reads files of images, by their digests. */
  readBlob?: NonNullable<ModuleBlocks["readBlob"]>;
}

export class LoneVolume {
  readonly blocks = new MemoryBlocks();
  readonly #db = new DatabaseSync(":memory:");
  readonly #module: OpenModule;
  readonly #now: () => number;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #clients: VolumeClient[] = [];
  #index = 0;
  #timeMs = 0;
  /** Woken when something was applied. */
  #waiting: (() => void)[] = [];
  #closed = false;

  constructor({ now = Date.now, readBlob }: LoneOptions = {}) {
    this.#now = now;
    if (readBlob) this.blocks.readBlob = readBlob;
    files.create(this.#db);
    this.#module = files.open(this.#db, this.blocks);
    this.#timer = setInterval(() => this.tidy(), dueMs);
    this.#timer.unref?.();
  }

  /** A FileSystem for a client of this name. */
  client(name: string, options: Pick<VolumeOptions, "readBlob"> = {}): VolumeClient {
    const client = VolumeClient.open({ ...options, state: this.#stateOf(name), client: name });
    this.#clients.push(client);
    return client;
  }

  /** One that no client has a call for, as `setQuota`. */
  operate(operation: FileOperation): void {
    this.#apply("", this.#module.encode(operation));
  }

  /** As if a kernel was removed. */
  removeClient(name: string): void {
    const context = { index: ++this.#index, timeMs: this.#time() };
    this.#inTransaction(() => this.#module.clientRemoved?.(name, context));
    this.#wake();
  }

  /** What is due by now, one step of it; returns whether there was something. */
  tidy(): boolean {
    const operation = this.#closed ? null : this.#module.due?.(this.#time());
    if (!operation) return false;
    this.#apply("", operation);
    return true;
  }

  /** With all clients. */
  async close(): Promise<void> {
    if (this.#closed) return;
    clearInterval(this.#timer);
    for (const client of this.#clients) await client.close();
    this.#closed = true;
    this.#wake();
    this.#db.close();
  }

  #stateOf(client: string): VolumeState {
    return {
      write: async (_module, operation) => this.#write(client, operation),
      read: async (_module, query): Promise<StateAnswer> => {
        this.#checkOpen();
        return { value: await this.#module.read(query), index: this.#index };
      },
      follow: (_module, query, _resume, signal) => this.#follow(query, signal),
      sync: () => Promise.resolve(),
    };
  }

  #write(client: string, operation: unknown): StateAnswer {
    this.#checkOpen();
    const value = this.#apply(client, this.#module.encode(operation));
    return { value, index: this.#index };
  }

  #apply(client: string, operation: Uint8Array): unknown {
    const context = {
      index: ++this.#index,
      timeMs: this.#time(),
      random: randomBytes(16),
      client,
      level: files.level,
    };
    try {
      const result = this.#inTransaction(() => encodeResult(this.#module.apply(operation, context)));
      const decoded = decodeResult(result);
      return decoded.ok ? decoded.value : decoded.message;
    } catch (e) {
      if (e instanceof ModuleRefusal) throw new DvsError("INVALID", e.message);
      throw e;
    } finally {
      this.#wake();
    }
  }

  #inTransaction<T>(act: () => T): T {
    this.#db.exec("BEGIN");
    try {
      const result = act();
      this.#db.exec("COMMIT");
      return result;
    } catch (e) {
      this.#db.exec("ROLLBACK");
      throw e;
    }
  }

  async *#follow(query: unknown, signal: AbortSignal): AsyncGenerator {
    const follower: Follower | undefined = this.#module.follow?.(query);
    if (!follower) throw new DvsError("INVALID", "Nothing can be followed here.");
    const onAbort = () => this.#wake();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted && !this.#closed) {
        const values = follower.next(eventsPerTurn);
        if (values.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
        else yield* values;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  /** Records' times never go back. */
  #time(): number {
    return (this.#timeMs = Math.max(this.#timeMs, this.#now()));
  }

  #checkOpen(): void {
    if (this.#closed) throw new DvsError("UNAVAILABLE", "The file system is closed.");
  }
}

export function openLone(options: LoneOptions = {}): LoneVolume {
  return new LoneVolume(options);
}
