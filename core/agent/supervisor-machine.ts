/**
 * Supervision of a node's host processes of one kind, containers or state processes, as a pure machine: what is wanted
 * and what was observed go in, effects come out. No clock, no I/O, no randomness of its own. `supervisor.ts` carries
 * the effects out.
 *
 *                         prepared          spawned          state ready
 *   (wanted) ─► preparing ────────► starting ──────► starting ──────────► ready
 *                  ▲  ▲ failed: later    │ exited, silent, late   │ exited │ not wanted, other spec
 *                  │  └──────────────────┼───── backoff ◄─────────┘        ▼
 *                  └─────────────────────┼──────────────── exited ◄──── stopping ── grace over: kill
 *                                        ▼ said that trying again is useless
 *                                      failed, until the spec changes
 *
 * Invariant: a slot has at most one process, from the moment its start is asked for until `exited` or
 * `spawnFailed` says that it is surely dead. So there are never two incarnations of one container.
 */
import type { ContainerReport, ContainerSpec, ContainerState, KernelState } from "../agent-protocol.ts";

/** What is wanted of one process. It goes through JSON: equal ones have equal texts. */
export interface Supervised {
  tenant: string;
  instance: string;
  uid: string;
  generation: number;
}

export interface SupervisorTiming {
  readyTimeoutMs: number;
  /** A live process that has no link for this long is beyond help. */
  helloTimeoutMs: number;
  stopGraceMs: number;
  /** Between SIGTERM at the end of the grace and SIGKILL. */
  killMarginMs: number;
  backoffMinMs: number;
  backoffMaxMs: number;
  backoffResetMs: number;
  /** Trying again to get an image or a certificate. */
  prepareRetryMs: number;
}

export interface SupervisorOptions {
  timing: SupervisorTiming;
  newIncarnation: () => string;
  /** What a process that is prepared waits for, in words. */
  preparing: string;
}

export interface Adopted<Spec extends Supervised = ContainerSpec> {
  spec: Spec;
  incarnation: string;
  pid: number;
  port: number;
  restarts: number;
  startedAt: string;
}

export type SupervisorEvent<Spec extends Supervised = ContainerSpec> =
  /** All that are wanted here. Until the first of these nothing is stopped or started. */
  | { type: "desired"; wanted: readonly Spec[] }
  /** A process of an earlier agent; before the first `desired`. */
  | { type: "adopted"; uid: string; process: Adopted<Spec> }
  /** A directory of an earlier agent without a live process. */
  | { type: "found"; uid: string; restarts: number }
  /** Answers to a `prepare`; only the latest one of a slot counts. */
  | { type: "prepared"; uid: string; attempt: number }
  | { type: "progress"; uid: string; attempt: number; reason: string }
  | { type: "prepareFailed"; uid: string; attempt: number; reason: string; permanent: boolean }
  | { type: "spawned"; uid: string; incarnation: string; pid: number; startedAt: string }
  /** No process came to be. */
  | { type: "spawnFailed"; uid: string; incarnation: string; reason: string }
  | { type: "hello"; uid: string; incarnation: string }
  | { type: "unlinked"; uid: string; incarnation: string }
  /** It lives, and does not answer or is not the one that was started. */
  | { type: "hung"; uid: string; incarnation: string; reason: string }
  | {
      type: "state";
      uid: string;
      incarnation: string;
      state: "starting" | "ready" | "stopping" | "failed";
      reason: string;
      permanent: boolean;
      /** It ends only to begin anew: nothing is wrong with it. */
      anew: boolean;
      port: number;
    }
  | { type: "stats"; uid: string; incarnation: string; requests: number }
  | { type: "kernel"; uid: string; incarnation: string; kernel: KernelState }
  /** It is surely dead: reaped, or gone from /proc. */
  | { type: "exited"; uid: string; incarnation: string; reason: string }
  | { type: "dirRemoved"; uid: string }
  | { type: "tick" };

export type SupervisorEffect<Spec extends Supervised = ContainerSpec> =
  /** Fetch image and certificate; answered by `prepared` or `prepareFailed`. */
  | { type: "prepare"; uid: string; attempt: number; spec: Spec }
  /** Answered by `spawned` or `spawnFailed`. */
  | { type: "start"; uid: string; spec: Spec; incarnation: string; restarts: number }
  | { type: "stop"; uid: string; incarnation: string; graceMs: number }
  | { type: "terminate" | "kill"; uid: string; incarnation: string }
  /** Remove the process's directory; answered by `dirRemoved`. */
  | { type: "removeDir"; uid: string };

