/**
 * A client of the OS state that trusts nobody: it has a few calls under way, sends a write again under its number to
 * whichever replica, reads at every replica, and gives up after a while. What it asks for and makes of the answers is
 * for the classes below it.
 */
import type { Host } from "../harness/host.ts";
import type { Answer, Request } from "./load.ts";
import type { ReplicaWorld } from "./replica-world.ts";

export interface AskingHabits {
  /** Calls under way at a time. */
  calls: number;
  /** Between two calls. */
  pauseMs: number;
  /** An attempt without an answer is followed by another after this. */
  attemptMs: number;
  timeoutMs: number;
}

/** What to ask for, and what the class below knows of it. */
export interface Wanted<Call> {
  call: Call;
  /** Null: a read. */
  operation: Uint8Array | null;
  query: unknown;
  timeoutMs: number;
}

interface Asked<Call> {
  readonly call: Call;
  request: Request;
  readonly givesUpMs: number;
  /** Requests that left and of which nothing was heard. */
  open: number;
  attempts: number;
}

export abstract class AskingClient<Call extends object> {
  protected readonly world: ReplicaWorld;
  readonly host: Host;
  readonly name: string;
  readonly #habits: AskingHabits;
  #sequence = 0;
  readonly #writes = new Map<number, Asked<Call>>();
  #underWay = 0;
  /** A write of it was carried out. */
  #hasSession = false;
  #active = true;
  readonly #ended = new Set<Asked<Call>>();

  constructor(world: ReplicaWorld, host: Host, habits: AskingHabits) {
    this.world = world;
    this.host = host;
    this.name = host.id;
    this.#habits = habits;
  }

  /** What it does next. `nextSequence` is what a write of it will have. */
  protected abstract next(nextSequence: number): Wanted<Call>;
  protected abstract tell(call: Call, sequence: number): string;
  /** The key or file that it is about, for people. */
  protected abstract about(call: Call): string;
  protected abstract answered(call: Call, answer: Answer & { outcome: "ok" }, at: string, tell: string): void;
  /** It never happened, or nobody knows what was read. */
  protected abstract refused(call: Call): void;
  /** It may have happened, or happen yet. */
  protected abstract unknown(call: Call): void;
  /** What it has heard of is no more: what was given out is given out anew. */
  abstract forget(): void;

  start(): void {
    for (let i = 0; i < this.#habits.calls; i++) this.#next();
  }

  /** Its calls go on; it makes no more. */
  stop(): void {
    this.#active = false;
  }

  get idle(): boolean {
    return this.#underWay === 0;
  }

  #next(): void {
    const { random } = this.world.sim;
    this.host.after(random.between(0, 2) * this.#habits.pauseMs, () => {
      if (this.#active) this.#call();
    });
  }

  #call(): void {
    const { call, operation, query, timeoutMs } = this.next(this.#sequence + 1);
    const asked: Asked<Call> = {
      call,
      request: { kind: "read", query },
      givesUpMs: this.host.nowMs() + timeoutMs,
      open: 0,
      attempts: 0,
    };
    if (operation) {
      const sequence = ++this.#sequence;
      asked.request = { kind: "write", client: this.name, sequence, ackedBelow: 0, operation };
      this.#writes.set(sequence, asked);
    }
    this.#underWay++;
    this.#attempt(asked);
  }

  #attempt(asked: Asked<Call>): void {
    const { sim } = this.world;
    if (asked.request.kind === "write") {
      // What it does not want to know any more counts as known; but its session has to have begun.
      const [open = this.#sequence + 1] = this.#writes.keys();
      asked.request = { ...asked.request, ackedBelow: this.#hasSession ? open : 1 };
    }
    const attempt = ++asked.attempts;
    if (attempt === 2) sim.count(`client:${asked.request.kind} asked again`);
    asked.open++;
    let answered = false;
    this.world.ask(this, asked.request, (answer, at) => {
      if (answered) return;
      answered = true;
      asked.open--;
      if (answer.outcome !== "ok") sim.log(`${this.name} ${this.#what(asked)} ${answer.outcome} at ${at}`);
      this.#answered(asked, attempt, answer, at);
    });
    this.host.after(this.#habits.attemptMs * sim.random.between(0.5, 1.5), () => {
      if (!answered && this.#isOpen(asked) && attempt === asked.attempts) this.#again(asked);
    });
  }

  #isOpen(asked: Asked<Call>): boolean {
    return !this.#ended.has(asked);
  }

  #again(asked: Asked<Call>): void {
    if (this.host.nowMs() < asked.givesUpMs) this.#attempt(asked);
    else this.#giveUp(asked);
  }

  #giveUp(asked: Asked<Call>): void {
    const { sim } = this.world;
    const { call, open, attempts, request } = asked;
    sim.log(
      `${this.name} ${this.about(call)} ${this.#what(asked)} given up with ${open} of ${attempts} open`,
    );
    // All that was asked was refused: it never happened. A read without an answer says nothing either.
    if (open === 0 || request.kind === "read") this.refused(call);
    else this.unknown(call);
    this.#end(asked);
  }

  #answered(asked: Asked<Call>, attempt: number, answer: Answer, at: string): void {
    const { sim } = this.world;
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
    this.answered(asked.call, answer, at, this.#what(asked));
    this.#end(asked);
  }

  #end(asked: Asked<Call>): void {
    this.#ended.add(asked);
    if (asked.request.kind === "write") this.#writes.delete(asked.request.sequence);
    this.#underWay--;
    this.#next();
  }

  #what({ call, request }: Asked<Call>): string {
    return this.tell(call, request.kind === "write" ? request.sequence : 0);
  }
}
