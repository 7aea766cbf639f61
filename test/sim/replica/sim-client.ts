/** A client that uses keys as registers. What it asks and hears is the history. */
import type { Host } from "../harness/host.ts";
import { AskingClient, type AskingHabits, type Wanted } from "./asking-client.ts";
import type { Call, History, Value } from "./history.ts";
import type { Answer } from "./load.ts";
import type { ReplicaWorld } from "./replica-world.ts";
import { encodeOperation, type Result } from "./sim-state.ts";

/** As the module key-value has them (core/state/modules). */
export type Operation =
  { op: "put"; key: string; value: string; ifRevision?: number } | { op: "delete"; key: string };

interface KeyCall {
  call: Call;
  key: string;
  /** Null: a read. */
  operation: Operation | null;
  /** Of a put that expects a revision: what it was that had it. */
  expected: Value;
}

export interface Habits extends AskingHabits {
  reads: number;
  deletes: number;
  compareAndSets: number;
  keys: number;
}

export class SimClient extends AskingClient<KeyCall> {
  readonly #habits: Habits;
  readonly #history: History;
  /** Key → what it was when this client last heard of it. */
  readonly #seen = new Map<string, { revision: number; value: Value }>();

  constructor(world: ReplicaWorld, host: Host, habits: Habits, history: History) {
    super(world, host, habits);
    this.#habits = habits;
    this.#history = history;
  }

  forget(): void {
    this.#seen.clear();
  }

  protected next(nextSequence: number): Wanted<KeyCall> {
    const { random } = this.world.sim;
    const history = this.#history;
    const { reads, deletes, compareAndSets, keys } = this.#habits;
    const key = `k${random.integer(1, keys)}`;
    const dice = random.float();
    const timeoutMs = this.#habits.timeoutMs * random.between(0.5, 1.5);
    if (dice < reads) {
      const call = history.begin(this.name, key, { kind: "read", value: null });
      return {
        call: { call, key, operation: null, expected: null },
        operation: null,
        query: key,
        timeoutMs,
      };
    }
    const value = `${this.name}/${nextSequence}`;
    let call: Call;
    let operation: Operation = { op: "put", key, value };
    let expected: Value = null;
    if (dice < reads + deletes) {
      operation = { op: "delete", key };
      call = history.begin(this.name, key, { kind: "write", value: null });
    } else if (dice < reads + deletes + compareAndSets) {
      const seen = this.#seen.get(key) ?? { revision: 0, value: null };
      operation = { op: "put", key, value, ifRevision: seen.revision };
      expected = seen.value;
      call = history.begin(this.name, key, { kind: "cas", expected, value, actual: null });
    } else call = history.begin(this.name, key, { kind: "write", value });
    return {
      call: { call, key, operation, expected },
      operation: encodeOperation(operation),
      query: null,
      timeoutMs,
    };
  }

  protected about({ key }: KeyCall): string {
    return key;
  }

  protected tell({ operation, expected }: KeyCall, sequence: number): string {
    if (!operation) return "read";
    const isConditional = operation.op === "put" && operation.ifRevision !== undefined;
    return `${operation.op} ${sequence}${isConditional ? ` if ${expected ?? "nothing"}` : ""}`;
  }

  protected refused({ call }: KeyCall): void {
    this.#history.refuse(call);
  }

  protected unknown({ call }: KeyCall): void {
    const { kind } = call.action;
    this.world.sim.count(
      kind === "cas" ? "client:unknown outcome of a compare-and-set" : "client:unknown outcome",
    );
  }

  protected answered(asked: KeyCall, answer: Answer & { outcome: "ok" }, at: string, tell: string): void {
    const result = answer.result as Result;
    this.#note(asked, result);
    const { call, key, expected } = asked;
    const { revision, value, done } = result;
    this.world.sim.log(
      `${this.name} ${key} ${tell} at ${at}: ${done ? "" : "not "}done r${revision} ${value ?? ""}`,
    );
    if (call.action.kind === "read") this.#history.end(call, at, value);
    else if (call.action.kind === "write") this.#history.end(call, at);
    else this.#history.end(call, at, done ? expected : value);
  }

  /** What a later compare-and-set expects. */
  #note({ key, operation }: KeyCall, { revision, done, value }: Result): void {
    const before = this.#seen.get(key);
    if (before && before.revision > revision) return;
    if (!operation) this.#seen.set(key, { revision, value });
    else if (operation.op === "delete") this.#seen.set(key, { revision: 0, value: null });
    else if (done) this.#seen.set(key, { revision, value: operation.value });
    else this.#seen.set(key, { revision, value });
  }
}
