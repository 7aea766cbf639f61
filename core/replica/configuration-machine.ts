/**
 * The configuration by which a replica goes, and the changes that it asks for. Carries of DESIGN.md section 5:
 *
 *   rule 1   changes by compare-and-set, each with an id of its own; until the outcome of one has been read back,
 *            `required` is the union of what is and what was proposed
 *   rule 3   older epochs and store generations are refused; the highest seen are fsynced before they are acted on
 *
 *     read ─▶ newer? ─ no ─▶ refused        propose ─▶ proposals ─ version above theirs is read ─▶ settled
 *               └─ yes ─▶ incoming ─ meta fsynced ─▶ known
 *
 * All proposals that are open name one version, so that at most one of them is ever carried out.
 */
import type { Change, Configuration, DiskId, Holder, Versioned } from "./configuration.ts";
import type { ReplicaMessage } from "./messages.ts";
import { messageTable } from "./messages.ts";
import type { Replica } from "./replica.ts";
import type { ReplicaMeta } from "./sink.ts";

/** One that there is. */
export interface Known extends Versioned {
  configuration: Configuration;
}

interface Proposal {
  change: Change;
  sentMs: number;
  /** The store has said no at least once; another may be proposed beside it. */
  refused: boolean;
  /** Not sent again: what it was for has passed. It may be carried out all the same. */
  withdrawn: boolean;
}

/** Ids of own changes that are open at a time: more are never needed, as each comes after the refusal of the last. */
const proposalsMax = 16;

export class ConfigurationMachine {
  readonly #replica: Replica;
  readonly #adopted: (before: Known | null) => void;

  /** What this replica goes by. */
  #known: Known | null = null;
  #knownSinceMs: number;
  /** Newer, and not yet fsynced. */
  #incoming: { versioned: Known; ticket: number } | null = null;
  /** There is none yet in the store, and this replica may create it. */
  #empty: Versioned | null = null;
  #proposals: Proposal[] = [];
  /** Why what the store says is not gone by; empty: it is. */
  #problem = "";

  /** What is on the disk, and what will be. */
  #saved: ReplicaMeta;
  #saving: ReplicaMeta;
  #ticket = 0;

  /** `adopted` is told after each change of `known`. */
  constructor(replica: Replica, meta: ReplicaMeta, adopted: (before: Known | null) => void) {
    this.#replica = replica;
    this.#saved = meta;
    this.#saving = meta;
    this.#adopted = adopted;
    this.#knownSinceMs = replica.nowMs;
  }

