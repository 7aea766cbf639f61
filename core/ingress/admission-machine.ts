/**
 * How the requests of one instance come to connections. Pure machine: clock and connections are arguments.
 *
 *   enter ─── its upstream has an idle connection ──▶ serve
 *     └── waits in line ─── a connection is freed or opened, whichever comes first ──▶ serve
 *           └── too long, too many, no upstream left that might be reached ──▶ refuse
 *
 * One line for all upstreams of the instance, oldest first: what any of them frees serves the oldest request that may
 * use it. Connections are opened for those that wait, as many as they are, within each upstream's bounds; but nobody
 * is bound to the one that was opened for it. So a burst ends by the work being done and not by handshakes.
 */
import { type Candidate, type Reach, type Turn, choose, isHealthy } from "./balancing-machine.ts";
import type { LoadLimits } from "./load-limits.ts";
import { type Place, WaitingLine } from "./waiting-line.ts";

export interface AdmissionUpstream extends Candidate {
  /** Has a connection that is idle, and that was still in use, or opened, at sinceMs or later. */
  hasIdle(sinceMs: number): boolean;
  mayConnect(nowMs: number): boolean;
  /** Opens a connection; the outcome comes as freed() or connectFailed(). */
  connect(nowMs: number): void;
  /** As many connections as it may have, none idle. */
  readonly full: boolean;
  /** Being established. */
  readonly connecting: number;
  /** Carrying a request. */
  readonly inUse: number;
  /** When the last one could not be established; written by the machine, in its own count of events. */
  connectFailedCount: number;
}

/** `nothing`: there are no upstreams. `unreachable`: none of them could be connected to since it waits. */
export type Refusal = "nothing" | "full" | "waited" | "unreachable";

export interface Applicant<U> {
  /** Its rank in line, from Admission.nextOrder(): it keeps it when it comes back. */
  readonly order: number;
  /** How long a connection may have been idle that it can use; 0: not at all. */
  readonly idleMsMax: number;
  /** Failed it before. */
  readonly avoid: U | null;
  /** Written by the machine: where it stands in line. */
  place: Place<Applicant<U>> | null;
  /** It gets an idle connection of this upstream, which it must take before it returns. */
  serve(upstream: U): void;
  refuse(refusal: Refusal): void;
}

/** A line in which nobody was served for so long does not move. */
const stalledMs = 250;

export class Admission<U extends AdmissionUpstream> {
  readonly limits: LoadLimits;
  readonly #turn: Turn = { next: 0 };
  readonly #line = new WaitingLine<Applicant<U>>();
  #upstreams: readonly U[] = [];
  #orders = 0;
  /** Of events; tells whether a connection failed before or after a request began to wait. */
  #count = 0;
  /** Since when the line has moved without coming to its end; null while it does not move. */
  #movesSince: number | null = null;
  #movedAt = -Infinity;
  #pumping = false;
  #pumpAgain = false;

  constructor(limits: LoadLimits) {
    this.limits = limits;
  }

  get upstreams(): readonly U[] {
    return this.#upstreams;
  }

  get waiting(): number {
    return this.#line.size;
  }

  /** Requests so far. */
  get orders(): number {
    return this.#orders;
  }

  /** How long a request may wait now, in milliseconds. */
  patienceMs(nowMs: number): number {
    const { standingMs, standingWaitMs, waitingMs } = this.limits;
    const stands = this.#movesSince !== null && nowMs - this.#movesSince >= standingMs;
    return stands ? Math.min(standingWaitMs, waitingMs) : waitingMs;
  }

  nextOrder(): number {
    return this.#orders++;
  }

