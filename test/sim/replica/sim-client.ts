/**
 * A client of the OS state that trusts nobody: it has a few calls under way, sends a write again under its number to
 * whichever replica, reads at every replica, and gives up after a while. What it asks and hears is the history.
 */
import type { Host } from "../harness/host.ts";
import type { Call, Value } from "./history.ts";
import type { ReplicaWorld } from "./replica-world.ts";

/** As the module key-value has them (core/state/modules). */
export type Operation =
  { op: "put"; key: string; value: string; ifRevision?: number } | { op: "delete"; key: string };

export type Request =
  | { kind: "write"; client: string; sequence: number; ackedBelow: number; operation: Operation }
  | { kind: "read"; key: string };

/** What a replica says of one request. */
export type Answer =
  | { outcome: "ok"; revision: number; done: boolean; value: Value }
  /** Not carried out, and not going to be because of this request. */
  | { outcome: "refused" }
  /** It may have been, or be yet; the same may be asked again. */
  | { outcome: "uncertain" }
  /** Nothing is known of it any more; it is not carried out again. */
  | { outcome: "unknown" };

interface Asked {
  call: Call;
  request: Request;
  key: string;
  givesUpMs: number;
  /** Requests that left and of which nothing was heard. */
  open: number;
  attempts: number;
  /** Of a put that expects a revision: what it was that had it. */
  expected: Value;
}

export interface Habits {
  /** Calls under way at a time. */
  calls: number;
  /** Between two calls. */
  pauseMs: number;
  reads: number;
  deletes: number;
  compareAndSets: number;
  /** An attempt without an answer is followed by another after this. */
  attemptMs: number;
  timeoutMs: number;
  keys: number;
}

export class SimClient {
  readonly #world: ReplicaWorld;
  readonly host: Host;
  readonly name: string;
  readonly #habits: Habits;
  #sequence = 0;
  readonly #writes = new Map<number, Asked>();
  #underWay = 0;
  /** A write of it was carried out. */
  #hasSession = false;
  /** Key → what it was when this client last heard of it. */
  readonly #seen = new Map<string, { revision: number; value: Value }>();
  #active = true;

  constructor(world: ReplicaWorld, host: Host, name: string, habits: Habits) {
    this.#world = world;
    this.host = host;
    this.name = name;
    this.#habits = habits;
  }

  start(): void {
    for (let i = 0; i < this.#habits.calls; i++) this.#next();
  }

  /** Its calls go on; it makes no more. */
  stop(): void {
    this.#active = false;
  }

  /** What it has heard of is no more: revisions are given out anew. */
  forget(): void {
    this.#seen.clear();
  }

  get idle(): boolean {
    return this.#underWay === 0;
  }

  #next(): void {
    const { random } = this.#world.sim;
    this.host.after(random.between(0, 2) * this.#habits.pauseMs, () => {
      if (this.#active) this.#call();
    });
  }