interface Ending {
  reason: string;
  /** True when we wanted it: no back-off follows. */
  planned: boolean;
  stopSent: boolean;
  terminateAt: number;
  killAt: number;
}

interface Process<Spec> {
  spec: Spec;
  incarnation: string;
  /** 0 while its start is under way. */
  pid: number;
  linked: boolean;
  /** Whether it has told its state, ever. */
  heard: boolean;
  /** Without a link then, it is killed. */
  linkBy: number;
  readyBy: number;
  state: "starting" | "ready" | "stopping" | "failed";
  reason: string;
  permanent: boolean;
  anew: boolean;
  startedMs: number;
  ending: Ending | null;
}

interface Slot<Spec> {
  uid: string;
  wanted: Spec | null;
  process: Process<Spec> | null;
  /** Of the present process, or of the last one. */
  last: {
    spec: Spec | null;
    incarnation: string;
    port: number;
    startedAt: string;
    requests: number;
    kernel?: KernelState;
  };
  /** Whether image and certificate of `wanted` are here. */
  prepare: "no" | "asked" | "done";
  prepareAttempt: number;
  prepareAt: number;
  prepareReason: string;
  startAt: number;
  backoffReason: string;
  failuresInARow: number;
  restarts: number;
  /** The spec for which trying again is useless, and why. */
  failed: { spec: Spec; reason: string } | null;
  removing: boolean;
}

export class SupervisorMachine<Spec extends Supervised = ContainerSpec> {
  readonly #timing: SupervisorTiming;
  readonly #newIncarnation: () => string;
  readonly #preparing: string;
  readonly #slots = new Map<string, Slot<Spec>>();
  #desiredKnown = false;
  #effects: SupervisorEffect<Spec>[] = [];

  constructor({ timing, newIncarnation, preparing }: SupervisorOptions) {
    this.#timing = timing;
    this.#newIncarnation = newIncarnation;
    this.#preparing = preparing;
  }

