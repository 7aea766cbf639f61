/** Buckets of the keys that a record changes: by them it is told whether a read is clean (buckets.ts). */
import { DvsError } from "../errors.ts";
import { type LogRecord, recordKinds } from "../replica/record.ts";
import { bucketsOf } from "./buckets.ts";
import { ModuleRefusal, type OpenModule } from "./module.ts";

export interface TouchedBucketsOptions {
  /** Throws INVALID where there is no such module. */
  module: (name: string) => OpenModule;
  /** A module keeps what belongs to a client. */
  hasClients: boolean;
  /** Each is asked for twice: by the machine for reads here, and for the guard of reads beside. It is decoded once. */
  isAskedTwice: boolean;
}

export class TouchedBuckets {
  readonly #options: TouchedBucketsOptions;
  /** Of records that live elsewhere: a primary asks once, and large ones are not to stay for that. */
  readonly #known = new WeakMap<LogRecord, readonly number[] | null>();

  constructor(options: TouchedBucketsOptions) {
    this.#options = options;
  }

  /** Null: of anything. */
  of(record: LogRecord): readonly number[] | null {
    const known = this.#known.get(record);
    if (known !== undefined) {
      this.#known.delete(record);
      return known;
    }
    const buckets = this.#bucketsOf(record);
    if (this.#options.isAskedTwice) this.#known.set(record, buckets);
    return buckets;
  }

  #bucketsOf(record: LogRecord): readonly number[] | null {
    // What reads answer changes with operations, and with the level that they are carried out at.
    if (record.kind === recordKinds.level) return null;
    // What was a client's own goes with it, and that may be anything.
    if (record.kind === recordKinds.clientRemoved) return this.#options.hasClients ? null : [];
    if (record.kind !== recordKinds.operation) return [];
    try {
      const keys = this.#options.module(record.module).touched(record.operation);
      return keys && bucketsOf(keys);
    } catch (e) {
      // Its module refuses it, when it is carried out.
      if (!(e instanceof DvsError || e instanceof ModuleRefusal)) throw e;
      return null;
    }
  }
}
