/**
 * Clients of every replica under faults: reads, puts, deletes and compare-and-sets with values that are written once,
 * by link and beside the replica, and watchers. What they were told is judged: linearizable, nothing acknowledged is
 * lost, nothing is carried out twice, nothing refused is carried out.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../../../core/errors.ts";
import type { KeyValue } from "../../../core/state/client/key-value.ts";
import type { KvResult } from "../../../core/state/modules/kv-messages.ts";
import { type Call, History, type Value } from "../../sim/replica/history.ts";
import { violation } from "../../sim/replica/linearizability.ts";

const keysPerRound = 6;
const timeoutMs = 3_000;
const pauseMsMax = 12;
const settleMs = 20;
const settleTries = 1_000;

export interface LoadClient {
  name: string;
  kv: LoadedKv;
}

export type LoadedKv = Pick<KeyValue, "get" | "put" | "delete" | "watch">;

interface Watcher {
  name: string;
  /** Revisions in the order in which they were told. */
  revisions: number[];
}

/** Key and value of one revision. */
interface Written {
  key: string;
  value: Value;
}

export interface Totals {
  reads: number;
  writes: number;
  refused: number;
  unknown: number;
}

export class Load {
  readonly totals: Totals = { reads: 0, writes: 0, refused: 0, unknown: 0 };
  readonly #clients: readonly LoadClient[];
  readonly #random: () => number;
  readonly #watchers: Watcher[] = [];
  readonly #watching = new AbortController();
  /** By revision, whoever told it first. */
  readonly #written = new Map<number, Written>();
  /** Value → the revision that it came with. */
  readonly #revisionOf = new Map<string, number>();
  readonly #refused = new Set<string>();
  readonly #mistakes: string[] = [];
  #values = 0;
  #history = new History();
  /** Compare-and-sets that failed: what they found is known by its revision. */
  #failedSets: { call: Call; revision: number }[] = [];
  #acknowledged: number[] = [];
  #acknowledgements: { client: string; atMs: number }[] = [];
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();
  #round = 0;
  /** What the round before has left, by key. */
  #left = new Map<string, Value>();

  constructor(clients: readonly LoadClient[], watchers: readonly LoadClient[], random: () => number) {
    this.#clients = clients;
    this.#random = random;
    for (const { name, kv } of watchers) {
      const watcher = { name, revisions: [] };
      this.#watchers.push(watcher);
      void this.#watch(watcher, kv);
    }
  }

  begin(): void {
    this.#round++;
    this.#history = new History();
    this.#failedSets = [];
    this.#acknowledged = [];
    this.#acknowledgements = [];
    this.#stopping = false;
    this.#running = Promise.all(this.#clients.map((client) => this.#work(client)));
  }

  /** So many writes have been acknowledged in this round. */
  async acknowledged(count: number): Promise<void> {
    const before = this.#acknowledged.length;
    for (let i = 0; i < settleTries; i++) {
      if (this.#acknowledged.length >= before + count) return;
      await sleep(settleMs);
    }
    throw new Error(`no ${count} writes were acknowledged`);
  }

  /** The longest time between two acknowledged writes since then, in milliseconds; of all clients, or of these. */
  longestGapMs(sinceMs: number, clients?: readonly string[]): number {
    const of = this.#acknowledgements.filter(({ client }) => clients?.includes(client) ?? true);
    const times = [sinceMs, ...of.map(({ atMs }) => atMs).filter((ms) => ms > sinceMs), performance.now()];
    return Math.max(...times.slice(1).map((ms, i) => ms - times[i]!));
  }

  hasWritten(by: string, sinceMs: number): boolean {
    return this.#acknowledgements.some(({ client, atMs }) => client === by && atMs >= sinceMs);
  }

  /** Ends the round, with a last look at every key from every client. What is wrong, in words. */
  async end(): Promise<string[]> {
    this.#stopping = true;
    await this.#running;
    for (const { name, kv } of this.#clients) {
      for (const key of this.#keys(this.#round)) await this.#read(name, kv, key);
      for (const [key, value] of this.#left) {
        const found = decoded((await kv.get(key))?.value);
        if (found !== value) this.#mistakes.push(`${key} was ${value}, and is ${found} at ${name}`);
      }
    }
    await this.#watchersHave(Math.max(0, ...this.#acknowledged));
    this.#judge();
    this.#left = new Map();
    const [{ kv }] = this.#clients as [LoadClient];
    for (const key of this.#keys(this.#round)) this.#left.set(key, decoded((await kv.get(key))?.value));
    return this.#mistakes.splice(0);
  }

  close(): void {
    this.#watching.abort();
  }

  #keys(round: number): string[] {
    return Array.from({ length: keysPerRound }, (_, i) => `r/${round}/${i}`);
  }

  async #work({ name, kv }: LoadClient): Promise<void> {
    const seen = new Map<string, { value: Value; revision: number }>();
    const keys = this.#keys(this.#round);
    while (!this.#stopping) {
      const key = keys[Math.floor(this.#random() * keys.length)]!;
      const what = this.#random();
      const known = seen.get(key);
      if (what < 0.5 || (what >= 0.8 && !known)) {
        const entry = await this.#read(name, kv, key);
        if (entry) seen.set(key, entry);
      } else if (what < 0.76) await this.#put(name, kv, key);
      else if (what < 0.8) await this.#delete(name, kv, key);
      else await this.#compareAndSet(name, kv, key, known!);
      await sleep(this.#random() * pauseMsMax);
    }
  }

  async #read(name: string, kv: LoadedKv, key: string) {
    const call = this.#history.begin(name, key, { kind: "read", value: null });
    try {
      const entry = await kv.get(key, timeoutMs);
      const value = decoded(entry?.value);
      this.#history.end(call, name, value);
      this.totals.reads++;
      if (entry) this.#tell(entry.revision, { key, value }, `a read at ${name}`);
      return { value, revision: entry?.revision ?? 0 };
    } catch (e) {
      // Whoever was told nothing has seen nothing.
      if (codeOf(e) !== "UNAVAILABLE") this.#mistakes.push(`a read at ${name}: ${String(e)}`);
      this.#history.refuse(call);
      return null;
    }
  }

  async #put(name: string, kv: LoadedKv, key: string): Promise<void> {
    const value = this.#newValue(name);
    const call = this.#history.begin(name, key, { kind: "write", value });
    await this.#write(call, value, () => kv.put(key, encoded(value), { timeoutMs }));
  }

  async #delete(name: string, kv: LoadedKv, key: string): Promise<void> {
    const call = this.#history.begin(name, key, { kind: "write", value: null });
    await this.#write(call, null, () => kv.delete(key, { timeoutMs }));
  }

  async #compareAndSet(
    name: string,
    kv: LoadedKv,
    key: string,
    { value: expected, revision: ifRevision }: { value: Value; revision: number },
  ): Promise<void> {
    const value = this.#newValue(name);
    const call = this.#history.begin(name, key, { kind: "cas", expected, value, actual: null });
    await this.#write(call, value, () => kv.put(key, encoded(value), { ifRevision, timeoutMs }));
  }