  /** `now` in milliseconds of any clock that never goes back. */
  step(event: SupervisorEvent<Spec>, now: number): SupervisorEffect<Spec>[] {
    this.#effects = [];
    if (event.type === "desired") this.#stepDesired(event.wanted);
    else if (event.type !== "tick") this.#stepSlot(event, now);
    if (!this.#desiredKnown) return this.#effects;
    if ("uid" in event) {
      const slot = this.#slots.get(event.uid);
      if (slot) this.#reconcile(slot, now);
    } else {
      for (const slot of this.#slots.values()) this.#reconcile(slot, now);
    }
    return this.#effects;
  }

  /** When the next `tick` is due; null: nothing waits for time. */
  nextDeadline(): number | null {
    if (!this.#desiredKnown) return null;
    let next = Infinity;
    for (const slot of this.#slots.values()) next = Math.min(next, deadlineOf(slot));
    return next === Infinity ? null : next;
  }

  reports(now: number): ContainerReport[] {
    return [...this.#slots.values()]
      .map((slot) => reportOf(slot, now, this.#preparing))
      .filter((r) => r !== null);
  }

  /** Those that requests may be sent to: uid → incarnation. */
  ready(): Map<string, string> {
    const ready = new Map<string, string>();
    for (const { uid, process } of this.#slots.values()) {
      if (process?.state === "ready" && !process.ending) ready.set(uid, process.incarnation);
    }
    return ready;
  }

  /** True until each adopted process has told its state, or is being ended. */
  isSettling(): boolean {
    for (const { process } of this.#slots.values()) {
      if (process?.startedMs === adoptedMs && !process.heard && !process.ending) return true;
    }
    return false;
  }

  /** Whether a process of it is here, or being started. */
  has(uid: string): boolean {
    return (this.#slots.get(uid)?.process ?? null) !== null;
  }

  /** True when nothing runs here and nothing is left to clean. */
  isEmpty(): boolean {
    return this.#slots.size === 0;
  }

  #stepDesired(specs: readonly Spec[]): void {
    this.#desiredKnown = true;
    const wanted = new Map(specs.map((spec) => [spec.uid, spec]));
    for (const slot of this.#slots.values()) {
      const spec = wanted.get(slot.uid) ?? null;
      // Equal ones become the same object, so that later comparisons cost nothing.
      if (spec && slot.process && isSameSpec(slot.process.spec, spec)) slot.process.spec = spec;
      if (!spec || !slot.wanted || !isSameSpec(slot.wanted, spec)) {
        slot.prepare = "no";
        slot.prepareAt = 0;
        slot.prepareReason = "";
        if (slot.failed && spec && !isSameSpec(slot.failed.spec, spec)) slot.failed = null;
        if (slot.wanted && spec) slot.startAt = 0;
      }
      slot.wanted = spec;
    }
    for (const spec of specs) {
      if (!this.#slots.has(spec.uid)) this.#slots.set(spec.uid, newSlot(spec.uid, spec));
    }
  }

  #stepSlot(event: Exclude<SupervisorEvent<Spec>, { type: "desired" | "tick" }>, now: number): void {
    if (event.type === "adopted") return this.#adopt(event.uid, event.process, now);
    if (event.type === "found") {
      this.#slots.set(event.uid, { ...newSlot<Spec>(event.uid, null), restarts: event.restarts });
      return;
    }
    const slot = this.#slots.get(event.uid);
    if (!slot) return;
    switch (event.type) {
      case "prepared":
      case "progress":
      case "prepareFailed":
        if (slot.prepare !== "asked" || slot.prepareAttempt !== event.attempt) return;
        if (event.type === "prepareFailed") {
          return this.#prepareFailed(slot, event.reason, event.permanent, now);
        }
        if (event.type === "prepared") slot.prepare = "done";
        slot.prepareReason = event.type === "progress" ? event.reason : "";
        return;
      case "dirRemoved":
        slot.removing = false;
        if (!slot.wanted) this.#slots.delete(slot.uid);
        return;
      default:
        if (slot.process?.incarnation === event.incarnation) {
          this.#stepProcess(slot, slot.process, event, now);
        }
    }
  }

  #stepProcess(
    slot: Slot<Spec>,
    process: Process<Spec>,
    event: Extract<SupervisorEvent<Spec>, { incarnation: string }>,
    now: number,
  ): void {
    switch (event.type) {
      case "spawned":
        process.pid = event.pid;
        process.linkBy = now + this.#timing.readyTimeoutMs;
        slot.last.startedAt = event.startedAt;
        return;
      case "spawnFailed":
        process.reason = event.reason;
        return this.#ended(slot, process, event.reason, now);
      case "exited":
        return this.#ended(slot, process, event.reason, now);
      case "hello":
        process.linked = true;
        return;
      case "unlinked":
        process.linked = false;
        process.linkBy = now + this.#timing.helloTimeoutMs;
        return;
      case "hung":
        if (!process.ending) this.#end(process, event.reason, { planned: false, graceMs: 0 }, now);
        return;
      case "state":
        process.heard = true;
        process.state = event.state;
        process.reason = event.reason;
        process.permanent = event.permanent;
        process.anew = event.anew;
        if (event.port !== 0) slot.last.port = event.port;
        return;
      case "stats":
        slot.last.requests = event.requests;
        return;
      case "kernel":
        slot.last.kernel = event.kernel;
    }
  }

  #adopt(uid: string, adopted: Adopted<Spec>, now: number): void {
    const { spec, incarnation, port, startedAt } = adopted;
    this.#slots.set(uid, {
      ...newSlot<Spec>(uid, null),
      restarts: adopted.restarts,
      last: { spec, incarnation, port, startedAt, requests: 0 },
      process: {
        ...newProcess(spec, incarnation),
        pid: adopted.pid,
        linkBy: now + this.#timing.helloTimeoutMs,
        readyBy: now + this.#timing.readyTimeoutMs,
        startedMs: adoptedMs,
      },
    });
  }

  #prepareFailed(slot: Slot<Spec>, reason: string, permanent: boolean, now: number): void {
    slot.prepare = "no";
    slot.prepareAt = now + this.#timing.prepareRetryMs;
    slot.prepareReason = reason;
    if (permanent && slot.wanted) slot.failed = { spec: slot.wanted, reason };
  }

  #reconcile(slot: Slot<Spec>, now: number): void {
    if (slot.process) this.#reconcileProcess(slot, slot.process, now);
    if (slot.process || slot.removing) return;
    if (!slot.wanted) {
      slot.removing = true;
      this.#effects.push({ type: "removeDir", uid: slot.uid });
      return;
    }
    if (slot.failed || now < slot.startAt || !this.#isPrepared(slot, slot.wanted, now)) return;
    this.#start(slot, slot.wanted, now);
  }

  #reconcileProcess(slot: Slot<Spec>, process: Process<Spec>, now: number): void {
    // A start that is under way cannot be called back: what it brings is ended as soon as it is known.
    if (process.pid === 0) return;
    if (!process.ending) this.#maybeEnd(slot, process, now);
    if (process.ending) this.#pursue(slot.uid, process, process.ending, now);
  }

  #maybeEnd(slot: Slot<Spec>, process: Process<Spec>, now: number): void {
    const graceMs = this.#timing.stopGraceMs;
    if (!slot.wanted) {
      this.#end(process, "no longer wanted here", { planned: true, graceMs }, now);
    } else if (!isSameSpec(process.spec, slot.wanted)) {
      // The old one serves until the new one's image is here.
      if (!slot.failed && this.#isPrepared(slot, slot.wanted, now)) {
        const reason = `replaced by generation ${slot.wanted.generation}`;
        this.#end(process, reason, { planned: true, graceMs }, now);
      }
    } else if (process.state === "failed") {
      this.#end(process, process.reason || "failed", { planned: false, graceMs }, now);
    } else if (!process.linked && now >= process.linkBy) {
      const reason = "it lives but does not answer on its control socket";
      this.#end(process, reason, { planned: false, graceMs: 0 }, now);
    } else if (process.state === "starting" && now >= process.readyBy) {
      const reason = `not ready within ${this.#timing.readyTimeoutMs / 1000} s`;
      this.#end(process, reason, { planned: false, graceMs: 0 }, now);
    }
  }

