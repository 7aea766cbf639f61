/** Keys and values: the state of a replica with the semantics of the module key-value, and clients who use it as registers. */
import type { LogRecord } from "../../../core/replica/record.ts";
import { recordKinds } from "../../../core/replica/record.ts";
import type { AppliedState, SessionChange } from "../../../core/replica/sink.ts";
import type { Host } from "../harness/host.ts";
import { History } from "./history.ts";
import { violation } from "./linearizability.ts";
import type { Frozen, Life, Load, State, StateStore } from "./load.ts";
import type { ReplicaWorld } from "./replica-world.ts";
import { type Habits, SimClient } from "./sim-client.ts";
import type { SimNode } from "./sim-node.ts";
import {
  bucketOf,
  decodeOperation,
  decodeResult,
  keyOf,
  moduleName,
  type Result,
  SimState,
} from "./sim-state.ts";

export class KvLoad implements Load {
  readonly module = moduleName;
  readonly dueMs = Infinity;
  readonly history = new History();
  readonly #world: ReplicaWorld;
  readonly #habits: Habits;

  constructor(world: ReplicaWorld) {
    const { random } = world.sim;
    this.#world = world;
    this.#habits = {
      calls: random.pick([1, 2, 4]),
      pauseMs: random.pick([2, 10, 40]),
      reads: random.pick([0.3, 0.6]),
      deletes: random.pick([0, 0.05]),
      compareAndSets: random.pick([0.1, 0.3]),
      attemptMs: random.pick([60, 250, 900]),
      timeoutMs: random.pick([500, 4_000]),
      keys: random.pick([2, 5]),
    };
  }

  get calls(): number {
    return this.history.calls.length;
  }

  newClient(host: Host): SimClient {
    return new SimClient(this.#world, host, this.#habits, this.history);
  }

  newStore(node: SimNode): KvStore {
    return new KvStore(node);
  }

  decodeResult(bytes: Uint8Array): Result {
    return decodeResult(bytes);
  }

  tell({ kind, operation }: LogRecord): string {
    if (kind !== recordKinds.operation) return "";
    const { op, key } = decodeOperation(operation);
    return ` ${op} ${key}`;
  }

  executed(): void {}
  stepped(): void {}

  applied(_record: LogRecord, state: State): void {
    if (this.history.awaitsRest) this.history.left((state as KvState).values);
  }

  lose(): void {
    this.history.lose();
  }

  unsettled(): null {
    return null;
  }

  violation(): string | null {
    for (const calls of this.history.eras) {
      const wrong = violation(calls);
      if (wrong !== null) return wrong;
    }
    return null;
  }
}

class KvStore implements StateStore {
  readonly #node: SimNode;
  /** As of its last transaction. */
  database: SimState | null = null;

  constructor(node: SimNode) {
    this.#node = node;
  }

  get stored(): Frozen | null {
    return this.database;
  }

  lost(): void {
    this.database = null;
  }

  freeze(): Frozen {
    return this.database!.clone();
  }

  sync(_snapshot: Frozen, _before: Frozen | null, done: () => void): void {
    done();
  }

  open(life: Life, from: "database" | Frozen | null, done: (state: State) => void): void {
    const source = from === "database" ? this.database : (from as SimState | null);
    done(new KvState(this, life, source?.clone() ?? new SimState()));
  }

  readBeside(query: unknown): { result: unknown } | null {
    const { guard, host } = this.#node;
    const key = query as string;
    if (!this.database || !guard?.allows([bucketOf(key)], host.nowMs())) return null;
    return { result: { done: true, ...this.database.read(key) } };
  }

  close(): void {
    this.database = null;
  }
}

class KvState implements State {
  readonly #store: KvStore;
  readonly #life: Life;
  #state: SimState;
  #committing = false;
  readonly isHeld = false;

  constructor(store: KvStore, life: Life, state: SimState) {
    this.#store = store;
    this.#life = life;
    this.#state = state;
    store.database = state.clone();
  }

  get index(): number {
    return this.#state.index;
  }
  get epoch(): number {
    return this.#state.epoch;
  }
  get level(): number {
    return this.#state.levels.get(moduleName) ?? 0;
  }
  get values(): SimState["values"] {
    return this.#state.values;
  }

  execute(record: LogRecord): Uint8Array {
    return this.#state.execute(record);
  }
  sessionChanged(change: SessionChange): void {
    this.#state.sessionChanged(change);
  }
  levelRaised(module: string, level: number): void {
    this.#state.levels.set(module, level);
  }
  applied({ index, epoch, timeMs }: LogRecord): void {
    Object.assign(this.#state, { index, epoch, timeMs });
  }

  /** Transactions are committed some time after. */
  commitSoon(): void {
    const { host, world } = this.#life.node;
    if (this.#committing) return;
    this.#committing = true;
    host.after(world.commitMs, () => this.#commit());
  }

  #commit(): void {
    this.#committing = false;
    // The log is the truth: the database is never ahead of it.
    if (this.#life.written() < this.index) return;
    this.#store.database = this.#state.clone();
    this.#life.committed(this.index);
  }

  appliedState(): AppliedState {
    return this.#state.applied();
  }
  digest(): string {
    return this.#state.digest();
  }
  touched(record: LogRecord): readonly number[] {
    const key = keyOf(record);
    return key === null ? [] : [bucketOf(key)];
  }
  bucketsOf(query: unknown): readonly number[] {
    return [bucketOf(query as string)];
  }
  read(query: unknown): unknown {
    return { done: true, ...this.#state.read(query as string) };
  }
  due(): null {
    return null;
  }
  freeze(): Frozen {
    return this.#state.clone();
  }

  kept(): void {}
  hold(): () => void {
    return () => undefined;
  }
  receive(_from: string, _snapshot: Frozen, _isDiverged: boolean, done: (isThere: boolean) => void): void {
    done(true);
  }
  install(snapshot: Frozen): void {
    this.#state = (snapshot as SimState).clone();
    this.#store.database = this.#state.clone();
  }
  received(): void {}
  linkDown(): void {}

  close(done: () => void): void {
    this.#commit();
    done();
  }
  died(): void {}
}