  get known(): Known | null {
    return this.#known;
  }
  /** When this replica began to go by it. */
  get knownSinceMs(): number {
    return this.#knownSinceMs;
  }
  get epoch(): number {
    return this.#known?.configuration.epoch ?? 0;
  }
  get version(): number {
    return this.#known?.version ?? 0;
  }
  /** Null where it is not known. */
  get primary(): Holder | null {
    return this.#known?.configuration.primary ?? null;
  }
  /** This very host process is it, and nothing newer has been read. */
  get isPrimary(): boolean {
    const { self } = this.#replica;
    const { primary, isOutdated } = this;
    return !isOutdated && primary?.disk === self.disk && primary.incarnation === self.incarnation;
  }
  get inSync(): readonly DiskId[] {
    return this.#known?.configuration.inSync ?? [];
  }
  get problem(): string {
    return this.#problem;
  }
  /** What is certain to be on the disk. */
  get meta(): ReplicaMeta {
    return this.#saved;
  }
  /** Up to this version of a configuration the disk knows that it is in sync. */
  get memberVersion(): number {
    return Math.min(this.#saved.memberVersion ?? 0, this.#saving.memberVersion ?? 0);
  }
  /** After a power cut now this replica would know that it may have lost what was only written (rule 7). */
  get isMarkedReplicated(): boolean {
    return this.#saved.mode === "replicated" && this.#saving.mode === "replicated";
  }
  get isAmnesiac(): boolean {
    return this.#saved.amnesiac || this.#saving.amnesiac;
  }
  /** An amnesiac whose disk has lost more than a power cut takes away. */
  get isDamaged(): boolean {
    return this.#saved.damaged || this.#saving.damaged;
  }
  get mayBootstrap(): boolean {
    return this.#empty !== null && this.#proposals.length === 0;
  }
  get isChanging(): boolean {
    return this.#proposals.length > 0;
  }
  /** A change may be asked for now: none is open whose answer may still come. */
  get mayPropose(): boolean {
    const last = this.#proposals.at(-1);
    if (!last) return true;
    const { nowMs, timings } = this.#replica;
    const isAnswered = last.withdrawn || (last.refused && nowMs >= last.sentMs + timings.retryMs);
    return isAnswered && this.#proposals.length < proposalsMax;
  }

  /** A newer epoch has been read: messages of this one are worth nothing any more, though it is still gone by. */
  get isOutdated(): boolean {
    return (
      this.#incoming !== null &&
      (this.#incoming.versioned.configuration.epoch > this.epoch ||
        this.#incoming.versioned.generation > (this.#known?.generation ?? 0))
    );
  }

  /** Whether messages of this epoch are those of the configuration gone by. */
  accepts(epoch: number): boolean {
    return epoch === this.epoch && epoch > 0 && !this.isOutdated;
  }

  /** Disks whose acknowledgement each write needs, and whose promise each read at the primary: a union while changing. */
  get required(): ReadonlySet<DiskId> {
    const disks = new Set<DiskId>(this.inSync);
    for (const { change } of this.#proposals) for (const disk of change.configuration.inSync) disks.add(disk);
    return disks;
  }

  /** One of the sets that may be in force has this replica alone. */
  get mayBeAlone(): boolean {
    return (
      this.inSync.length === 1 ||
      this.#proposals.some(({ change }) => change.configuration.inSync.length === 1)
    );
  }

  /** Something has been read, in the store or from another replica that has read it there. */
  read(versioned: Versioned): void {
    const { generation, configuration } = versioned;
    const { epochSeen, generationSeen } = this.#saving;
    if (generation < generationSeen) {
      return this.#refuse(
        `the control store has generation ${generation}, and ${generationSeen} was seen before: it is an old copy`,
      );
    }
    if (!configuration) return this.#readEmpty(versioned);
    if (configuration.generation !== generation) {
      return this.#refuse(
        `the control store was restored (generation ${generation}), and its configuration may be older than what was acknowledged: where no primary serves any more, run "dvs instance recover"`,
      );
    }
    if (configuration.epoch < epochSeen) {
      return this.#refuse(
        `the control store has epoch ${configuration.epoch}, and ${epochSeen} was seen before: run "dvs coordinator recover"`,
      );
    }
    const newest = this.#incoming?.versioned ?? this.#known;
    if (newest && generation > newest.generation && configuration.epoch <= epochSeen) {
      return this.#refuse(
        `generation ${generation} of the control store has no newer epoch than ${epochSeen}`,
      );
    }
    this.#problem = "";
    this.#empty = null;
    const isNewer =
      !newest ||
      generation > newest.generation ||
      (generation === newest.generation && versioned.version > newest.version);
    if (isNewer) this.#take({ ...versioned, configuration });
  }

  /** From another replica, which has read it. The primary, who may know it to be known, wants to hear how far we are. */
  handleConfiguration(
    from: DiskId,
    [, generation, version, configuration]: ReplicaMessage<"configuration">,
  ): void {
    const isKnown = generation === this.#known?.generation && version === this.#known.version;
    if (!isKnown) this.read({ generation, version, configuration });
    else if (from === configuration.primary.disk && !this.#replica.isPrimary)
      this.#replica.reporting.report(from);
  }

  /** To a replica that goes by an older one. */
  tell(disk: DiskId): void {
    if (!this.#known) return;
    const { generation, version, configuration } = this.#known;
    this.#replica.sink.send(disk, [messageTable.configuration.number, generation, version, configuration]);
  }

  isOlder(generation: number, version: number): boolean {
    if (!this.#known) return false;
    return (
      generation < this.#known.generation ||
      (generation === this.#known.generation && version < this.#known.version)
    );
  }
  isNewer(generation: number, version: number): boolean {
    if (!this.#known) return version > 0;
    return (
      generation > this.#known.generation ||
      (generation === this.#known.generation && version > this.#known.version)
    );
  }

  /** Asks the store for a change of what is known; `mayPropose` holds. Its epoch, generation and id are filled in here. */
  propose(next: { epoch: number; primary: Holder; inSync: readonly DiskId[] }): void {
    const replica = this.#replica;
    const at = this.#known ?? this.#empty;
    if (!at) return;
    const { generation, version } = at;
    const inSync = [...next.inSync].sort();
    const isSame = ({ change: { configuration } }: Proposal) =>
      configuration.epoch === next.epoch && configuration.inSync.join() === inSync.join();
    const again = this.#proposals.findIndex(isSame);
    if (again >= 0) {
      const [proposal] = this.#proposals.splice(again, 1);
      this.#proposals.push({ ...proposal!, sentMs: replica.nowMs, refused: false, withdrawn: false });
      return replica.sink.propose(proposal!.change);
    }
    const changeId = [...replica.sink.random()].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const configuration: Configuration = {
      epoch: next.epoch,
      primary: next.primary,
      generation,
      inSync,
      changeId,
    };
    const change = { generation, version, configuration };
    this.#proposals.push({ change, sentMs: replica.nowMs, refused: false, withdrawn: false });
    replica.replication.membersChanged();
    replica.sink.propose(change);
  }

  /** What was asked for is not wanted any more. */
  withdraw(): void {
    for (const proposal of this.#proposals) proposal.withdrawn = true;
  }

  changed(changeId: string, outcome: "done" | "refused" | "unknown"): void {
    const proposal = this.#proposals.find(({ change }) => change.configuration.changeId === changeId);
    if (!proposal) return;
    if (outcome === "done") {
      // Versions rise by one, so that this is what a read would find.
      const { generation, version, configuration } = proposal.change;
      this.read({ generation, version: version + 1, configuration });
    } else {
      if (outcome === "refused") proposal.refused = true;
      this.#replica.sink.askConfiguration();
    }
  }

  metaSaved(ticket: number): void {
    if (ticket !== this.#ticket) return;
    this.#saved = this.#saving;
    const incoming = this.#incoming;
    if (incoming) {
      this.#incoming = null;
      this.#adopt(incoming.versioned);
    }
    this.#replica.review();
  }

  /**
   * An amnesiac is in no set any more, and whoever takes it in sees to it that it has everything. Not so where its disk is
   * damaged: it may be taken in by what it had said was durable, so that the primary has to have heard of this life.
   */
  remember(): void {
    if (this.isDamaged) return;
    if (this.version > (this.#saving.memberVersion ?? 0)) this.saveMeta({ amnesiac: false, damaged: false });
  }

  /** The primary has heard that this life is an amnesiac, and neither has it in a set nor asks for that. */
  heardAsAmnesiac(): void {
    if (this.isDamaged && !this.inSync.includes(this.#replica.self.disk))
      this.saveMeta({ amnesiac: false, damaged: false });
  }

  /** Fsynced later. Lowering what it says is for who knows that it is safe. */
  saveMeta(change: Partial<ReplicaMeta>): void {
    const next = { ...this.#saving, ...change };
    const keys = Object.keys(next) as (keyof ReplicaMeta)[];
    if (keys.every((key) => next[key] === this.#saving[key])) return;
    this.#saving = next;
    this.#replica.sink.saveMeta(next, ++this.#ticket);
  }

  tick(): void {
    const { nowMs, timings, sink } = this.#replica;
    const last = this.#proposals.at(-1);
    if (!last || last.withdrawn || nowMs < last.sentMs + timings.retryMs) return;
    last.sentMs = nowMs;
    sink.propose(last.change);
    sink.askConfiguration();
  }

  #readEmpty(versioned: Versioned): void {
    const replica = this.#replica;
    const { epochSeen, generationSeen, amnesiac } = this.#saving;
    // A store that says that it was restored has done what a coordinator can: who goes on is for a person to say.
    const what = versioned.generation > generationSeen ? "instance" : "coordinator";
    if (this.#known || epochSeen > 0 || replica.log.lastIndex > 0 || amnesiac) {
      return this.#refuse(
        `the control store has no configuration, and epoch ${epochSeen} was seen before: run "dvs ${what} recover"`,
      );
    }
    this.#problem = "";
    this.#empty = versioned;
  }

  #take(versioned: Known): void {
    const { configuration, generation } = versioned;
    const { epochSeen, generationSeen } = this.#saving;
    if (configuration.epoch > epochSeen || generation > generationSeen) {
      this.saveMeta({
        epochSeen: configuration.epoch,
        generationSeen: generation,
        ...this.#membership(versioned),
      });
      this.#incoming = { versioned, ticket: this.#ticket };
      this.#replica.review();
    } else if (this.#incoming) {
      this.#incoming.versioned = versioned;
    } else this.#adopt(versioned);
  }

  #adopt(versioned: Known): void {
    const before = this.#known;
    if (!before?.configuration.inSync.includes(this.#replica.self.disk))
      this.saveMeta(this.#membership(versioned));
    this.#known = versioned;
    this.#knownSinceMs = this.#replica.nowMs;
    this.#proposals = this.#proposals.filter(
      ({ change }) => change.generation === versioned.generation && change.version === versioned.version,
    );
    this.#adopted(before);
  }

  #membership({ configuration, version }: Known): Partial<ReplicaMeta> {
    return configuration.inSync.includes(this.#replica.self.disk) ? { memberVersion: version } : {};
  }

  #refuse(problem: string): void {
    this.#problem = problem;
  }
}
