/**
 * Is a history of reads, writes, deletes and compare-and-sets linearizable? Keys are judged one by one, since a
 * history is linearizable iff that of each key is (Herlihy and Wing 1990). The search is that of Wing and Gong (1993)
 * with Lowe's memory of the places it has been to (2017), as in porcupine: it takes any call that was made before the
 * first return among those left, and goes back where that leads nowhere.
 *
 * Each call is a step `observes → sets` of one register; each value is set by one call only, which says much more:
 *
 * - A call of unknown outcome whose value nobody saw may be left out: whatever follows it either overwrites the
 *   register unseen, or is left out as well. One whose value was seen took effect before the first return of those who
 *   saw it. So unknown outcomes cost nothing (but for deletes, which nobody can tell apart).
 * - A value that somebody is still to see must not be overwritten: it does not come back.
 * - What changes nothing is taken at once: a read that fits. Writes that nobody saw are taken together.
 */
import type { Call, Value } from "./history.ts";

/** Steps of one key's search beyond which a history counts as wrong: it cannot be told, and nothing may be let pass. */
const stepsMax = 2_000_000;

/** Of an explanation. */
const linesMax = 24;

interface Step {
  call: Call;
  /** Undefined: whatever there is. */
  observes: Value | undefined;
  /** Undefined: leaves it. */
  sets: Value | undefined;
  returned: number;
  /** May be left out: a delete of unknown outcome. */
  optional: boolean;
  /** Somebody saw what it sets. */
  seen: boolean;
}

/** Null, or in words what is wrong. */
export function violation(calls: readonly Call[]): string | null {
  const keys = new Map<string, Call[]>();
  for (const call of calls) {
    const ofKey = keys.get(call.key);
    if (ofKey) ofKey.push(call);
    else keys.set(call.key, [call]);
  }
  for (const [key, ofKey] of keys) {
    const wrong = violationOfKey(ofKey);
    if (wrong !== null) return `the history of key ${key} is not linearizable: ${wrong}`;
  }
  return null;
}

function violationOfKey(calls: readonly Call[]): string | null {
  const writers = new Map<string, Call>();
  for (const call of calls) {
    const { action } = call;
    if (action.kind === "read" || action.value === null) continue;
    const other = writers.get(action.value);
    if (other) throw new Error(`${show(call)} and ${show(other)} set the same value: nobody could tell`);
    writers.set(action.value, call);
  }
  const steps = stepsOf(calls, writers);
  for (const { call, observes } of steps) {
    if (typeof observes !== "string") continue;
    const writer = writers.get(observes);
    if (!writer) return `${show(call)}, which nobody wrote`;
    if (writer.called > call.returned) return `${show(call)} before ${show(writer)} was called`;
  }
  return new Search(steps).run();
}

/** What has to have happened, with unknown outcomes bounded by who saw them. */
function stepsOf(calls: readonly Call[], writers: ReadonlyMap<string, Call>): Step[] {
  const returns = new Map<Call, number>();
  const look = calls.filter((call) => call.returned !== Infinity);
  for (const call of look) returns.set(call, call.returned);
  // Who is seen by a call that took effect took effect as well, and before that one's return.
  for (let call = look.pop(); call; call = look.pop()) {
    const observed = observes(call);
    const writer = typeof observed === "string" ? writers.get(observed) : undefined;
    const returned = returns.get(call)!;
    if (!writer || writer.returned !== Infinity || returned >= (returns.get(writer) ?? Infinity)) continue;
    returns.set(writer, returned);
    look.push(writer);
  }
  const seen = new Set<Value | undefined>([...returns.keys()].map(observes));
  return calls.flatMap((call) => {
    const { action } = call;
    const returned = returns.get(call) ?? Infinity;
    const optional = action.kind === "write" && action.value === null && returned === Infinity;
    if (returned === Infinity && !optional) return [];
    const sets = setsValue(call) ? (action as { value: Value }).value : undefined;
    return [{ call, observes: observes(call), sets, returned, optional, seen: seen.has(sets) }];
  });
}

function observes(call: Call): Value | undefined {
  const { action, returned } = call;
  if (action.kind === "read") return action.value;
  if (action.kind === "write") return undefined;
  // Of unknown outcome: if it has had an effect, it found what it expected.
  return returned === Infinity ? action.expected : action.actual;
}

function setsValue({ action, returned }: Call): boolean {
  if (action.kind === "read") return false;
  return action.kind === "write" || returned === Infinity || action.actual === action.expected;
}

/** A place in the search from which several ways lead. */
interface Fork {
  ways: Step[][];
  tried: number;
  taken: number;
  state: Value;
}

class Search {
  /** By call. */
  readonly #steps: Step[];
  /** Indices of steps that have been taken, in their order. */
  readonly #taken: number[] = [];
  readonly #isTaken: Uint8Array;
  /** The first step that has not been taken; none before it is left. */
  #first = 0;
  /** Beyond the last step that has been taken. */
  #end = 0;
  #requiredLeft: number;
  #state: Value = null;
  /** Value → how many are still to see it. */
  readonly #awaited = new Map<Value, number>();
  readonly #index = new Map<Step, number>();
  readonly #been = new Set<string>();
  /** The furthest it came. */
  #deepest = { taken: -1, state: null as Value, stuck: null as Step | null };

  constructor(steps: readonly Step[]) {
    this.#steps = [...steps].sort((a, b) => a.call.called - b.call.called);
    this.#isTaken = new Uint8Array(steps.length);
    this.#requiredLeft = steps.filter((step) => !step.optional).length;
    for (const [i, step] of this.#steps.entries()) {
      this.#index.set(step, i);
      if (step.observes !== undefined) this.#await(step.observes, 1);
    }
  }

