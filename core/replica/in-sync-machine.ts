/**
 * Who is in sync, as the primary sees to it. Carries of DESIGN.md section 5:
 *
 *   rule 1   a replica joins when it has all that is committed, and from before the change is sent each commit needs
 *            it; what has left counts until the change has been read back
 *   rule 2   a member that has not promised for L is removed (where too few would be left, for G and the way to the
 *            store, so that they may take over if it is this replica that is cut off); so is one whose end is certified, whose disk hangs, or
 *            that has lost records
 *   rule 3   the same during promotion: a member that does not answer is removed by compare-and-set, and no other way
 *   rule 7   before the change that leaves this replica alone, its log is durable, and `fsync` is in force
 */
import type { DiskId, ExitCertificate } from "./configuration.ts";
import type { Peer } from "./peer.ts";
import type { Replica } from "./replica.ts";
import { joinLagBytes } from "./timings.ts";

export class InSyncMachine {
  readonly #replica: Replica;
  /** Members whose removal is decided, and why. They get no lease any more. */
  readonly #leaving = new Map<DiskId, string>();
  /** A learner that is being taken in: commits need it, though no change has been sent yet. */
  #joining: DiskId | null = null;
  /** Up to where the log was when it was decided that this replica will be alone. */
  #aloneFrom = 0;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  get joining(): DiskId | null {
    return this.#joining;
  }
  get leaving(): ReadonlyMap<DiskId, string> {
    return this.#leaving;
  }
  /** The removals that are decided leave one. */
  get leavesOne(): boolean {
    return this.#leaving.size > 0 && this.#remaining().length === 1;
  }

  isMember(disk: DiskId): boolean {
    return this.#replica.configurations.inSync.includes(disk);
  }
  isLeaving(disk: DiskId): boolean {
    return this.#leaving.has(disk);
  }

  /** It is removed, as soon as the store says so. */
  leave(disk: DiskId, why: string): void {
    const { replication, sink, log } = this.#replica;
    if (!this.isMember(disk) || this.#leaving.has(disk)) return;
    this.#leaving.set(disk, why);
    if (this.leavesOne) {
      this.#aloneFrom = log.lastIndex;
      sink.wantDurable();
    }
    replication.membersChanged();
    this.review();
  }

  /** Another configuration is gone by: `before` were in sync. */
  adopted(before: readonly DiskId[]): void {
    const { replication, leases, configurations } = this.#replica;
    const { version } = configurations;
    for (const peer of replication.peers.values()) {
      const wasMember = before.includes(peer.disk);
      const isMember = this.isMember(peer.disk);
      if (wasMember && !isMember) leases.removed(peer);
      if (!isMember) peer.joinedVersion = Infinity;
      else if (!wasMember) peer.joinedVersion = version;
    }
    for (const disk of this.#leaving.keys()) if (!this.isMember(disk)) this.#leaving.delete(disk);
    if (this.#joining !== null && (this.isMember(this.#joining) || !configurations.isChanging))
      this.#joining = null;
    replication.membersChanged();
  }

  /** Primary, or not any more. */
  restart(): void {
    this.#leaving.clear();
    this.#joining = null;
  }

  certify({ disk, incarnation }: ExitCertificate): void {
    const peer = this.#replica.replication.peer(disk);
    if (peer?.incarnation === incarnation) this.leave(disk, "its host process has ended");
  }

  /** A replica has acknowledged records. */
  progressed(peer: Peer): void {
    if (peer.disk === this.#joining) this.review();
    else if (this.#joining === null && !this.isMember(peer.disk)) this.#maybeTakeIn();
  }

  /** More has been applied: a promotion may be complete. */
  applied(): void {
    this.#replica.review();
  }

  /** Proposes what has to be changed. */
  review(): void {
    const { isPrimary, configurations } = this.#replica;
    if (!isPrimary) return;
    this.#removeSilent();
    if (!configurations.mayPropose) return;
    if (this.#leaving.size > 0) return this.#proposeRemoval();
    if (this.#joining !== null) return this.#proposeJoin();
    // What was refused may not stay open: commits would need it for ever.
    if (configurations.isChanging) return this.#propose(configurations.inSync);
    this.#maybeRemoveUnwanted();
    this.#maybeTakeIn();
  }

  #removeSilent(): void {
    const { replication, timings, nowMs, self, promises, configurations } = this.#replica;
    const silenceMs = this.#silenceMs;
    for (const disk of configurations.inSync) {
      const peer = disk === self.disk || this.#leaving.has(disk) ? null : replication.peer(disk);
      if (!peer) continue;
      const { incarnation, amnesiac, progressMs } = peer;
      if (nowMs >= Math.max(peer.acknowledgedMs, peer.heardMs) + silenceMs) this.leave(disk, "it is silent");
      else if (amnesiac) this.leave(disk, "it has lost records in a power cut");
      else if (nowMs >= progressMs + timings.stuckMs) this.leave(disk, "its disk takes nothing");
      else if (incarnation !== "" && promises.isCertified({ disk, incarnation })) {
        this.leave(disk, "its host process has ended");
      }
    }
    const joining = this.#joining === null ? null : replication.peer(this.#joining);
    const isIt = joining && !joining.amnesiac && this.#isResponsive(joining);
    if (joining && !configurations.isChanging && !isIt) {
      // Nothing was sent: it is simply not taken in.
      this.#joining = null;
      replication.membersChanged();
    }
  }

  /**
   * How long a member may be silent. L; but where too few would be left for writes, this replica may be the one that is
   * cut off: then the others, if they live, take over at G, and it removes them only when nobody has.
   */
  get #silenceMs(): number {
    const { configurations, policy, replication, self, timings } = this.#replica;
    let left = 0;
    for (const disk of configurations.inSync) {
      const peer = replication.peer(disk);
      if (disk === self.disk || (peer && !this.#leaving.has(disk) && this.#isResponsive(peer))) left++;
    }
    const isEnough = left >= Math.min(policy.minInSync, policy.replicas);
    return isEnough ? timings.aliveMs : timings.promiseMs + 2 * timings.retryMs;
  }

  #proposeRemoval(): void {
    const { log, applying } = this.#replica;
    const remaining = this.#remaining();
    if (remaining.length === 1 && log.durable < Math.max(this.#aloneFrom, applying.commitIndex)) return;
    this.#propose(remaining);
  }

  #proposeJoin(): void {
    const { replication, applying, configurations } = this.#replica;
    const peer = replication.peer(this.#joining!);
    if (!peer) return;
    if (replication.has(peer) >= applying.commitIndex && peer.matched)
      this.#propose([...configurations.inSync, peer.disk]);
  }

  /** One learner at a time. */
  #maybeTakeIn(): void {
    const { replication, configurations, isEstablished, leases, wanted, levels, log } = this.#replica;
    if (!isEstablished || configurations.isChanging || this.#leaving.size > 0 || !leases.isAlive) return;
    for (const peer of replication.peers.values()) {
      if (this.isMember(peer.disk) || !wanted.includes(peer.disk) || !this.#isResponsive(peer)) continue;
      const isNear = peer.next > log.lastIndex && peer.outstandingBytes <= joinLagBytes;
      if (!isNear || !peer.matched || peer.amnesiac || !levels.suits(peer) || leases.holds.has(peer.disk))
        continue;
      this.#joining = peer.disk;
      replication.membersChanged();
      return this.#proposeJoin();
    }
  }

  /** Its promise is fresh, so that taking it in does not stop reads. */
  #isResponsive(peer: Peer): boolean {
    const { nowMs, timings } = this.#replica;
    return nowMs < peer.acknowledgedMs + timings.aliveMs / 2;
  }

  /** Who is to leave goes once others are in its place. */
  #maybeRemoveUnwanted(): void {
    const { wanted, policy, self, isEstablished } = this.#replica;
    if (!isEstablished || wanted.length === 0) return;
    const present = wanted.filter((disk) => disk !== null && this.isMember(disk));
    if (present.length < Math.min(policy.replicas, wanted.length)) return;
    for (const disk of this.#replica.configurations.inSync) {
      if (!wanted.includes(disk) && disk !== self.disk) return this.leave(disk, "it is not wanted any more");
    }
  }

  #remaining(): DiskId[] {
    return this.#replica.configurations.inSync.filter((disk) => !this.#leaving.has(disk));
  }

  #propose(inSync: readonly DiskId[]): void {
    const { configurations, self } = this.#replica;
    configurations.propose({ epoch: configurations.epoch, primary: self, inSync });
  }
}
