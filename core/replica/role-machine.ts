/**
 * What a replica is by the configuration that it goes by, and what each change of that begins and ends.
 *
 *     nobody    it has read no configuration, or a newer epoch that is not on its disk yet
 *     learner   not in sync, or an amnesiac
 *     backup    in sync
 *     promoting primary by the configuration; its epoch is not committed, or it has promised another to wait (rules 2, 3)
 *     primary   it serves
 */
import type { Known } from "./configuration-machine.ts";
import type { Replica } from "./replica.ts";
import type { Role } from "./sink.ts";

export class RoleMachine {
  readonly #replica: Replica;
  #role: Role = "nobody";
  #isPrimary = false;
  #isEstablished = false;
  /** Since when the configuration before was gone by. */
  #knewMs = -Infinity;
  /** Another primary since, or none. */
  #primaryMs = -Infinity;

  constructor(replica: Replica) {
    this.#replica = replica;
  }

  get role(): Role {
    return this.#role;
  }
  /** It has begun to be the primary of its configuration. */
  get isPrimary(): boolean {
    return this.#isPrimary;
  }
  /** Since when the primary is the same one, or nobody. */
  get primaryMs(): number {
    return this.#primaryMs;
  }
  /** It is promoted, and its promises are over; whether it may answer reads is for the leases. */
  get isEstablished(): boolean {
    return this.#isEstablished;
  }

  /** Another configuration is gone by. */
  adopted(before: Known | null): void {
    const replica = this.#replica;
    const { configurations, promises, standing, inSync, self, nowMs } = replica;
    const { configuration } = configurations.known!;
    const epochBefore = before?.configuration.epoch ?? 0;
    const isNewEpoch = configuration.epoch !== epochBefore;
    if (this.#isPrimary && isNewEpoch) this.#stepDown();
    promises.adopted(epochBefore);
    standing.adopted();
    if (configurations.isPrimary) {
      if (configurations.isAmnesiac) configurations.saveMeta({ amnesiac: false, damaged: false });
      if (!this.#isPrimary) this.#begin(before);
      inSync.adopted(before?.configuration.inSync ?? []);
      for (const disk of replica.replication.peers.keys()) configurations.tell(disk);
    } else {
      // It is out: whoever takes it in again has seen to it that it has everything.
      if (!configuration.inSync.includes(self.disk)) configurations.remember();
      if (isNewEpoch) this.#follow();
    }
    this.#knewMs = nowMs;
    this.review();
    inSync.review();
  }

  /** Configuration, log or time have changed. */
  review(): void {
    const { configurations } = this.#replica;
    if (this.#isPrimary && !configurations.isPrimary) this.#stepDown();
    if (this.#isPrimary) this.#maybeEstablish();
    this.#become(this.#isPrimary ? (this.#isEstablished ? "primary" : "promoting") : this.#roleOfOther());
  }

  #roleOfOther(): Role {
    const { configurations, self } = this.#replica;
    if (!configurations.known || configurations.isOutdated) return "nobody";
    const isMember = configurations.inSync.includes(self.disk) && !configurations.isAmnesiac;
    return isMember ? "backup" : "learner";
  }

  #begin(before: Known | null): void {
    const { configurations, leases, replication, levels, inSync, nowMs, timings } = this.#replica;
    const { version } = configurations.known!;
    this.#isPrimary = true;
    inSync.restart();
    // Who was removed lately may still read; before the first configuration nobody has read.
    const knewMs = version === 1 ? -Infinity : before?.version === version - 1 ? this.#knewMs : nowMs;
    leases.begin(knewMs);
    replication.begin();
    levels.review();
    this.#primaryChanged();
    leases.beacon(nowMs + timings.beaconMs);
    this.#replica.wantFlush();
  }

  #follow(): void {
    const { configurations, following } = this.#replica;
    following.restart();
    this.#primaryChanged();
    this.#replica.reporting.report(configurations.primary!.disk);
  }

  /** Its epoch is committed and applied here, and no promise to another primary is running. */
  #maybeEstablish(): void {
    const { applying, replication, promises, writes, reads, leases, nowMs } = this.#replica;
    if (this.#isEstablished || applying.appliedIndex < replication.epochStart) return;
    if (nowMs < promises.freeAtMs) return;
    this.#isEstablished = true;
    this.#become("primary");
    writes.established();
    reads.review();
    leases.beacon();
  }

  #stepDown(): void {
    const { replication, leases, inSync, levels, following, promises, reads } = this.#replica;
    this.#isPrimary = false;
    this.#isEstablished = false;
    replication.end();
    leases.end();
    inSync.restart();
    levels.end();
    following.restart();
    promises.outdated();
    reads.untrusted();
    this.#primaryChanged();
  }

  #primaryChanged(): void {
    const { writes, reads, nowMs } = this.#replica;
    this.#primaryMs = nowMs;
    writes.primaryChanged();
    reads.primaryChanged();
  }

  #become(role: Role): void {
    if (role === this.#role) return;
    this.#role = role;
    this.#replica.sink.roleChanged(role);
  }
}