  run(): string | null {
    const forks: Fork[] = [];
    for (let steps = 0; steps < stepsMax; steps++) {
      let ways: Step[][] = [];
      if (this.#isNew()) {
        const candidates = this.#takeFittingReads();
        if (this.#requiredLeft === 0) return null;
        ways = this.#ways(candidates);
        if (ways.length === 0) this.#noteStuck(candidates);
      }
      forks.push({ ways, tried: 0, taken: this.#taken.length, state: this.#state });
      let fork = forks.at(-1);
      while (fork && fork.tried === fork.ways.length) {
        forks.pop();
        fork = forks.at(-1);
      }
      if (!fork) return this.#explain();
      while (this.#taken.length > fork.taken) this.#putBack();
      this.#state = fork.state;
      for (const step of fork.ways[fork.tried++]!) this.#take(step);
    }
    return `it could not be judged within ${stepsMax} steps; ${this.#explain()}`;
  }

  /** Those that may come next: called before the first return among those left. */
  #candidates(): Step[] {
    let firstReturn = Infinity;
    const candidates: Step[] = [];
    for (let i = this.#first; i < this.#steps.length; i++) {
      const step = this.#steps[i]!;
      if (step.call.called > firstReturn) break;
      if (this.#isTaken[i]) continue;
      candidates.push(step);
      if (step.returned < firstReturn) firstReturn = step.returned;
    }
    return candidates;
  }

  #takeFittingReads(): Step[] {
    for (;;) {
      const candidates = this.#candidates();
      const fitting = candidates.filter((step) => step.sets === undefined && step.observes === this.#state);
      if (fitting.length === 0) return candidates;
      for (const step of fitting) this.#take(step);
    }
  }

  #ways(candidates: readonly Step[]): Step[][] {
    const awaited = this.#state === null ? 0 : (this.#awaited.get(this.#state) ?? 0);
    const unseen: Step[] = [];
    const ways: Step[][] = [];
    for (const step of candidates) {
      if (step.sets === undefined || (step.optional && this.#state === null)) continue;
      if (step.observes !== undefined) {
        if (step.observes === this.#state && awaited <= 1) ways.push([step]);
      } else if (awaited === 0) {
        if (step.seen || step.sets === null) ways.push([step]);
        else unseen.push(step);
      }
    }
    if (unseen.length === 0) return ways;
    // Whoever overwrites unseen may as well overwrite all of these.
    const blind = ways.map((way) => (way[0]!.observes === undefined ? [...unseen, ...way] : way));
    return [...blind, unseen];
  }

  #take(step: Step): void {
    const i = this.#index.get(step)!;
    this.#isTaken[i] = 1;
    this.#taken.push(i);
    if (!step.optional) this.#requiredLeft--;
    if (step.observes !== undefined) this.#await(step.observes, -1);
    if (step.sets !== undefined) this.#state = step.sets;
    while (this.#isTaken[this.#first]) this.#first++;
    if (i >= this.#end) this.#end = i + 1;
  }

  /** The state is the caller's to restore. */
  #putBack(): void {
    const i = this.#taken.pop()!;
    const step = this.#steps[i]!;
    this.#isTaken[i] = 0;
    if (!step.optional) this.#requiredLeft++;
    if (step.observes !== undefined) this.#await(step.observes, 1);
    if (i < this.#first) this.#first = i;
    while (this.#end > 0 && !this.#isTaken[this.#end - 1]) this.#end--;
  }

  #await(value: Value, by: number): void {
    this.#awaited.set(value, (this.#awaited.get(value) ?? 0) + by);
  }

  /** The same steps taken and the same state: what comes after is the same. */
  #isNew(): boolean {
    let place = `${this.#first} ${this.#end} ${this.#state === null ? "" : `=${this.#state}`} `;
    for (let i = this.#first; i < this.#end; i += 16) {
      let bits = 0;
      for (let j = 0; j < 16 && i + j < this.#end; j++) bits |= this.#isTaken[i + j]! << j;
      place += String.fromCharCode(bits);
    }
    if (this.#been.has(place)) return false;
    this.#been.add(place);
    return true;
  }

  #noteStuck(candidates: readonly Step[]): void {
    if (this.#taken.length <= this.#deepest.taken) return;
    const stuck = candidates.reduce((a, b) => (b.returned < a.returned ? b : a));
    this.#deepest = { taken: this.#taken.length, state: this.#state, stuck };
  }

  #explain(): string {
    const { stuck, state } = this.#deepest;
    if (!stuck) return "no order was found";
    const {
      call: { called },
      returned,
    } = stuck;
    const about = this.#steps.filter(({ call, sets, observes }) => {
      if (call.called < returned && call.returned > called) return true;
      return state !== null && (sets === state || observes === state);
    });
    return [
      `nothing fits before ${show(stuck.call)} has returned, where the key holds ${state ?? "nothing"}`,
      ...about.slice(0, linesMax).map(({ call }) => `    ${show(call)}`),
    ].join("\n");
  }
}

function show({ client, action, called, returned, at }: Call): string {
  const when = `[${called}, ${returned === Infinity ? "?" : returned}]`;
  const who = at === "" ? client : `${client} at ${at}`;
  if (action.kind === "read") return `${when} ${who} read ${action.value ?? "nothing"}`;
  if (action.kind === "write")
    return `${when} ${who} ${action.value === null ? "deleted" : `wrote ${action.value}`}`;
  const found = returned === Infinity ? "?" : (action.actual ?? "nothing");
  return `${when} ${who} set ${action.value} where ${action.expected ?? "nothing"} was expected and ${found} found`;
}