  /** The table has changed. */
  setUpstreams(upstreams: readonly U[], nowMs: number): void {
    this.#upstreams = upstreams;
    if (upstreams.length > 0) this.pump(nowMs);
    else for (let place = this.#line.first; place; place = place.next) this.#refuse(place, "nothing");
  }

  enter(applicant: Applicant<U>, nowMs: number): void {
    if (this.#upstreams.length === 0) return applicant.refuse("nothing");
    if (this.#line.size > 0) {
      if (this.#line.size >= this.limits.waitingMax) return applicant.refuse("full");
      this.#add(applicant, nowMs);
      this.pump(nowMs);
      return;
    }
    const sinceMs = nowMs - applicant.idleMsMax;
    const upstream = this.#choose(this.#turn, applicant, sinceMs, true, nowMs);
    if (upstream?.hasIdle(sinceMs)) return applicant.serve(upstream);
    this.#add(applicant, nowMs);
    // Not what another has idle: each is to have its turn, and with it its connections.
    if (upstream) upstream.connect(nowMs);
    else this.pump(nowMs);
  }

  #add(applicant: Applicant<U>, nowMs: number): void {
    if (this.#line.size === 0) this.#movesSince = null;
    const since = { ms: nowMs, count: ++this.#count };
    applicant.place = this.#line.add(applicant, applicant.order, since, nowMs + this.limits.waitingMs);
  }

  /** Its client has gone. */
  leave(applicant: Applicant<U>): void {
    if (applicant.place) this.#line.remove(applicant.place);
    applicant.place = null;
  }

  /** An upstream has an idle connection: a request is done with it, or it has been opened. */
  freed(upstream: U, nowMs: number): void {
    if (this.#line.size > 0) this.#serve({ next: this.#upstreams.indexOf(upstream) }, nowMs);
  }

  /** Gives idle connections to those that wait. They had their turns when connections were opened for them. */
  #serve(turn: Turn, nowMs: number): void {
    let next: Place<Applicant<U>> | null;
    for (let place = this.#line.first; place; place = next) {
      next = place.next;
      if (!this.#upstreams.some((u) => u.hasIdle(-Infinity))) return;
      const { waiter, sinceMs } = place;
      // Serving one may have made another leave.
      if (waiter.place !== place) continue;
      const idleSinceMs = Math.min(sinceMs, nowMs - waiter.idleMsMax);
      const upstream = this.#choose(turn, waiter, idleSinceMs, false, nowMs);
      if (!upstream) continue;
      this.leave(waiter);
      this.#movesSince ??= nowMs;
      this.#movedAt = nowMs;
      waiter.serve(upstream);
    }
  }

  connectFailed(upstream: U, nowMs: number): void {
    upstream.connectFailedCount = ++this.#count;
    this.pump(nowMs);
  }

  /** Anything has changed: a connection was opened or closed, an upstream is judged in another way. */
  pump(nowMs: number): void {
    if (this.#line.size === 0) return;
    this.#pumpAgain = true;
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#pumpAgain) {
      this.#pumpAgain = false;
      this.#serve({ next: this.#turn.next }, nowMs);
      this.#connect(nowMs);
    }
    this.#pumping = false;
  }

  /** Opens connections for those that wait, unless as many are under way. */
  #connect(nowMs: number): void {
    let coming = 0;
    for (const upstream of this.#upstreams) if (isHealthy(upstream)) coming += upstream.connecting;
    let next: Place<Applicant<U>> | null;
    for (let place = this.#line.first; place; place = next) {
      next = place.next;
      if (this.#isUnreachable(place)) this.#refuse(place, "unreachable");
      else if (coming > 0) coming--;
      else {
        const upstream = this.#choose(this.#turn, place.waiter, Infinity, true, nowMs, place.sinceCount);
        if (upstream) upstream.connect(nowMs);
        // Those behind it can get no more than it.
        else if (place.waiter.avoid === null) return;
      }
    }
  }

  /** Each upstream has refused a connection since it began to wait, and holds none that might be freed. */
  #isUnreachable({ waiter, sinceCount }: Place<Applicant<U>>): boolean {
    return this.#upstreams.every(
      (u) => u === waiter.avoid || (u.connectFailedCount > sinceCount && u.connecting === 0 && u.inUse === 0),
    );
  }

  /** `sinceCount`: what has refused a connection since then is not asked again before a probe has found it good. */
  #choose(
    turn: Turn,
    { avoid }: Applicant<U>,
    idleSinceMs: number,
    connects: boolean,
    nowMs: number,
    sinceCount = Infinity,
  ): U | null {
    const reach = (u: U): Reach => {
      if (u === avoid) return "never";
      if (u.hasIdle(idleSinceMs)) return "now";
      const refused = u.connectFailedCount > sinceCount && !isHealthy(u);
      if (connects && !refused && u.mayConnect(nowMs)) return "now";
      return u.full ? "full" : "later";
    };
    return choose(this.#upstreams, turn, reach, { crowded: this.#isCrowded(nowMs), nowMs });
  }

  #isCrowded(nowMs: number): boolean {
    const { waitingMs, crowdedMs } = this.limits;
    const oldest = this.#line.first;
    return oldest !== null && oldest.deadlineMs - nowMs < waitingMs - crowdedMs;
  }

  /** To be called some dozen times a second. `lateMs`: what our own loop was late by, which nobody has waited. */
  tick(nowMs: number, lateMs: number): void {
    // Nobody is to pay for a stall by a second one: patience is for lines that do not move.
    if (nowMs - lateMs - this.#movedAt >= stalledMs) this.#movesSince = null;
    const spare = this.limits.waitingMs - this.patienceMs(nowMs);
    let next: Place<Applicant<U>> | null;
    for (let place = this.#line.first; place; place = next) {
      next = place.next;
      place.deadlineMs += lateMs;
      if (nowMs >= place.deadlineMs - spare) this.#refuse(place, "waited");
    }
    this.pump(nowMs);
  }

  #refuse(place: Place<Applicant<U>>, refusal: Refusal): void {
    this.leave(place.waiter);
    place.waiter.refuse(refusal);
  }
}
