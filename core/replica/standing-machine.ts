/**
 * Becoming primary: who proposes itself, and when. Carries of DESIGN.md section 5:
 *
 *   rule 1   only members propose, and the first configuration of all comes from the first wanted replica
 *   rule 2a  not before G after the last beacon that it acknowledged, except by an exit certificate (promises-machine)
 *   rule 4   a replica starts as nobody; an amnesiac proposes itself only when all members are amnesiac and have
 *            reported, and its log is the longest; the others then learn anew. One whose disk is damaged never does
 *   rule 7   before the proposal that makes it the only member, its log is durable
 */
import type { DiskId, Holder } from "./configuration.ts";
import { nextEra } from "./era.ts";
import type { ReplicaMessage } from "./messages.ts";
import type { Replica } from "./replica.ts";

interface Report {
  incarnation: string;
  lastEpoch: number;
  lastIndex: number;
  amnesiac: boolean;
  atMs: number;
}

export class StandingMachine {
  readonly #replica: Replica;
  /** Of others, while there is no primary. */
  readonly #reports = new Map<DiskId, Report>();
  #standing = false;
  /** Others are to have their turn before it proposes itself again. */
  #notBeforeMs = -Infinity;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  /** The primary lives after all. */
  heard(): void {
    if (!this.#standing) return;
    this.#standing = false;
    this.#replica.configurations.withdraw();
  }

  handleReport(
    from: DiskId,
    [, incarnation, , , lastEpoch, lastIndex, amnesiac]: ReplicaMessage<"report">,
  ): void {
    this.#reports.set(from, {
      incarnation,
      lastEpoch,
      lastIndex,
      amnesiac: amnesiac === 1,
      atMs: this.#replica.nowMs,
    });
  }

  adopted(): void {
    this.#standing = false;
    const { inSync } = this.#replica.configurations;
    for (const disk of this.#reports.keys()) if (!inSync.includes(disk)) this.#reports.delete(disk);
  }

  /** Who was heard within L: it lives. */
  isHeard(disk: DiskId): boolean {
    const { nowMs, timings } = this.#replica;
    return (this.#reports.get(disk)?.atMs ?? -Infinity) > nowMs - timings.aliveMs;
  }

  /** Members whose word an amnesiac waits for; for people. */
  waitsFor(): DiskId[] {
    const { configurations, self, isPrimary } = this.#replica;
    if (isPrimary || !configurations.isAmnesiac || !configurations.inSync.includes(self.disk)) return [];
    return configurations.inSync.filter((disk) => disk !== self.disk && !this.isHeard(disk));
  }

  tick(): void {
    const { configurations, self, wanted } = this.#replica;
    if (configurations.mayBootstrap && wanted[0] === self.disk) {
      return configurations.propose({ epoch: 1, primary: self, inSync: [self.disk] });
    }
    const known = configurations.known?.configuration;
    if (!known || this.#replica.isPrimary || configurations.isOutdated || !known.inSync.includes(self.disk))
      return;
    if (!configurations.mayPropose || !this.#isTime(known.primary)) return;
    if (!configurations.isAmnesiac) this.#stand(known.epoch + 1, this.#without(known.inSync, known.primary));
    // What all of them have lost was acknowledged, and its revisions are known.
    else if (!configurations.isDamaged && this.#isLongestOfAmnesiacs(known.inSync))
      this.#stand(nextEra(known.epoch), [self.disk]);
  }

  /** Nobody has a promise of this replica, the primary has been silent, and those before it had their turn. */
  #isTime(primary: Holder): boolean {
    const { promises, configurations, nowMs, timings, self } = this.#replica;
    const { inSync, knownSinceMs } = configurations;
    if (nowMs < Math.max(promises.freeAtMs, this.#notBeforeMs)) return false;
    const candidates = inSync.filter((disk) => disk !== primary.disk || disk === self.disk);
    const turnMs = candidates.indexOf(self.disk) * timings.beaconMs;
    const isAlone = primary.disk === self.disk && inSync.length === 1;
    if (isAlone) return true;
    // Who has ended is silent from now on; the turns are shorter, as each is only the way to the store and back.
    const certifiedMs = Math.max(promises.certifiedAtMs(primary), knownSinceMs) + turnMs / 4;
    return nowMs >= Math.min(certifiedMs, promises.quietSinceMs + timings.promiseMs + turnMs);
  }

  /** All members, without the old primary's disk where that is not heard: it could only be waited for. */
  #without(inSync: readonly DiskId[], primary: Holder): DiskId[] {
    const { self } = this.#replica;
    // Another life of it, that is: it may have reported before it was primary.
    const isBack =
      this.isHeard(primary.disk) && this.#reports.get(primary.disk)!.incarnation !== primary.incarnation;
    return inSync.filter((disk) => disk !== primary.disk || disk === self.disk || isBack);
  }

  #isLongestOfAmnesiacs(inSync: readonly DiskId[]): boolean {
    const { self, log } = this.#replica;
    for (const disk of inSync) {
      if (disk === self.disk) continue;
      const report = this.#reports.get(disk);
      if (!report || !this.isHeard(disk) || !report.amnesiac) return false;
      const epochs = report.lastEpoch - log.lastEpoch;
      const indices = report.lastIndex - log.lastIndex;
      if (epochs > 0 || (epochs === 0 && (indices > 0 || (indices === 0 && disk < self.disk)))) return false;
    }
    return true;
  }

  #stand(epoch: number, inSync: readonly DiskId[]): void {
    const { configurations, self, nowMs, timings, log, sink } = this.#replica;
    // Alone with what it has acknowledged as written, it has to have it for good (rule 7).
    if (inSync.length === 1 && log.durable < log.lastIndex) return sink.wantDurable();
    this.#standing = true;
    this.#notBeforeMs = nowMs + timings.retryMs;
    configurations.propose({ epoch, primary: self, inSync });
  }
}
