/**
 * What really happened to each call, told by those to whom it happened: who made it, who took it, how it ended. From
 * it follows whether each outcome was the truth.
 */
import { type Endpoint, formatEndpoint } from "../../../core/kernel/endpoint.ts";
import type { Outcome } from "../../../core/kernel/outcome.ts";
import type { Simulation } from "../harness/simulation.ts";

export interface Entry {
  id: number;
  kind: "send" | "request";
  /** Life of the process that makes it. */
  by: number;
  source: Endpoint;
  to: Endpoint;
  /** Counts the caller's calls to this destination. */
  sequence: number;
  outcome: Outcome | null;
  /** Life of the process that took it; 0: none has. */
  taker: number;
  replied: boolean;
}

/** Outcomes after which no process may have taken the message. */
const notDone = new Set<Outcome>([
  ...(["TIMED_OUT", "CANCELLED", "NOT_BOUND", "NOT_ALLOWED", "TOO_LARGE", "DEADLOCK", "BUSY"] as const),
  ...(["NOT_WAITING", "EXITED"] as const),
]);

/** Notifications between two lives. */
interface Notified {
  by: number;
  to: number;
  sent: number;
  taken: number;
}

export class Ledger {
  readonly #sim: Simulation;
  readonly entries = new Map<number, Entry>();
  /** Lives of processes that are no more, by unbind or with their kernel. */
  readonly dead = new Set<number>();
  /** `life>endpoint` → sequence of the last message taken. */
  readonly #last = new Map<string, number>();
  readonly #sequences = new Map<string, number>();
  #ended: { entry: Entry; answer: unknown }[] = [];
  #ids = 0;
  taken = 0;
  /** `source>destination` → notifications between two lives; of others of the same endpoints nothing is claimed. */
  readonly #notified = new Map<string, Notified>();

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  begin(kind: Entry["kind"], by: number, source: Endpoint, to: Endpoint): Entry {
    const id = ++this.#ids;
    const pair = `${by}>${to}`;
    const sequence = (this.#sequences.get(pair) ?? 0) + 1;
    this.#sequences.set(pair, sequence);
    const entry: Entry = { id, kind, by, source, to, sequence, outcome: null, taker: 0, replied: false };
    this.entries.set(id, entry);
    return entry;
  }

  take(id: number, taker: number, at: Endpoint, source: Endpoint): void {
    const entry = this.#of(id);
    this.taken++;
    assert(entry.to === at, () => `${show(entry)} was taken by ${formatEndpoint(at)}`);
    assert(entry.source === source, () => `${show(entry)} came as from ${formatEndpoint(source)}`);
    assert(entry.taker === 0, () => `${show(entry)} was taken twice, by ${entry.taker} and by ${taker}`);
    entry.taker = taker;
    const { outcome } = entry;
    assert(!outcome || !notDone.has(outcome), () => `${show(entry)} ended as ${outcome} and was taken then`);
    assert(outcome !== "DIED", () => `${show(entry)} ended as DIED and was taken by a process that lives`);
    const pair = `${entry.by}>${entry.to}`;
    const last = this.#last.get(pair) ?? 0;
    assert(entry.sequence > last, () => `${show(entry)} was taken after a later one, ${last}`);
    this.#last.set(pair, entry.sequence);
  }

  reply(id: number, taker: number): void {
    const entry = this.#of(id);
    assert(entry.taker === taker, () => `${show(entry)} is replied to by ${taker}`);
    assert(!entry.replied, () => `${show(entry)} was replied to twice`);
    entry.replied = true;
  }

  /** `to`: the life that has the destination, or had it last. */
  notify(by: number, source: Endpoint, to: number, destination: Endpoint): Notified {
    const key = `${source}>${destination}`;
    const pair = this.#notified.get(key) ?? { by, to, sent: 0, taken: 0 };
    if (pair.by !== by || pair.to !== to) Object.assign(pair, { by: 0, to: 0 });
    pair.sent++;
    this.#notified.set(key, pair);
    return pair;
  }

  /** By the life `to`. What a process was notified of its backup may hear again. */
  takeNotification(source: Endpoint, to: number, destination: Endpoint, count: number): void {
    const pair = this.#notified.get(`${source}>${destination}`);
    if (pair && pair.to !== to) {
      Object.assign(pair, { by: 0, to: 0 });
      return;
    }
    if (pair) pair.taken += count;
    const isRight = pair !== undefined && (pair.by === 0 || pair.taken <= pair.sent);
    assert(
      isRight,
      () => `${formatEndpoint(destination)} got ${count} of ${formatEndpoint(source)} out of nothing`,
    );
  }

  /** When all is quiet: none between processes that live has been lost. */
  checkNotifications(): void {
    for (const [pair, { by, to, sent, taken }] of this.#notified) {
      if (by === 0 || to === 0 || this.dead.has(by) || this.dead.has(to)) continue;
      assert(taken === sent, () => `${pair} (${by} > ${to}): of ${sent} notifications ${taken} were taken`);
      this.#sim.count("notifications:all taken");
    }
  }

  end(id: number, outcome: Outcome, answer: unknown): void {
    const entry = this.#of(id);
    assert(entry.outcome === null, () => `${show(entry)} ended twice, as ${entry.outcome} and as ${outcome}`);
    entry.outcome = outcome;
    this.#sim.count(`outcome:${outcome}`);
    this.#ended.push({ entry, answer });
  }

  /** After a step: sender and receiver hear of one act in the same step, in any order. */
  check(): void {
    for (const { entry, answer } of this.#ended) this.#check(entry, answer);
    this.#ended = [];
  }

  #check(entry: Entry, answer: unknown): void {
    const { outcome, taker, id } = entry;
    if (outcome === "OK") {
      assert(taker !== 0, () => `${show(entry)} ended as OK and nobody has taken it`);
      if (entry.kind === "request") {
        assert(entry.replied, () => `${show(entry)} ended as OK and nobody has replied`);
        assert(answer === id, () => `${show(entry)} got the answer of ${String(answer)}`);
      }
    } else if (outcome === "DIED") {
      assert(
        taker === 0 || this.dead.has(taker),
        () => `${show(entry)} ended as DIED, but ${taker}, who took it, lives`,
      );
    } else if (outcome !== null && outcome !== "OUTCOME_UNKNOWN") {
      assert(notDone.has(outcome), () => `${show(entry)} ended as ${outcome}`);
      assert(taker === 0, () => `${show(entry)} ended as ${outcome}, but ${taker} has taken it`);
    }
  }

  open(): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.outcome === null && !this.dead.has(entry.by));
  }

  #of(id: number): Entry {
    const entry = this.entries.get(id);
    assert(entry !== undefined, () => `message ${id} was never sent`);
    return entry;
  }
}

export function show({ kind, id, by, source, to, sequence }: Entry): string {
  return `${kind} ${id} (${by}: ${formatEndpoint(source)} > ${formatEndpoint(to)}, ${sequence})`;
}

/** `what` is only put together when it is needed: asserts are most of what a simulation does. */
export function assert(holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new Error(what());
}
