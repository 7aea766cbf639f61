/**
 * Who is a member, and whether this kernel may run: leases, the grantor that gives them, the removal of members that
 * have lost theirs (DESIGN.md sections 4 and 5.2). Pure machine; all times are this host's own clock, in milliseconds.
 *
 *     member    frozen ─ lease granted, View read up to then ─▶ running ─ lease runs out ─▶ frozen ─ removed ─▶ exited
 *     grantor   elected (record) ─ promise of old kept ─▶ acting ─ another record ─▶ member
 *
 * Two promises ride on one beacon. The grantor gives leases, and counts as alive, only while every other member has
 * acknowledged one of its beacons less than L ago. A member that acknowledges one will not propose itself, nor act, as
 * grantor for G > L. So before there is a second one the first gives no leases any more, and once the second has
 * waited for a whole lease, all that the first has given have run out.
 *
 * A grantor that has not read of a new member yet does not need its promise, so that one waits for much longer before
 * it proposes itself. In return the grantor does not need to hear it at first: one that dies as it joins freezes nobody.
 */
import {
  beaconMs,
  grantorAliveMs,
  grantorPromiseMs,
  kernelLeaseMs,
  leaseDriftMs,
  leaseMarginMs,
  newcomerExemptMs,
  newcomerPromiseMs,
  newcomerSilenceMs,
} from "../limits.ts";
import { type KernelMessage, messageTable } from "./messages.ts";
import type { ViewChange } from "./view-change.ts";
import type { ViewMachine } from "./view-machine.ts";
import type { KernelId, KernelRecord } from "./view.ts";

/** What the grantor knows of a member. */
interface Granted {
  /** When the last beacon that it has acknowledged was sent. */
  acknowledgedMs: number;
  /** Its clock, in that acknowledgement; 0: none. */
  memberMs: number;
  /** When that clock was heard of: a lease counts from it, however often it is echoed. */
  heardMs: number;
  /** Its lease has run out by then, whatever became of the messages. */
  leaseEndsMs: number;
  /** Silence counts from here, if it has acknowledged nothing since. */
  seenMs: number;
  /** It joined while this grantor acted: until then, or until it is heard, it is known not to propose itself. */
  newUntilMs: number;
  /** Its removal has been proposed: it gets no lease until that has come to nothing. */
  removing: boolean;
}

/** The rest of the kernel, as this machine sees it. */
export interface MembershipHost {
  readonly view: ViewMachine;
  /** 0 until it has joined. */
  getId(): KernelId;
  transmit(kernel: KernelId, message: KernelMessage): void;
  propose(record: KernelRecord, isSettled: () => boolean, settled: () => void): void;
  setFrozen(frozen: boolean): void;
}

export class MembershipMachine {
  readonly #host: MembershipHost;
  #nowMs: number;
  /** Clocks from before this time prove nothing: nobody had looked for too long. */
  #lapsedMs: number;

  // As a member
  #leaseEndsMs = -Infinity;
  /** The View has to be read so far before a lease is worth anything. */
  #grantIndex = 0;
  /** Last beacon acknowledged, or the election of the grantor read, or another's asked for: whichever was last. */
  #quietSinceMs: number;
  #acknowledgedMs = -Infinity;
  /** The grantor of the View, and where in the records it was elected. */
  #grantor = 0;
  #electedAt = 0;
  /** It has heard of this member. */
  #isMet = false;
  #proposing = false;
  #retired = false;

  // As the grantor
  #actingSinceMs: number | null = null;
  /** Not before this: its predecessor may not have known of this member, and not have needed its promise. */
  #actsFromMs = -Infinity;
  #beaconDueMs = 0;
  readonly #granted = new Map<KernelId, Granted>();

  constructor(host: MembershipHost, nowMs: number) {
    this.#host = host;
    this.#nowMs = nowMs;
    this.#lapsedMs = nowMs;
    this.#quietSinceMs = nowMs;
  }

  get isGrantor(): boolean {
    const { view } = this.#host;
    const id = this.#host.getId();
    return id !== 0 && view.grantor.kernel === id;
  }
  get isActing(): boolean {
    return this.isGrantor && this.#actingSinceMs !== null;
  }
  get leaseEndsMs(): number {
    return this.#leaseEndsMs;
  }

  /** This kernel leaves: it never runs again, and waits for its removal. */
  retire(): void {
    this.#retired = true;
    this.#review();
  }

  tick(nowMs: number): void {
    const gapMs = nowMs - this.#nowMs;
    this.#nowMs = nowMs;
    if (gapMs > grantorAliveMs / 2) this.#lapse();
    const { view } = this.#host;
    const id = this.#host.getId();
    if (!view.members.has(id)) return;
    if (this.isGrantor) this.#tickGrantor();
    else this.#maybeStand();
    this.#review();
  }

