/**
 * Reports: how far a replica is. To the primary that is a member whose link is new, or a learner that wants to become
 * one; among the others it counts while there is no primary (standing-machine). Sent at the pace of beacons by whoever
 * is not fed, and by whoever hears of nobody to all.
 */
import type { DiskId } from "./configuration.ts";
import { messageTable, type ReplicaMessage } from "./messages.ts";
import type { Replica } from "./replica.ts";

/** Beacons that may be lost before the primary counts as not heard. */
const beaconsMissed = 2.5;

export class ReportingMachine {
  readonly #replica: Replica;
  #dueMs = -Infinity;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  report(to: DiskId): void {
    const { configurations, log, sink, self, applying, levels } = this.#replica;
    sink.send(to, [
      messageTable.report.number,
      self.incarnation,
      configurations.known?.generation ?? 0,
      configurations.version,
      log.lastEpoch,
      log.lastIndex,
      configurations.isAmnesiac ? 1 : 0,
      applying.appliedIndex,
      levels.supported,
    ]);
  }

  handleReport(from: DiskId, message: ReplicaMessage<"report">): void {
    const [, incarnation, generation, version, lastEpoch, lastIndex, amnesiac, , levels] = message;
    const { configurations, replication, inSync, standing, sink, isPrimary, wanted } = this.#replica;
    if (configurations.isOlder(generation, version)) configurations.tell(from);
    else if (configurations.isNewer(generation, version)) sink.askConfiguration();
    if (!isPrimary) return standing.handleReport(from, message);
    if (!configurations.required.has(from) && !wanted.includes(from)) return;
    replication.addLearner(from);
    const peer = replication.heard(from, incarnation);
    if (!peer) return;
    peer.levels = levels;
    peer.amnesiac = amnesiac === 1;
    replication.startFrom(peer, lastEpoch, lastIndex);
    inSync.review();
  }

  /** A new link: what was sent over the old one may be lost. */
  linkUp(disk: DiskId): void {
    const { isPrimary, configurations } = this.#replica;
    if (!isPrimary && (disk === configurations.primary?.disk || !this.#hearsPrimary)) this.report(disk);
  }

  tick(): void {
    const { configurations, following, promises, sink, self, timings, nowMs } = this.#replica;
    if (nowMs < this.#dueMs) return;
    this.#dueMs = nowMs + timings.beaconMs;
    const known = configurations.known?.configuration;
    if (!known) return sink.askConfiguration();
    const hears = this.#hearsPrimary;
    if (hears && following.received > 0 && !configurations.isAmnesiac) return;
    const to = new Set(hears ? [known.primary.disk] : [known.primary.disk, ...known.inSync]);
    to.delete(self.disk);
    for (const disk of to) this.report(disk);
    if (!hears && nowMs >= promises.quietSinceMs + timings.aliveMs) sink.askConfiguration();
  }

  get #hearsPrimary(): boolean {
    const { promises, timings, nowMs } = this.#replica;
    return nowMs < promises.beaconMs + beaconsMissed * timings.beaconMs;
  }
}
