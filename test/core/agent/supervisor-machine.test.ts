import { expect, test } from "bun:test";
import type { ContainerSpec } from "../../../core/agent-protocol.ts";
import {
  type SupervisorEffect,
  type SupervisorEvent,
  SupervisorMachine,
  type SupervisorTiming,
} from "../../../core/agent/supervisor-machine.ts";

const timing: SupervisorTiming = {
  readyTimeoutMs: 10_000,
  helloTimeoutMs: 3_000,
  stopGraceMs: 5_000,
  killMarginMs: 500,
  backoffMinMs: 100,
  backoffMaxMs: 30_000,
  backoffResetMs: 60_000,
  prepareRetryMs: 1_000,
};

function spec(uid: string, more: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    tenant: "default",
    instance: "web",
    uid,
    generation: 1,
    os: "web",
    image: null,
    options: {},
    ...more,
  };
}

/** One container `u`, and names for what happens to it. */
class Bench {
  now = 1_000;
  readonly machine: SupervisorMachine;
  effects: SupervisorEffect[] = [];
  incarnation = "";
  #attempt = 0;

  constructor() {
    let n = 0;
    this.machine = new SupervisorMachine({ timing, newIncarnation: () => `i${++n}`, preparing: "waits" });
  }

  step(event: SupervisorEvent): string {
    this.effects = this.machine.step(event, this.now);
    for (const effect of this.effects) {
      if (effect.type === "start") this.incarnation = effect.incarnation;
      if (effect.type === "prepare") this.#attempt = effect.attempt;
    }
    return this.effects.map((e) => e.type).join(" ");
  }

  /** Lets time pass and acts at each deadline in it. */
  pass(ms: number): string {
    const until = this.now + ms;
    const seen: string[] = [];
    for (;;) {
      const next = this.machine.nextDeadline();
      if (next === null || next > until) break;
      this.now = Math.max(this.now, next);
      seen.push(this.step({ type: "tick" }));
    }
    this.now = until;
    return seen.filter((s) => s !== "").join(" ");
  }

  do(what: string): string {
    const { incarnation } = this;
    const uid = "u";
    const state = (name: "starting" | "ready" | "failed", more = {}) => {
      const told = { reason: `is ${name}`, permanent: false, anew: false, port: 7, ...more };
      return this.step({ type: "state", uid, incarnation, state: name, ...told });
    };
    const attempt = this.#attempt;
    const [verb = "", argument = ""] = what.split(" ");
    switch (verb) {
      case "want":
        return this.step({ type: "desired", wanted: [spec("u", { generation: Number(argument || 1) })] });
      case "drop":
        return this.step({ type: "desired", wanted: [] });
      case "prepared":
        return this.step({ type: "prepared", uid, attempt: argument === "before" ? attempt - 1 : attempt });
      case "unprepared":
        return this.step({
          type: "prepareFailed",
          uid,
          attempt,
          reason: "no disk",
          permanent: argument === "for-ever",
        });
      case "spawned":
        return this.step({ type: "spawned", uid, incarnation, pid: 42, startedAt: "t" });
      case "unspawned":
        return this.step({ type: "spawnFailed", uid, incarnation, reason: "no room" });
      case "hello":
      case "unlinked":
        return this.step({ type: verb, uid, incarnation });
      case "hung":
        return this.step({ type: "hung", uid, incarnation, reason: "silent" });
      case "ready":
        return state("ready");
      case "broken":
        return state("failed");
      case "hopeless":
        return state("failed", { permanent: true });
      case "anew":
        return state("failed", { anew: true });
      case "exited":
        return this.step({ type: "exited", uid, incarnation, reason: "exited with code 1" });
      case "removed":
        return this.step({ type: "dirRemoved", uid });
      case "adopted":
        this.incarnation = "old";
        return this.step({
          type: "adopted",
          uid,
          process: { spec: spec("u"), incarnation: "old", pid: 41, port: 7, restarts: 3, startedAt: "t" },
        });
      case "pass":
        return this.pass(Number(argument));
      case "is": {
        const report = this.machine.reports(this.now).find((r) => r.uid === "u");
        return report ? report.state + (report.permanent ? " for ever" : "") : "absent";
      }
      case "serves":
        return String(this.machine.ready().has("u"));
    }
    throw new Error(`unknown step ${what}`);
  }
}

