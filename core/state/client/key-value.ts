/** The replicated key-value of an instance, as its VOS and `dvs kv` use it. */
import { parseOrThrow } from "../../errors.ts";
import { stateTimeoutMs } from "../../limits.ts";
import {
  type KvChange,
  type KvEntry,
  KvEvent,
  type KvFound,
  type KvOperation,
  type KvQuery,
  type KvResult,
  KvWatch,
} from "../modules/kv-messages.ts";
import { checkedFound, checkedOperation, checkedQuery, checkedResult } from "../modules/kv-quick.ts";
import type { StateClient } from "./state-client.ts";

export interface KvOptions {
  /** Only at this revision of the key; 0: only where there is no such key. */
  ifRevision?: number;
  /** The key goes with it. */
  lease?: string;
  timeoutMs?: number;
}

/**
 * Writes reject with INVALID, UNAVAILABLE (nothing was changed) or OUTCOME_UNKNOWN (it may have been); reads with
 * INVALID or UNAVAILABLE. Reads see every write that was acknowledged before they began, on whichever node.
 */
export class KeyValue {
  readonly #client: StateClient;
  constructor(client: StateClient) {
    this.#client = client;
  }

  async get(key: string, timeoutMs?: number): Promise<KvEntry | null> {
    return (await this.#read({ get: "key", key }, timeoutMs)).entries[0] ?? null;
  }

  /** At most `limit` entries with the prefix, in order of their keys' bytes, those after the key `after`. */
  async list(prefix: string, { after, limit = 1_000, timeoutMs }: ListOptions = {}): Promise<KvEntry[]> {
    const entries: KvEntry[] = [];
    for (let from = after; ;) {
      const query = {
        get: "list" as const,
        prefix,
        limit: limit - entries.length,
        ...given({ after: from }),
      };
      const found = await this.#read(query, timeoutMs);
      entries.push(...found.entries);
      // Large values come in several answers, each of its own moment.
      if (!found.more || entries.length === limit) return entries;
      from = entries.at(-1)!.key;
    }
  }

  /** `done` is false where `ifRevision` did not hold; `revision` is then the present one. */
  put(key: string, value: Uint8Array, options: KvOptions = {}): Promise<KvResult> {
    const { ifRevision, lease, timeoutMs } = options;
    const put = { op: "put" as const, key, value };
    const isPlain = ifRevision === undefined && lease === undefined;
    return this.#write(isPlain ? put : { ...put, ...given({ ifRevision, lease }) }, timeoutMs);
  }

  /** `done` is false also where there is no such key. */
  delete(key: string, { ifRevision, timeoutMs }: Omit<KvOptions, "lease"> = {}): Promise<KvResult> {
    return this.#write({ op: "delete", key, ...given({ ifRevision }) }, timeoutMs);
  }

  /** All of the changes, or none. */
  all(changes: KvChange[], timeoutMs?: number): Promise<KvResult> {
    return this.#write({ op: "all", changes }, timeoutMs);
  }

  /** A lease that is not kept for `ttlMs` takes its keys along: never earlier, and soon after. */
  grant(lease: string, ttlMs: number): Promise<KvResult> {
    return this.#write({ op: "grant", lease, ttlMs });
  }
  /** `done` is false when it has run out. */
  keep(lease: string): Promise<KvResult> {
    return this.#write({ op: "keep", lease });
  }
  revoke(lease: string): Promise<KvResult> {
    return this.#write({ op: "revoke", lease });
  }

  /**
   * Changes of keys with the prefix after a revision (without one: from now on), each record's together, in order and
   * without a gap.
   */
  async *watch(prefix: string, after: number | undefined, signal: AbortSignal): AsyncGenerator<KvEvent> {
    const query = parseOrThrow(KvWatch, { prefix, ...given({ after }) }, "watch");
    const resume = (_query: unknown, last: unknown) => ({ prefix, after: (last as KvEvent).revision });
    for await (const event of this.#client.follow("kv", query, resume, signal)) yield KvEvent.parse(event);
  }

  async #read(query: KvQuery, timeoutMs = stateTimeoutMs): Promise<KvFound> {
    const { value } = await this.#client.read("kv", checkedQuery(query, "query"), timeoutMs);
    return checkedFound(value);
  }

  async #write(operation: KvOperation, timeoutMs = stateTimeoutMs): Promise<KvResult> {
    const checked = checkedOperation(operation, "operation");
    const { value } = await this.#client.write("kv", checked, timeoutMs);
    return checkedResult(value);
  }
}

export interface ListOptions {
  after?: string;
  /** At most 1,000. */
  limit?: number;
  timeoutMs?: number;
}

/** Without what is undefined: on the wire a field that is there has a value. */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
