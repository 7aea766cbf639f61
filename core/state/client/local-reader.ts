/**
 * Reads of a container beside a replica: straight from the replica's database, where the guard file (../guard.ts) says
 * that it has all that was acknowledged. Whatever is in doubt is asked over the link instead.
 */
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BootClock } from "../boot-clock.ts";
import { bucketsOf } from "../buckets.ts";
import { GuardReader } from "../guard.ts";
import { isSame } from "../keys.ts";
import type { ModuleBlocks, OpenModule, StateModule } from "../module.ts";
import { ReaderBlocks } from "../reader-blocks.ts";
import { blocksDir } from "../schema.ts";

/** Where there is nothing to read by, it is looked for again after this. */
const openAgainMs = 100;

/** What there is to read by: until the guard says that it is void. */
export class LocalState {
  readonly guard: GuardReader;
  readonly clock: BootClock;
  readonly blocks: ReaderBlocks;
  readonly #db: DatabaseSync;
  readonly #modules: ReadonlyMap<string, OpenModule>;

  /** Throws where the database is not there yet, or not any more. */
  constructor(
    guard: GuardReader,
    clock: BootClock,
    modules: readonly StateModule[],
    readBlob?: ModuleBlocks["readBlob"],
  ) {
    this.guard = guard;
    this.clock = clock;
    this.#db = new DatabaseSync(guard.databasePath, { readOnly: true });
    this.blocks = new ReaderBlocks(blocksDir(dirname(guard.databasePath)), readBlob);
    this.#modules = new Map(modules.map((module) => [module.name, module.open(this.#db, this.blocks)]));
  }

  module(name: string): OpenModule | undefined {
    return this.#modules.get(name);
  }

  /** Of one key: the last record that may have changed it, or `notClean`. */
  last(bucket: number): number {
    return this.guard.last(this.clock, bucket);
  }

  close(): void {
    this.guard.close();
    this.blocks.close();
    this.#db.close();
  }
}

export class LocalReader {
  readonly #runDir: string;
  readonly #modules: readonly StateModule[];
  readonly #readBlob: ModuleBlocks["readBlob"];
  readonly #clock = new BootClock();
  #state: LocalState | null = null;
  #triedMs = -Infinity;
  #closed = false;

  /**
   * The run directory of the node's state process; modules whose state is all in their tables and in blocks. `readBlob`
   * reads files of images.
   */
  constructor(runDir: string, modules: readonly StateModule[], readBlob?: ModuleBlocks["readBlob"]) {
    this.#readBlob = readBlob;
    this.#runDir = runDir;
    this.#modules = modules;
  }

  /** Null: there is nothing to read by. Another one is another database: what was kept of the one before is worth nothing. */
  state(): LocalState | null {
    const state = this.#state ?? this.#open();
    if (!state?.guard.isVoid) return state;
    this.#forget();
    return null;
  }

  /**
   * Null: ask the replica. Throws INVALID for what is no query. A value that is a promise may reject, since bytes may be
   * gone or damaged: the replica is then to be asked, too.
   */
  read(name: string, query: unknown): { value: unknown } | null {
    const state = this.#state ?? this.#open();
    const module = state?.module(name);
    if (!state || !module) return null;
    const keys = module.keysOf(query);
    const buckets = keys && bucketsOf(keys);
    const stamp = buckets && state.guard.stamp(this.#clock, buckets);
    if (stamp) {
      const value = module.read(query);
      // What the keys of a query are may depend on the state: they have to be those that were looked at.
      const isOfThese = keys.length <= 1 || isSame(keys, module.keysOf(query));
      if (isOfThese && state.guard.isUnchanged(buckets, stamp)) return { value };
    }
    if (state.guard.isVoid) this.#forget();
    return null;
  }

  close(): void {
    this.#forget();
    this.#closed = true;
  }

  #open(): LocalState | null {
    const nowMs = this.#clock.nowMs();
    if (this.#closed || nowMs - this.#triedMs < openAgainMs) return null;
    this.#triedMs = nowMs;
    const guard = GuardReader.open(this.#runDir);
    if (!guard) return null;
    try {
      this.#state = new LocalState(guard, this.#clock, this.#modules, this.#readBlob);
    } catch {
      // It is not there yet, or not any more.
      guard.close();
    }
    return this.#state;
  }

  #forget(): void {
    this.#state?.close();
    this.#state = null;
  }
}
