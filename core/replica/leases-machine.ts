/**
 * The primary's side of the two promises. Carries of DESIGN.md section 5:
 *
 *   rule 2a  it serves reads only while every other member, of all sets that may be in force, has acknowledged a
 *            beacon that was sent less than L ago
 *   rule 2b  it echoes a backup's clock; from the decision to remove a backup on no more, and nothing is acknowledged
 *            without that one before R has passed since its last echoed clock came (`holds`)
 *   rule 8   what was acknowledged before a gap proves nothing
 *
 * Reads at backups granted by a primary before this one: it granted none after L from our last acknowledgement, and
 * we begin after G > L; so R from our begin on nobody has a lease that we do not know of (`foreignUntilMs`). Nor has a
 * backup that it had just removed, if R has passed since we went by that configuration.
 */
import type { DiskId, ExitCertificate } from "./configuration.ts";
import { messageTable, type ReplicaMessage } from "./messages.ts";
import type { Peer } from "./peer.ts";
import type { Replica } from "./replica.ts";

export class LeasesMachine {
  readonly #replica: Replica;
  #beaconDueMs = -Infinity;
  /** Replicas that are out, and may read until then: no write is acknowledged without them. */
  readonly #holds = new Map<DiskId, number>();
  /** Leases of the primary before have ended by then. */
  #foreignUntilMs = -Infinity;
  /** Nothing is committed before. */
  #commitFromMs = -Infinity;
  #toldUntilMs = -Infinity;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /** A new epoch begins, with this primary. `knewBefore`: since when the configuration was known that it replaces. */
  begin(knewBeforeMs: number): void {
    const { nowMs, promises, timings } = this.#replica;
    this.#holds.clear();
    this.#beaconDueMs = nowMs;
    this.#foreignUntilMs = Math.max(nowMs, promises.freeAtMs) + timings.readLeaseEndedMs;
    this.#commitFromMs = knewBeforeMs + timings.readLeaseEndedMs;
  }

  /** Not primary any more. */
  end(): void {
    this.#holds.clear();
    this.#tellHost(-Infinity);
  }

  /** Until when reads may be answered here; not above now: not at all. */
  get aliveUntilMs(): number {
    const { replication, nowMs, timings, isEstablished } = this.#replica;
    if (!isEstablished) return -Infinity;
    let untilMs = nowMs + timings.aliveMs;
    for (const peer of replication.promising)
      untilMs = Math.min(untilMs, peer.acknowledgedMs + timings.aliveMs);
    return untilMs;
  }
  get isAlive(): boolean {
    return this.aliveUntilMs > this.#replica.nowMs;
  }

  get mayCommit(): boolean {
    return this.#replica.nowMs >= this.#commitFromMs;
  }
  /** Disks that are out of all sets, and without whose acknowledgement nothing is committed yet. */
  get holds(): ReadonlyMap<DiskId, number> {
    return this.#holds;
  }

  /** A member was removed: what it may still read is waited for. */
  removed(peer: Peer): void {
    const { nowMs, promises, timings } = this.#replica;
    const { leasedTo, disk } = peer;
    if (leasedTo !== null && leasedTo !== "" && promises.isCertified({ disk, incarnation: leasedTo })) return;
    const untilMs = Math.max(this.#foreignUntilMs, peer.leasedMs + timings.readLeaseEndedMs);
    if (untilMs > nowMs) this.#holds.set(disk, untilMs);
  }

  certify({ disk, incarnation }: ExitCertificate): void {
    const peer = this.#replica.replication.peer(disk);
    if (peer?.leasedTo === incarnation && this.#holds.delete(disk))
      this.#replica.replication.membersChanged();
  }

  handleBeaconAck(from: DiskId, message: ReplicaMessage<"beaconAck">): void {
    const [, epoch, primaryMs, backupMs, incarnation, version, amnesiac, received, ...acknowledged] = message;
    const replica = this.#replica;
    const { configurations, replication, nowMs } = replica;
    if (!replica.isPrimary || !configurations.accepts(epoch)) return;
    const peer = replication.heard(from, incarnation);
    if (!peer) return;
    peer.amnesiac = amnesiac === 1;
    // It is answered by a report.
    if (version < configurations.version || !peer.levels) configurations.tell(from);
    if (primaryMs >= replica.lapsedMs && primaryMs <= nowMs && primaryMs > peer.acknowledgedMs) {
      peer.acknowledgedMs = primaryMs;
      peer.echoMs = backupMs;
      peer.echoReceivedMs = nowMs;
    }
    if (received > 0) replication.acknowledged(peer, ...acknowledged);
    replication.handleReceived(peer, primaryMs, received);
    replica.inSync.review();
    replica.reads.review();
    this.#tellHost(this.aliveUntilMs);
  }

  tick(): void {
    const { nowMs, timings, replication } = this.#replica;
    for (const [disk, untilMs] of this.#holds) {
      if (nowMs < untilMs) continue;
      this.#holds.delete(disk);
      replication.membersChanged();
    }
    // Without beacons it lapses, and the first backup takes over after G.
    if (nowMs >= this.#beaconDueMs && !replication.isStuck) this.beacon(nowMs + timings.beaconMs);
    this.#tellHost(this.aliveUntilMs);
  }

  /** To all, now. */
  beacon(dueMs = this.#beaconDueMs): void {
    this.#beaconDueMs = dueMs;
    for (const peer of this.#replica.replication.peers.values()) this.#beaconTo(peer);
  }

  lapse(): void {
    const { nowMs, replication } = this.#replica;
    for (const peer of replication.peers.values()) {
      peer.acknowledgedMs = -Infinity;
      peer.heardMs = nowMs;
      peer.progressMs = nowMs;
    }
    this.#tellHost(-Infinity);
  }

  #beaconTo(peer: Peer): void {
    const { configurations, sink, applying, nowMs, inSync, lapsedMs } = this.#replica;
    const { disk, incarnation, echoMs, echoReceivedMs } = peer;
    const isMember = configurations.inSync.includes(disk) && !inSync.isLeaving(disk) && !peer.amnesiac;
    const grants = isMember && incarnation !== "" && echoReceivedMs > lapsedMs && this.isAlive;
    if (grants) {
      peer.leasedTo = peer.leasedMs === -Infinity || peer.leasedTo === incarnation ? incarnation : null;
      peer.leasedMs = Math.max(peer.leasedMs, echoReceivedMs);
    }
    // Nobody who has lost records is told that it was heard while it may be, or come to be, in a set.
    const mayBeMember = configurations.required.has(disk) || inSync.joining === disk;
    const echoOf = peer.amnesiac && mayBeMember ? "" : incarnation;
    peer.beaconMs = nowMs;
    peer.beaconNext = peer.next;
    sink.send(disk, [
      messageTable.beacon.number,
      configurations.epoch,
      nowMs,
      echoMs,
      echoOf,
      grants ? 1 : 0,
      configurations.version,
      applying.commitIndex,
    ]);
  }

  #tellHost(untilMs: number): void {
    if (untilMs === this.#toldUntilMs) return;
    this.#toldUntilMs = untilMs;
    this.#replica.sink.readLease(untilMs);
  }
}