  #end(
    process: Process<Spec>,
    reason: string,
    how: { planned: boolean; graceMs: number },
    now: number,
  ): void {
    const { planned, graceMs } = how;
    process.ending = {
      reason,
      planned,
      // Without a grace there is nothing to ask for: SIGKILL at once.
      stopSent: graceMs === 0,
      terminateAt: graceMs === 0 ? Infinity : now + graceMs,
      killAt: graceMs === 0 ? now : now + graceMs + this.#timing.killMarginMs,
    };
  }

  #pursue(uid: string, process: Process<Spec>, ending: Ending, now: number): void {
    const { incarnation } = process;
    if (!ending.stopSent) {
      ending.stopSent = true;
      this.#effects.push({ type: "stop", uid, incarnation, graceMs: this.#timing.stopGraceMs });
    }
    if (now >= ending.terminateAt) {
      ending.terminateAt = Infinity;
      this.#effects.push({ type: "terminate", uid, incarnation });
    }
    if (now >= ending.killAt) {
      // Again and again: a process in uninterruptible sleep dies late.
      ending.killAt = now + this.#timing.killMarginMs;
      this.#effects.push({ type: "kill", uid, incarnation });
    }
  }

  #isPrepared(slot: Slot<Spec>, spec: Spec, now: number): boolean {
    if (slot.prepare === "no" && now >= slot.prepareAt) {
      slot.prepare = "asked";
      slot.prepareAttempt++;
      this.#effects.push({ type: "prepare", uid: slot.uid, attempt: slot.prepareAttempt, spec });
    }
    return slot.prepare === "done";
  }

  #start(slot: Slot<Spec>, spec: Spec, now: number): void {
    const incarnation = this.#newIncarnation();
    if (slot.last.incarnation !== "") slot.restarts++;
    slot.process = {
      ...newProcess(spec, incarnation),
      readyBy: now + this.#timing.readyTimeoutMs,
      startedMs: now,
    };
    slot.last = { spec, incarnation, port: slot.last.port, startedAt: "", requests: 0 };
    const { uid, restarts } = slot;
    this.#effects.push({ type: "start", uid, spec, incarnation, restarts });
  }

  #ended(slot: Slot<Spec>, process: Process<Spec>, how: string, now: number): void {
    slot.process = null;
    slot.prepare = "no";
    slot.prepareAt = 0;
    if (process.ending?.planned) {
      slot.failuresInARow = 0;
      slot.startAt = now;
      return;
    }
    if (process.permanent && process.state === "failed") {
      slot.failed = { spec: process.spec, reason: process.reason };
      return;
    }
    const { backoffMinMs, backoffMaxMs, backoffResetMs } = this.#timing;
    const ranMs = now - process.startedMs;
    const isBrief = ranMs < anewRunsPerBackoff * backoffMinMs;
    if (ranMs >= backoffResetMs || (process.anew && !isBrief)) slot.failuresInARow = 0;
    const waitMs = Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(slot.failuresInARow, 30));
    slot.failuresInARow++;
    slot.startAt = now + waitMs;
    const why = [process.ending?.reason ?? (process.state === "failed" ? process.reason : ""), how];
    const said = why.filter((w, i) => w !== "" && why.indexOf(w) === i);
    slot.backoffReason = [...said, `tried again after ${waitMs / 1000} s`].join("; ");
  }
}