/** Each line: what happens → the effects that follow, or the answer. */
const scenarios: Record<string, string> = {
  "a wanted container is prepared, started and ready": `
    want → prepare
    is → pulling
    prepared → start
    is → starting
    spawned →
    hello →
    serves → false
    ready →
    serves → true
    is → ready`,
  "an image that cannot be had is asked for again": `
    want → prepare
    unprepared →
    is → pulling
    pass 999 →
    pass 1 → prepare
    prepared → start`,
  "an image that is wrong is not asked for again until the spec changes": `
    want → prepare
    unprepared for-ever →
    is → failed for ever
    pass 100000 →
    want 2 → prepare`,
  "a crash is followed by a start after 100, 200, 400 ms, and after a long run by 100 ms again": `
    want → prepare
    prepared → start
    spawned →
    exited →
    is → backoff
    pass 99 →
    pass 1 → prepare
    prepared → start
    spawned →
    exited →
    pass 199 →
    pass 1 → prepare
    prepared → start
    spawned →
    exited →
    pass 400 → prepare
    prepared → start
    spawned →
    hello →
    ready →
    pass 60000 →
    exited →
    pass 99 →
    pass 1 → prepare`,
  "one that ends only to begin anew is no failure, unless it does so all the time": `
    want → prepare
    prepared → start
    spawned →
    exited →
    pass 100 → prepare
    prepared → start
    spawned →
    exited →
    pass 200 → prepare
    prepared → start
    spawned →
    pass 999 →
    anew → stop
    exited →
    pass 399 →
    pass 1 → prepare
    prepared → start
    spawned →
    hello →
    ready →
    pass 1000 →
    anew → stop
    exited →
    is → backoff
    pass 99 →
    pass 1 → prepare
    prepared → start
    spawned →
    hello →
    ready →
    pass 1000 →
    anew → stop
    exited →
    pass 99 →
    pass 1 → prepare`,
  "a process that cannot be spawned is tried again after a back-off": `
    want → prepare
    prepared → start
    unspawned →
    is → backoff
    pass 100 → prepare`,
  "one that is not ready in time is killed, again and again until it is dead": `
    want → prepare
    prepared → start
    spawned →
    hello →
    pass 9999 →
    pass 1 → kill
    is → stopping
    pass 500 → kill
    exited →
    is → backoff`,
  "stop, SIGTERM at the end of the grace, SIGKILL after it": `
    want → prepare
    prepared → start
    spawned →
    hello →
    ready →
    drop → stop
    serves → false
    pass 4999 →
    pass 1 → terminate
    pass 499 →
    pass 1 → kill
    exited → removeDir
    removed →
    is → absent`,
  "what is dropped while it is being started is stopped as soon as it runs": `
    want → prepare
    prepared → start
    drop →
    spawned → stop
    exited → removeDir`,
  "what is wanted again while it is being stopped is started after its end": `
    want → prepare
    prepared → start
    spawned →
    drop → stop
    want →
    exited → prepare
    prepared → start`,
  "what is wanted again while its directory is removed waits for that": `
    want → prepare
    prepared → start
    spawned →
    drop → stop
    exited → removeDir
    want →
    removed → prepare`,
  "a new generation is prepared while the old one serves, then replaces it without a back-off": `
    want → prepare
    prepared → start
    spawned →
    hello →
    ready →
    want 2 → prepare
    serves → true
    prepared → stop
    serves → false
    exited → prepare
    prepared → start`,
  "the old generation serves on when the new one cannot be prepared": `
    want → prepare
    prepared → start
    spawned →
    hello →
    ready →
    want 2 → prepare
    unprepared →
    serves → true
    pass 1000 → prepare
    unprepared for-ever →
    pass 100000 →
    serves → true`,
  "an answer for the spec before does not count for the new one": `
    want → prepare
    want 2 → prepare
    prepared before →
    prepared → start`,
  "a permanent failure is ended, and not tried again until the generation changes": `
    want → prepare
    prepared → start
    spawned →
    hello →
    hopeless → stop
    exited →
    is → failed for ever
    pass 1000000 →
    want →
    want 2 → prepare`,
  "a failure that is not permanent is tried again": `
    want → prepare
    prepared → start
    spawned →
    hello →
    broken → stop
    exited →
    pass 100 → prepare`,
  "one that hangs is killed at once and replaced": `
    want → prepare
    prepared → start
    spawned →
    hello →
    ready →
    hung → kill
    exited →
    pass 100 → prepare`,
  "a link that breaks is given time to come back": `
    want → prepare
    prepared → start
    spawned →
    hello →
    ready →
    unlinked →
    pass 2999 →
    serves → true
    hello →
    pass 10000 →
    unlinked →
    pass 3000 → kill`,
  "an adopted process is left alone until it is known what is wanted": `
    adopted →
    pass 100000 →
    want → kill`,
  "an adopted process that answers goes on": `
    adopted →
    hello →
    ready →
    want →
    serves → true
    is → ready`,
  "an adopted process that does not answer is killed and replaced": `
    adopted →
    want →
    pass 2999 →
    pass 1 → kill
    exited →
    pass 100 → prepare
    prepared → start`,
  "an adopted process that nobody wants is stopped and cleaned away": `
    adopted →
    hello →
    drop → stop
    exited → removeDir`,
};