  /**
   * When there is something to do for time alone. As soon as anything is not as it should be, at once: then every tick
   * counts, and none is spared.
   */
  get dueMs(): number {
    const { view } = this.#host;
    const id = this.#host.getId();
    if (!view.members.has(id)) return Infinity;
    const isQuiet = (sinceMs: number) => this.#nowMs - sinceMs >= 2 * beaconMs;
    const freezesMs = this.#leaseEndsMs - leaseMarginMs;
    if (this.#nowMs >= freezesMs) return this.#nowMs;
    if (!this.isGrantor) {
      return isQuiet(this.#quietSinceMs)
        ? this.#nowMs
        : Math.min(freezesMs, this.#quietSinceMs + 2 * beaconMs);
    }
    for (const kernel of view.members.keys()) {
      if (kernel !== id && isQuiet(this.#of(kernel).acknowledgedMs)) return this.#nowMs;
    }
    return this.#actingSinceMs === null ? this.#nowMs : Math.min(freezesMs, this.#beaconDueMs);
  }

  /** A record has been applied. */
  applied(change: ViewChange): void {
    const { view } = this.#host;
    if (change.type === "grantor") {
      this.#actsFromMs = this.#isKnown() ? -Infinity : this.#nowMs + grantorPromiseMs;
      this.#electedAt = view.index;
      this.#isMet = false;
      this.#quietSinceMs = this.#nowMs;
      this.#actingSinceMs = null;
      this.#granted.clear();
      this.#grantIndex = this.#host.view.index;
    } else if (change.type === "removed") this.#granted.delete(change.kernel);
    else if (change.type === "joined") {
      if (change.member.kernel === this.#host.getId()) this.#quietSinceMs = this.#nowMs;
      else if (this.isActing) {
        const newcomer = this.#of(change.member.kernel);
        newcomer.newUntilMs = this.#nowMs + newcomerExemptMs;
        // Removed any sooner it would only come again, and make the host that it is slow on slower.
        newcomer.leaseEndsMs = this.#nowMs + newcomerSilenceMs;
      }
    }
    this.#grantor = view.grantor.kernel;
    this.#review();
  }

  /** The grantor cannot give leases without this member's promise. One that has not read of it yet can. */
  #isKnown(): boolean {
    return this.#grantor === 0 || this.#isMet || this.#host.getId() < this.#electedAt;
  }

  /** The View has begun with a snapshot: nothing is known of what its grantor was promised. */
  restored(): void {
    this.#quietSinceMs = this.#nowMs;
    this.#acknowledgedMs = this.#nowMs;
    this.#grantIndex = this.#host.view.index;
  }

  handleBeacon(from: KernelId, [, epoch, grantorMs, echoMs, granted, index]: KernelMessage<"beacon">): void {
    const { grantor } = this.#host.view;
    if (from !== grantor.kernel || epoch !== grantor.epoch || this.isGrantor) return;
    this.#acknowledgedMs = this.#nowMs;
    this.#quietSinceMs = this.#nowMs;
    if (echoMs > 0) this.#isMet = true;
    this.#host.transmit(from, [messageTable.beaconAck.number, epoch, grantorMs, this.#nowMs]);
    if (granted === 1 && echoMs > this.#lapsedMs) {
      this.#leaseEndsMs = Math.max(this.#leaseEndsMs, echoMs + kernelLeaseMs);
      this.#grantIndex = Math.max(this.#grantIndex, index);
    }
    this.#review();
  }

  handleBeaconAck(from: KernelId, [, epoch, grantorMs, memberMs]: KernelMessage<"beaconAck">): void {
    const { grantor, members } = this.#host.view;
    if (!this.isActing || epoch !== grantor.epoch || !members.has(from)) return;
    if (grantorMs < this.#lapsedMs || grantorMs > this.#nowMs) return;
    const member = this.#of(from);
    const isFirst = member.memberMs === 0;
    member.newUntilMs = -Infinity;
    member.acknowledgedMs = Math.max(member.acknowledgedMs, grantorMs);
    if (memberMs > member.memberMs) {
      member.memberMs = memberMs;
      member.heardMs = this.#nowMs;
    }
    // A new member is not to stay frozen until the next round.
    if (isFirst) this.#beacon(from, this.#isAlive());
  }

  /** Removes a member that its node's agent has seen to be gone. Anybody may. */
  certifyExit(incarnation: string): void {
    const member = this.#host.view.memberOf(incarnation);
    if (member) this.#remove(member.kernel, "exit-certificate");
  }

  #tickGrantor(): void {
    const { view } = this.#host;
    const id = this.#host.getId();
    if (this.#actingSinceMs === null) {
      if (this.#nowMs < Math.max(this.#acknowledgedMs + grantorPromiseMs, this.#actsFromMs)) return;
      this.#actingSinceMs = this.#nowMs;
      this.#beaconDueMs = this.#nowMs;
    }
    const isAlive = this.#isAlive();
    if (isAlive) this.#leaseEndsMs = this.#nowMs + kernelLeaseMs;
    if (this.#nowMs >= this.#beaconDueMs) {
      this.#beaconDueMs = this.#nowMs + beaconMs;
      for (const kernel of view.members.keys()) if (kernel !== id) this.#beacon(kernel, isAlive);
    }
    const silent = [...view.members.keys()].filter((kernel) => kernel !== id && this.#isSilent(kernel));
    // Most of them: rather than they, it is this one that nobody hears. They get the time to elect another.
    const patienceMs = silent.length * 2 > view.members.size ? grantorPromiseMs : 0;
    for (const kernel of silent) {
      const { leaseEndsMs, removing } = this.#of(kernel);
      if (this.#nowMs > leaseEndsMs + patienceMs && !removing) this.#remove(kernel, "lease");
    }
  }

  #isSilent(kernel: KernelId): boolean {
    const { acknowledgedMs, seenMs } = this.#of(kernel);
    return this.#nowMs >= Math.max(acknowledgedMs, seenMs) + grantorAliveMs;
  }

  /** Every other member has promised lately not to become grantor. */
  #isAlive(): boolean {
    const { view } = this.#host;
    const id = this.#host.getId();
    for (const kernel of view.members.keys()) {
      if (kernel === id) continue;
      const { acknowledgedMs, newUntilMs } = this.#of(kernel);
      if (this.#nowMs >= Math.max(acknowledgedMs + grantorAliveMs, newUntilMs)) return false;
    }
    return this.#actingSinceMs !== null;
  }

  #beacon(kernel: KernelId, isAlive: boolean): void {
    const { view } = this.#host;
    const member = this.#of(kernel);
    const grants = member.memberMs > 0 && !member.removing && isAlive;
    // It ends before the member may stand for grantor (G): so a member that hears nobody does not remove all others.
    const leaseEndsMs = member.heardMs + kernelLeaseMs + leaseDriftMs;
    if (grants) member.leaseEndsMs = Math.max(member.leaseEndsMs, leaseEndsMs);
    this.#host.transmit(kernel, [
      messageTable.beacon.number,
      view.grantor.epoch,
      this.#nowMs,
      member.memberMs,
      grants ? 1 : 0,
      view.index,
    ]);
  }

  #of(kernel: KernelId): Granted {
    let member = this.#granted.get(kernel);
    if (!member) {
      // What its lease was under another grantor is not known; a new member gets the time to answer.
      const leaseEndsMs = this.#nowMs + kernelLeaseMs + leaseDriftMs;
      const seenMs = this.#nowMs;
      const heard = { acknowledgedMs: -Infinity, memberMs: 0, heardMs: -Infinity };
      member = { ...heard, leaseEndsMs, seenMs, newUntilMs: -Infinity, removing: false };
      this.#granted.set(kernel, member);
    }
    return member;
  }

  #remove(kernel: KernelId, reason: "lease" | "exit-certificate"): void {
    const { view } = this.#host;
    const member = this.#granted.get(kernel);
    if (member) member.removing = true;
    const { epoch } = view.grantor;
    this.#host.propose(
      reason === "lease" ? { type: "remove", kernel, reason, epoch } : { type: "remove", kernel, reason },
      () => !view.members.has(kernel) || (reason === "lease" && view.grantor.epoch !== epoch),
      () => {
        if (member) member.removing = false;
      },
    );
  }

  /** A member for which there is no grantor, or none that is heard, becomes it if nobody is faster. */
  #maybeStand(): void {
    const { view } = this.#host;
    const id = this.#host.getId();
    if (this.#proposing) return;
    // One after the other, so that they do not all ask at once.
    const rank = [...view.members.keys()].filter((kernel) => kernel < id).length;
    const promiseMs = this.#isKnown() ? grantorPromiseMs : newcomerPromiseMs;
    const waitMs = view.grantor.kernel === 0 ? 0 : promiseMs;
    if (this.#nowMs < this.#quietSinceMs + waitMs + rank * beaconMs) return;
    const epoch = view.grantor.epoch + 1;
    this.#proposing = true;
    this.#host.propose(
      { type: "grantor", kernel: id, epoch },
      () => view.grantor.epoch >= epoch || !view.members.has(id),
      () => {
        this.#proposing = false;
        this.#quietSinceMs = this.#nowMs;
      },
    );
  }

  /** Nobody has looked at the clock for so long that it is not known what happened meanwhile. */
  #lapse(): void {
    this.#lapsedMs = this.#nowMs;
    this.#leaseEndsMs = -Infinity;
    for (const member of this.#granted.values()) {
      member.acknowledgedMs = -Infinity;
      member.seenMs = this.#nowMs;
    }
  }

  #review(): void {
    const { view } = this.#host;
    const id = this.#host.getId();
    const isLeased = this.#nowMs < this.#leaseEndsMs - leaseMarginMs;
    const isCurrent = view.members.has(id) && view.index >= this.#grantIndex;
    this.#host.setFrozen(!isLeased || !isCurrent || this.#retired);
  }
}