/** One that begins anew after ten times the shortest back-off costs little, however often. */
const anewRunsPerBackoff = 10;

/** Stands for "started before this agent": long ago on any clock. */
const adoptedMs = -Infinity;

function newSlot<Spec>(uid: string, wanted: Spec | null): Slot<Spec> {
  return {
    uid,
    wanted,
    process: null,
    last: { spec: null, incarnation: "", port: 0, startedAt: "", requests: 0 },
    prepare: "no",
    prepareAttempt: 0,
    prepareAt: 0,
    prepareReason: "",
    startAt: 0,
    backoffReason: "",
    failuresInARow: 0,
    restarts: 0,
    failed: null,
    removing: false,
  };
}

function newProcess<Spec>(spec: Spec, incarnation: string): Process<Spec> {
  return {
    spec,
    incarnation,
    pid: 0,
    linked: false,
    heard: false,
    linkBy: Infinity,
    readyBy: Infinity,
    state: "starting",
    reason: "",
    permanent: false,
    anew: false,
    startedMs: 0,
    ending: null,
  };
}

function deadlineOf<Spec extends Supervised>(slot: Slot<Spec>): number {
  const { process } = slot;
  const waitsForImage = slot.wanted && slot.prepare === "no" && !slot.failed ? slot.prepareAt : Infinity;
  if (!process) {
    if (!slot.wanted || slot.failed || slot.removing || slot.prepare === "asked") return Infinity;
    return Math.max(slot.startAt, slot.prepare === "no" ? slot.prepareAt : 0);
  }
  if (process.pid === 0) return Infinity;
  if (process.ending) return Math.min(process.ending.terminateAt, process.ending.killAt);
  const replaced = slot.wanted && !isSameSpec(process.spec, slot.wanted) ? waitsForImage : Infinity;
  const silent = process.linked ? Infinity : process.linkBy;
  return Math.min(replaced, silent, process.state === "starting" ? process.readyBy : Infinity);
}

function reportOf<Spec extends Supervised>(
  slot: Slot<Spec>,
  now: number,
  preparing: string,
): ContainerReport | null {
  const { last, process } = slot;
  const spec = process?.spec ?? slot.wanted ?? last.spec;
  if (!spec) return null;
  const shown = (state: ContainerState, reason: string, permanent = false): ContainerReport => ({
    tenant: spec.tenant,
    instance: spec.instance,
    uid: slot.uid,
    incarnation: last.incarnation,
    generation: spec.generation,
    state,
    reason,
    permanent,
    pid: process?.pid ?? 0,
    port: process ? last.port : 0,
    restarts: slot.restarts,
    startedAt: process ? last.startedAt : "",
    requests: last.requests,
    ...(last.kernel && process ? { kernel: last.kernel } : {}),
  });
  if (process?.ending) return shown("stopping", process.ending.reason);
  if (process) {
    if (process.state === "failed") return shown("stopping", process.reason);
    const replacement = slot.failed ? `the next generation cannot start: ${slot.failed.reason}` : "";
    return shown(process.state, process.state === "ready" ? replacement : process.reason);
  }
  if (!slot.wanted) return shown("stopping", "its data is being removed");
  if (slot.failed) return shown("failed", slot.failed.reason, true);
  if (now < slot.startAt) return shown("backoff", slot.backoffReason);
  return shown("pulling", slot.prepareReason || preparing);
}

/** Specs come from JSON and go through the same schema: equal ones have equal texts. */
function isSameSpec(a: Supervised, b: Supervised): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
