/**
 * Reads of a container beside a replica: straight from the replica's database, where the guard file (../guard.ts) says
 * that it has all that was acknowledged. Whatever is in doubt is asked over the link instead.
 */
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { BootClock } from "../boot-clock.ts";
import { bucketsOf } from "../buckets.ts";
import { GuardReader } from "../guard.ts";
import type { OpenModule, StateModule } from "../module.ts";
import { ReaderBlocks } from "../reader-blocks.ts";
import { blocksDir } from "../schema.ts";

/** Where there is nothing to read by, it is looked for again after this. */
const openAgainMs = 100;

export class LocalReader {
  readonly #runDir: string;
  readonly #modules: readonly StateModule[];
  readonly #clock = new BootClock();
  #guard: GuardReader | null = null;
  #db: DatabaseSync | null = null;
  #blocks: ReaderBlocks | null = null;
  #opened = new Map<string, OpenModule>();
  #triedMs = -Infinity;
  #closed = false;

  /** The run directory of the node's state process; modules whose state is all in their tables and in blocks. */
  constructor(runDir: string, modules: readonly StateModule[]) {
    this.#runDir = runDir;
    this.#modules = modules;
  }

  /**
   * Null: ask the replica. Throws INVALID for what is no query. A value that is a promise may reject, since bytes may be
   * gone or damaged: the replica is then to be asked, too.
   */
  read(name: string, query: unknown): { value: unknown } | null {
    const guard = this.#guard ?? this.#open();
    const module = this.#opened.get(name);
    if (!guard || !module) return null;
    const keys = module.keysOf(query);
    if (keys === null || !guard.isClean(this.#clock, bucketsOf(keys))) {
      if (guard.isVoid) this.#forget();
      return null;
    }
    const value = module.read(query);
    if (!guard.isVoid) return { value };
    this.#forget();
    return null;
  }

  close(): void {
    this.#forget();
    this.#closed = true;
  }

  #open(): GuardReader | null {
    const nowMs = this.#clock.nowMs();
    if (this.#closed || nowMs - this.#triedMs < openAgainMs) return null;
    this.#triedMs = nowMs;
    const guard = GuardReader.open(this.#runDir);
    if (!guard) return null;
    try {
      const db = new DatabaseSync(guard.databasePath, { readOnly: true });
      this.#db = db;
      const blocks = new ReaderBlocks(blocksDir(dirname(guard.databasePath)));
      this.#blocks = blocks;
      for (const module of this.#modules) this.#opened.set(module.name, module.open(db, blocks));
      this.#guard = guard;
    } catch {
      // It is not there yet, or not any more.
      guard.close();
      this.#forget();
    }
    return this.#guard;
  }

  #forget(): void {
    this.#guard?.close();
    this.#guard = null;
    this.#opened = new Map();
    this.#blocks?.close();
    this.#blocks = null;
    this.#db?.close();
    this.#db = null;
  }
}