for (const [fact, text] of Object.entries(scenarios)) {
  test(fact, () => {
    const bench = new Bench();
    for (const line of text.trim().split("\n")) {
      const [what = "", expected = ""] = line.split("→").map((part) => part.trim());
      expect(`${what} → ${bench.do(what)}`).toBe(`${what} → ${expected}`);
    }
  });
}

test("restarts are counted over adoptions", () => {
  const bench = new Bench();
  for (const what of ["adopted", "hello", "ready", "want", "exited", "pass 100", "prepared", "spawned"])
    bench.do(what);
  expect(bench.machine.reports(bench.now)[0]).toMatchObject({ restarts: 4, incarnation: "i1" });
});

test("events of an incarnation that has ended change nothing", () => {
  const bench = new Bench();
  for (const what of ["want", "prepared", "spawned", "hello", "ready", "exited", "pass 100", "prepared"])
    bench.do(what);
  const before = bench.machine.reports(bench.now);
  bench.step({ type: "exited", uid: "u", incarnation: "i1", reason: "late" });
  bench.step({
    type: "state",
    uid: "u",
    incarnation: "i1",
    state: "ready",
    reason: "",
    permanent: false,
    anew: false,
    port: 9,
  });
  expect(bench.machine.reports(bench.now)).toEqual(before);
});

/** xorshift, so that a failure names its seed and can be run again. */
function random(seed: number): (below: number) => number {
  let x = seed * 2_654_435_761 || 1;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return Math.abs(x) % below;
  };
}

test("over random histories there are never two processes of a container, and it ends as wanted", () => {
  for (let seed = 1; seed <= 300; seed++) walk(seed);
});

interface World {
  /** Living processes by uid: the truth that the machine only hears of. */
  living: Map<string, string[]>;
  pending: SupervisorEvent[];
}