  async #write(call: Call, value: Value, write: () => Promise<KvResult>): Promise<void> {
    const { client, key, action } = call;
    try {
      const { done, revision } = await write();
      this.totals.writes++;
      if (action.kind === "cas") this.#history.end(call, client, action.expected);
      else this.#history.end(call, client);
      if (!done && action.kind === "cas") {
        this.#failedSets.push({ call, revision });
        this.#refused.add(action.value);
      }
      if (!done) return;
      this.#acknowledgements.push({ client, atMs: performance.now() });
      this.#acknowledged.push(revision);
      this.#tell(revision, { key, value }, `${client}, who wrote it`);
    } catch (e) {
      const code = codeOf(e);
      if (code === "OUTCOME_UNKNOWN") {
        this.totals.unknown++;
        return;
      }
      if (code !== "UNAVAILABLE") this.#mistakes.push(`a write at ${client}: ${String(e)}`);
      this.totals.refused++;
      this.#history.refuse(call);
      if (value !== null) this.#refused.add(value);
    }
  }

  /** Each revision is of one key and value, and each value of one revision: else it was lost, or written twice. */
  #tell(revision: number, { key, value }: Written, who: string): void {
    const known = this.#written.get(revision);
    if (known && (known.key !== key || known.value !== value)) {
      const others = `${known.key} = ${known.value}`;
      this.#mistakes.push(`revision ${revision} is ${key} = ${value} for ${who}, and ${others} for another`);
    }
    this.#written.set(revision, { key, value });
    if (value === null) return;
    const before = this.#revisionOf.get(value);
    if (before !== undefined && before !== revision)
      this.#mistakes.push(`${value} was written twice, at ${before} and ${revision}: ${who}`);
    this.#revisionOf.set(value, revision);
  }

  async #watch(watcher: Watcher, kv: LoadedKv): Promise<void> {
    try {
      for await (const { revision, changes } of kv.watch("r/", 0, this.#watching.signal)) {
        if (revision <= (watcher.revisions.at(-1) ?? 0))
          this.#mistakes.push(`${watcher.name} was told revision ${revision} again, or late`);
        watcher.revisions.push(revision);
        for (const { key, value } of changes)
          this.#tell(revision, { key, value: decoded(value ?? undefined) }, watcher.name);
      }
    } catch (e) {
      if (!this.#watching.signal.aborted)
        this.#mistakes.push(`${watcher.name} was told nothing more: ${String(e)}`);
    }
  }

  async #watchersHave(revision: number): Promise<void> {
    const behind = () => this.#watchers.filter(({ revisions }) => (revisions.at(-1) ?? 0) < revision);
    for (let i = 0; i < settleTries && behind().length > 0; i++) await sleep(settleMs);
    for (const { name, revisions } of behind())
      this.#mistakes.push(
        `${name} was told up to ${revisions.at(-1)} only, and ${revision} was acknowledged`,
      );
  }

  #judge(): void {
    for (const { call, revision } of this.#failedSets) {
      const actual = revision === 0 ? null : this.#written.get(revision)?.value;
      if (actual !== undefined && call.action.kind === "cas") call.action.actual = actual;
      else this.#history.refuse(call);
    }
    const wrong = violation(this.#history.calls);
    if (wrong) this.#mistakes.push(wrong);
    for (const value of this.#refused) {
      if (this.#revisionOf.has(value)) this.#mistakes.push(`${value} was refused, and carried out`);
    }
    this.#refused.clear();
    for (const { name, revisions } of this.#watchers) {
      const told = new Set(revisions);
      const missed = this.#acknowledged.filter((revision) => !told.has(revision));
      if (missed.length > 0) this.#mistakes.push(`${name} was never told of ${missed.join(", ")}`);
    }
  }

  #newValue(name: string): string {
    return `${name}-${++this.#values}`;
  }
}

function codeOf(e: unknown): string {
  return e instanceof DvsError ? e.code : "";
}

function encoded(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function decoded(bytes: Uint8Array | undefined): Value {
  return bytes ? new TextDecoder().decode(bytes) : null;
}
