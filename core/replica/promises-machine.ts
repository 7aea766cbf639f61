/**
 * A replica's side of the two promises, towards the primary. Carries of DESIGN.md section 5:
 *
 *   rule 2a  whoever acknowledges a beacon neither proposes itself nor serves as primary, whoever appointed it, for G
 *            from then on; nor does a host process for G from its start, since it may have promised in an earlier life
 *   rule 2b  reads are answered only for R after the own clock that the primary has echoed
 *   rule 8   a gap between two looks at the clock lapses the lease and prolongs the promise
 *   6        an exit certificate ends the promise to the incarnation that it names, and no other
 *
 * Promises are kept by the incarnation to whom they were given: the certificate of one primary says nothing of another.
 */
import type { DiskId, ExitCertificate, Holder } from "./configuration.ts";
import { messageTable, type ReplicaMessage } from "./messages.ts";
import type { Replica } from "./replica.ts";
import { certificatesKept } from "./timings.ts";

export class PromisesMachine {
  readonly #replica: Replica;
  /** Until when each one was promised; oldest first. */
  readonly #promised = new Map<string, number>();
  /** Of an earlier life: to whomever the first configuration names that is read, or to nobody knows whom. */
  #earlierUntilMs: number;
  /** The primary was heard, or its election read, or the own one has come to nothing. */
  #quietSinceMs: number;
  #beaconMs = -Infinity;
  #readLeaseUntilMs = -Infinity;
  /** Ended incarnations, and when that was learned; oldest first. */
  readonly #certified = new Map<string, number>();

  constructor(replica: Replica) {
    this.#replica = replica;
    this.#earlierUntilMs = replica.nowMs + replica.timings.promiseMs;
    this.#quietSinceMs = replica.nowMs;
  }

  /** By the own clock; valid as long as it is above now. */
  get readLeaseUntilMs(): number {
    return this.#readLeaseUntilMs;
  }
  get hasReadLease(): boolean {
    return this.#replica.nowMs < this.#readLeaseUntilMs;
  }
  /** Silence of the primary counts from here. */
  get quietSinceMs(): number {
    return this.#quietSinceMs;
  }
  /** When the primary's last beacon came. */
  get beaconMs(): number {
    return this.#beaconMs;
  }

  /** From when on no promise stands in the way; −Infinity: none does. */
  get freeAtMs(): number {
    let freeAtMs = this.#earlierUntilMs;
    for (const [holder, untilMs] of this.#promised) {
      if (!this.#certified.has(holder)) freeAtMs = Math.max(freeAtMs, untilMs);
    }
    return freeAtMs;
  }

  isCertified(holder: Holder): boolean {
    return this.#certified.has(keyOf(holder));
  }
  /** Infinity: it may live. */
  certifiedAtMs(holder: Holder): number {
    return this.#certified.get(keyOf(holder)) ?? Infinity;
  }

  certify({ disk, incarnation }: ExitCertificate): void {
    const key = keyOf({ disk, incarnation });
    if (this.#certified.has(key)) return;
    this.#certified.set(key, this.#replica.nowMs);
    for (const oldest of this.#certified.keys()) {
      if (this.#certified.size <= certificatesKept) break;
      this.#certified.delete(oldest);
    }
  }

  handleBeacon(
    from: DiskId,
    [, epoch, primaryMs, echoMs, echoOf, granted, version, commitIndex]: ReplicaMessage<"beacon">,
  ): void {
    const replica = this.#replica;
    const { configurations, nowMs, self, timings, sink } = replica;
    const primary = configurations.primary;
    if (!primary || !configurations.accepts(epoch) || from !== primary.disk || replica.isPrimary) return;
    this.#beaconMs = nowMs;
    this.#quietSinceMs = nowMs;
    this.#promise(keyOf(primary), nowMs + timings.promiseMs);
    const { received, written, durable } = replica.following;
    sink.send(from, [
      messageTable.beaconAck.number,
      epoch,
      primaryMs,
      nowMs,
      self.incarnation,
      configurations.version,
      configurations.isAmnesiac ? 1 : 0,
      received,
      written,
      durable,
      configurations.memberVersion,
    ]);
    if (version > configurations.version) {
      replica.reporting.report(from);
      sink.askConfiguration();
    }
    const isMember = configurations.inSync.includes(self.disk) && !configurations.isAmnesiac;
    if (
      granted === 1 &&
      isMember &&
      echoOf === self.incarnation &&
      echoMs > replica.lapsedMs &&
      echoMs <= nowMs
    ) {
      this.#lease(Math.max(this.#readLeaseUntilMs, echoMs + timings.readLeaseMs));
    }
    if (echoOf === self.incarnation) configurations.heardAsAmnesiac();
    replica.standing.heard();
    replica.following.commit(commitIndex);
  }

  /** Another configuration is gone by. */
  adopted(epochBefore: number): void {
    const { configurations, self, nowMs } = this.#replica;
    const { primary, epoch, inSync } = configurations;
    if (this.#earlierUntilMs > -Infinity && primary) {
      // The earlier life promised it to that primary. Was it primary itself, it may have been so before its promise to
      // another was over, unless it was alone.
      const wasPrimary = primary.disk === self.disk;
      if (!wasPrimary) this.#promise(keyOf(primary), this.#earlierUntilMs);
      if (!wasPrimary || inSync.length === 1) this.#earlierUntilMs = -Infinity;
    }
    if (epoch !== epochBefore) {
      this.#quietSinceMs = nowMs;
      this.#beaconMs = -Infinity;
    }
    if (epoch !== epochBefore || !inSync.includes(self.disk)) this.#lease(-Infinity);
  }

  /** A newer epoch was read: what this one's primary has granted ends. */
  outdated(): void {
    this.#lease(-Infinity);
  }

  lapse(): void {
    this.#quietSinceMs = this.#replica.nowMs;
    this.#lease(-Infinity);
  }

  tick(): void {
    for (const [holder, untilMs] of this.#promised) {
      if (untilMs <= this.#replica.nowMs) this.#promised.delete(holder);
    }
    if (this.#earlierUntilMs <= this.#replica.nowMs) this.#earlierUntilMs = -Infinity;
  }

  #promise(holder: string, untilMs: number): void {
    this.#promised.set(holder, Math.max(untilMs, this.#promised.get(holder) ?? -Infinity));
  }

  #lease(untilMs: number): void {
    if (untilMs === this.#readLeaseUntilMs) return;
    this.#readLeaseUntilMs = untilMs;
    this.#replica.sink.readLease(untilMs);
  }
}

function keyOf({ disk, incarnation }: Holder): string {
  return `${disk} ${incarnation}`;
}