function walk(seed: number): void {
  const pick = random(seed);
  let n = 0;
  let now = 0;
  const machine = new SupervisorMachine({ timing, newIncarnation: () => `i${++n}`, preparing: "waits" });
  const world: World = { living: new Map(), pending: [] };
  const uids = ["a", "b", "c"];
  let wanted: ContainerSpec[] = [];

  const act = (event: SupervisorEvent): void => {
    for (const effect of machine.step(event, now)) carryOut(effect);
  };
  const die = (uid: string, incarnation: string): void => {
    const left = (world.living.get(uid) ?? []).filter((i) => i !== incarnation);
    if (left.length === (world.living.get(uid) ?? []).length) return;
    world.living.set(uid, left);
    world.pending.push({ type: "exited", uid, incarnation, reason: "died" });
  };
  const carryOut = (effect: SupervisorEffect): void => {
    const { uid } = effect;
    if (effect.type === "prepare") {
      const { attempt } = effect;
      world.pending.push(
        pick(4) === 0
          ? { type: "prepareFailed", uid, attempt, reason: "no", permanent: pick(10) === 0 }
          : { type: "prepared", uid, attempt },
      );
    } else if (effect.type === "removeDir") {
      if ((world.living.get(uid) ?? []).length > 0)
        throw new Error(`seed ${seed}: directory of a living process`);
      world.pending.push({ type: "dirRemoved", uid });
    } else if (effect.type === "start") {
      const { incarnation } = effect;
      const living = world.living.get(uid) ?? [];
      if (living.length > 0)
        throw new Error(`seed ${seed}: two of ${uid}: ${living.join()} and ${incarnation}`);
      if (pick(8) === 0) {
        world.pending.push({ type: "spawnFailed", uid, incarnation, reason: "no" });
        return;
      }
      world.living.set(uid, [incarnation]);
      world.pending.push({ type: "spawned", uid, incarnation, pid: ++n, startedAt: "t" });
      if (pick(8) > 0) world.pending.push({ type: "hello", uid, incarnation });
      const state = pick(6) === 0 ? "failed" : "ready";
      if (pick(8) > 0) {
        const permanent = pick(3) === 0;
        world.pending.push({
          type: "state",
          uid,
          incarnation,
          state,
          reason: "r",
          permanent,
          anew: false,
          port: 1,
        });
      }
    } else if (effect.type === "kill" || pick(3) > 0) {
      die(uid, effect.incarnation);
    }
  };
  /** Any order between containers, and within one as a process causes it. */
  const deliver = (): void => {
    const event = world.pending.splice(pick(Math.min(3, world.pending.length)), 1)[0];
    if (event) act(event);
  };

  if (pick(2) === 0) {
    world.living.set("a", ["old"]);
    const process = { spec: spec("a"), incarnation: "old", pid: 1, port: 1, restarts: 0, startedAt: "t" };
    act({ type: "adopted", uid: "a", process });
  }
  for (let i = 0; i < 300; i++) {
    const what = pick(10);
    if (what === 0) {
      wanted = uids.filter(() => pick(3) > 0).map((uid) => spec(uid, { generation: 1 + pick(3) }));
      act({ type: "desired", wanted: wanted });
    } else if (what === 1) {
      for (const [uid, living] of world.living) if (pick(4) === 0) for (const one of living) die(uid, one);
    } else if (what <= 6 && world.pending.length > 0) {
      deliver();
    } else {
      now += pick(2) === 0 ? pick(500) : pick(20_000);
      act({ type: "tick" });
    }
  }
  // Quiet at last: everything that is under way ends, nothing fails any more but what has failed for ever.
  act({ type: "desired", wanted: wanted });
  for (let i = 0; i < 3_000; i++) {
    if (world.pending.length > 0) deliver();
    else {
      const next = machine.nextDeadline();
      if (next === null) break;
      now = Math.max(now, next);
      act({ type: "tick" });
    }
    if (i > 1_000 && world.pending.length === 0) break;
  }
  const unwanted = [...world.living].filter(([uid, l]) => l.length > 0 && !wanted.some((w) => w.uid === uid));
  if (unwanted.length > 0) throw new Error(`seed ${seed}: ${JSON.stringify(unwanted)} runs on`);
  const reported = machine.reports(now).map((r) => r.uid);
  const forgotten = wanted.filter((w) => !reported.includes(w.uid));
  if (forgotten.length > 0) throw new Error(`seed ${seed}: forgot ${JSON.stringify(forgotten)}`);
}