  #call(): void {
    const { random } = this.#world.sim;
    const { reads, deletes, compareAndSets, keys, timeoutMs } = this.#habits;
    const key = `k${random.integer(1, keys)}`;
    const dice = random.float();
    const asked: Asked = {
      call: null!,
      request: { kind: "read", key },
      key,
      givesUpMs: this.host.nowMs() + timeoutMs * random.between(0.5, 1.5),
      open: 0,
      attempts: 0,
      expected: null,
    };
    const { history } = this.#world;
    if (dice < reads) asked.call = history.begin(this.name, key, { kind: "read", value: null });
    else {
      const sequence = ++this.#sequence;
      const value = `${this.name}/${sequence}`;
      let operation: Operation = { op: "put", key, value };
      if (dice < reads + deletes) {
        operation = { op: "delete", key };
        asked.call = history.begin(this.name, key, { kind: "write", value: null });
      } else if (dice < reads + deletes + compareAndSets) {
        const seen = this.#seen.get(key) ?? { revision: 0, value: null };
        operation = { op: "put", key, value, ifRevision: seen.revision };
        asked.expected = seen.value;
        const action = { kind: "cas", expected: seen.value, value, actual: null } as const;
        asked.call = history.begin(this.name, key, { ...action });
      } else asked.call = history.begin(this.name, key, { kind: "write", value });
      asked.request = { kind: "write", client: this.name, sequence, ackedBelow: 0, operation };
      this.#writes.set(sequence, asked);
    }
    this.#underWay++;
    this.#attempt(asked);
  }

  #attempt(asked: Asked): void {
    const { sim } = this.#world;
    if (asked.request.kind === "write") {
      // What it does not want to know any more counts as known; but its session has to have begun.
      const [open = this.#sequence + 1] = this.#writes.keys();
      asked.request = { ...asked.request, ackedBelow: this.#hasSession ? open : 1 };
    }
    const attempt = ++asked.attempts;
    if (attempt === 2) sim.count(`client:${asked.request.kind} asked again`);
    asked.open++;
    let answered = false;
    this.#world.ask(this, asked.request, (answer, at) => {
      if (answered) return;
      answered = true;
      asked.open--;
      if (answer.outcome !== "ok") sim.log(`${this.name} ${what(asked)} ${answer.outcome} at ${at}`);
      this.#answered(asked, attempt, answer, at);
    });
    this.host.after(this.#habits.attemptMs * sim.random.between(0.5, 1.5), () => {
      if (!answered && this.#isOpen(asked) && attempt === asked.attempts) this.#again(asked);
    });
  }

  readonly #ended = new Set<Asked>();
  #isOpen(asked: Asked): boolean {
    return !this.#ended.has(asked);
  }

  #again(asked: Asked): void {
    if (this.host.nowMs() < asked.givesUpMs) this.#attempt(asked);
    else this.#giveUp(asked);
  }

  #giveUp(asked: Asked): void {
    const { sim, history } = this.#world;
    sim.log(`${this.name} ${asked.key} ${what(asked)} given up with ${asked.open} of ${asked.attempts} open`);
    // All that was asked was refused: it never happened. A read without an answer says nothing either.
    if (asked.open === 0 || asked.request.kind === "read") history.refuse(asked.call);
    else {
      const { kind } = asked.call.action;
      sim.count(kind === "cas" ? "client:unknown outcome of a compare-and-set" : "client:unknown outcome");
    }
    this.#end(asked);
  }

  #answered(asked: Asked, attempt: number, answer: Answer, at: string): void {
    const { sim, history } = this.#world;
    if (!this.#isOpen(asked)) return;
    if (answer.outcome === "uncertain") asked.open++;
    if (answer.outcome === "refused" || answer.outcome === "uncertain") {
      if (attempt !== asked.attempts) return;
      this.host.after(sim.random.between(5, 60), () => {
        if (this.#isOpen(asked) && attempt === asked.attempts) this.#again(asked);
      });
      return;
    }
    if (answer.outcome === "unknown") {
      asked.open++;
      this.#giveUp(asked);
      return;
    }
    if (attempt > 1 && asked.request.kind === "write") sim.count("client:write answered to a later attempt");
    if (asked.request.kind === "write") this.#hasSession = true;
    this.#note(asked, answer);
    const { action } = asked.call;
    const { revision, value, done } = answer;
    sim.log(
      `${this.name} ${asked.key} ${what(asked)} at ${at}: ${done ? "" : "not "}done r${revision} ${value ?? ""}`,
    );
    if (action.kind === "read") history.end(asked.call, at, answer.value);
    else if (action.kind === "write") history.end(asked.call, at);
    else history.end(asked.call, at, answer.done ? asked.expected : answer.value);
    this.#end(asked);
  }

  /** What a later compare-and-set expects. */
  #note({ key, request }: Asked, { revision, done, value }: Answer & { outcome: "ok" }): void {
    const before = this.#seen.get(key);
    if (before && before.revision > revision) return;
    if (request.kind === "read") this.#seen.set(key, { revision, value });
    else if (request.operation.op === "delete") this.#seen.set(key, { revision: 0, value: null });
    else if (done) this.#seen.set(key, { revision, value: request.operation.value });
    else this.#seen.set(key, { revision, value });
  }

  #end(asked: Asked): void {
    this.#ended.add(asked);
    if (asked.request.kind === "write") this.#writes.delete(asked.request.sequence);
    this.#underWay--;
    this.#next();
  }
}

function what({ request, expected }: Asked): string {
  if (request.kind === "read") return "read";
  const { operation, sequence } = request;
  const condition =
    operation.op === "put" && operation.ifRevision !== undefined ? ` if ${expected ?? "nothing"}` : "";
  return `${operation.op} ${sequence}${condition}`;
}
