/**
 * A state process: the real machine (core/replica) over the real log (core/log), on a simulated disk, with simulated
 * links, coordinator and clock. What the host of the product does around the machine is done here in the same order.
 */
import { Decoder, Encoder } from "@msgpack/msgpack";
import type { Log, LogListener } from "../../../core/log/log.ts";
import { NoSpace } from "../../../core/log/log-files.ts";
import { CannotRepair } from "../../../core/log/repair.ts";
import { openLog } from "../../../core/log/open-log.ts";
import { scrubOnce } from "../../../core/log/scrub.ts";
import { run as runSteps } from "../../../core/log/steps.ts";
import type { ReplicaMessage } from "../../../core/replica/messages.ts";
import { decodeRecords, joinRecords, type LogRecord } from "../../../core/replica/record.ts";
import type { RecoveredLog } from "../../../core/replica/replica-log.ts";
import { emptyMeta, ReplicaMachine } from "../../../core/replica/replica-machine.ts";
import type {
  ReadOutcome,
  ReplicaMeta,
  ReplicaSink,
  Role,
  WriteOutcome,
} from "../../../core/replica/sink.ts";
import { isSame } from "../../../core/state/keys.ts";
import type { Fields } from "../../../core/state/link/frames.ts";
import { readReplicaMessage } from "../../../core/state/replica-wire.ts";
import { simFiles } from "../harness/log-files.ts";
import { Guard } from "./guard.ts";
import { assert } from "./ledger.ts";
import type { Answer, Frozen, Life, Request, State } from "./load.ts";
import type { Picture } from "./sim-control.ts";
import type { SimNode, Snapshot } from "./sim-node.ts";

const encoder = new Encoder();
const decoder = new Decoder();
const tickMs = 10;

/** What goes over a link: a message of the machine, or a snapshot, which the host carries. */
export interface Parcel {
  from: string;
  message?: ReplicaMessage;
  snapshot?: { snapshot: Snapshot; epoch: number; ended: () => void };
  /** From state to state. */
  fields?: Fields;
}

export class SimReplica {
  readonly #node: SimNode;
  readonly incarnation: string;
  readonly disk: string;
  /** Of the host: what comes later to another life is not for this one. */
  readonly #life: number;
  #machine: ReplicaMachine | null = null;
  #log: Log | null = null;
  #state: State | null = null;
  #role: Role = "nobody";
  #readUntilMs = -Infinity;

  readonly #tickets = new Map<number, (outcome: WriteOutcome | ReadOutcome) => void>();
  /** As in any host process: from the beginning. */
  #ticket = 0;
  /** What the machine has made happen in this step, and may not happen within it. */
  #later: (() => void)[] = [];
  #stepping = false;
  #flushWanted = false;
  #flushing = false;
  #metaWaiting: { meta: ReplicaMeta; ticket: number } | null = null;
  #metaSaving = false;
  #receiving = false;
  #installing = false;
  #snapshotting = false;
  #askedInVain = false;
  #lastSnapshot = 0;
  /** Its state finds no room on the disk. */
  #isStateFull = false;
  #ending: (() => void) | null = null;
  /** Of what a coordinator has told. */
  #newest = { generation: 0, revision: 0 };

  constructor(node: SimNode, incarnation: string) {
    this.#node = node;
    this.incarnation = incarnation;
    this.disk = node.disk;
    this.#life = node.host.life;
    this.#asLife = {
      node,
      name: this.name,
      written: () => this.#log?.written ?? 0,
      committed: (index) => node.guard?.committed(index),
      send: (disk, fields) => this.#send(disk, { from: this.disk, fields }),
      linked: () => node.world.links.peersOf(node.host).map((host) => node.world.diskOf(host)),
      write: (operation) => this.#writeAlone(operation),
      full: (full) => this.#stateFull(full),
      // In a step of its own.
      resumed: () => this.#step(() => (this.#flushWanted = true)),
    };
    this.#begin();
  }

  get role(): Role {
    return this.#role;
  }
  /** Once its disk is open. */
  get state(): State {
    return this.#state!;
  }
  get epoch(): number {
    return this.#machine?.configurations.epoch ?? 0;
  }
  /** Its log as of now: before it, and the epoch of each record, by index; null: before it. */
  get epochs(): { base: number; epochs: (number | null)[] } {
    const { log } = this.#machine!;
    const epochs = Array.from({ length: log.lastIndex + 1 }, (_, index) => log.epochAt(index));
    return { base: log.base.index, epochs };
  }
  get isLearning(): boolean {
    return this.#role === "learner" && !this.#installing && this.#machine?.following.isDiverged === false;
  }
  get lastIndex(): number {
    return this.#machine?.log.lastIndex ?? 0;
  }
  /** By its clock, now: whatever it would do next, it looks at that first. */
  get isServingPrimary(): boolean {
    return this.#role === "primary" && this.#readUntilMs > this.#node.host.nowMs();
  }
  get serves(): boolean {
    const isServing = this.#role === "primary" || this.#role === "backup";
    return isServing && this.#readUntilMs > this.#node.host.nowMs();
  }

  /** A client's request; answered in some later step, once, if this process lives. */
  ask(request: Request, answered: (answer: Answer) => void): void {
    this.#step((machine, nowMs) => {
      const { sim, ledger, load } = this.#node.world;
      if (request.kind === "read")
        return this.#read(request.query, this.state.bucketsOf(request.query), answered);
      const { client, sequence, ackedBelow, operation } = request;
      const committed = machine.applying.appliedIndex;
      const ticket = this.#await((outcome) => {
        if (outcome.type !== "ok") return answered({ outcome: outcome.type });
        assert("result" in outcome, "a write is answered as a read");
        if (outcome.index <= committed) sim.count("answer:from a session");
        ledger.acknowledge(`${client}/${sequence}`, outcome.index, this.name);
        answered({ outcome: "ok", result: load.decodeResult(outcome.result), index: outcome.index });
      });
      machine.write(nowMs, { ticket, client, sequence, ackedBelow, module: load.module, operation });
    });
  }

  #stateFull(full: boolean): void {
    if (full) this.#node.world.sim.count("state:full");
    this.#isStateFull = full;
    this.#step((machine, nowMs) => machine.diskFull(nowMs, full || this.#log!.full));
  }

  /** In a step. */
  #read(query: unknown, buckets: readonly number[] | null, answered: (answer: Answer) => void): void {
    const { sim } = this.#node.world;
    const ticket = this.#await((outcome) => {
      if (outcome.type !== "ok") return answered({ outcome: "refused" });
      // While it waited, what it depends on may have become something else, of which nobody has asked.
      const again = this.state.bucketsOf(query);
      if (buckets !== null && !isSame(buckets, again)) {
        this.#later.push(() => this.#step(() => this.#read(query, again, answered)));
        return;
      }
      sim.count(`read:${this.#role}`);
      const { index } = outcome;
      const result = this.state.read(query);
      if (!(result instanceof Promise)) return answered({ outcome: "ok", result, index });
      result.then(
        (late: unknown) => answered({ outcome: "ok", result: late, index }),
        () => answered({ outcome: "refused" }),
      );
    });
    this.#machine!.read(this.#node.host.nowMs(), ticket, buckets);
  }

  /** What belongs to nobody, and is due. */
  #writeWhatIsDue(): void {
    if (!this.isServingPrimary || this.#ending) return;
    const operation = this.state.due(this.#node.host.wallMs());
    if (operation) this.#writeAlone(operation);
  }

  #writeAlone(operation: Uint8Array): void {
    if (!this.isServingPrimary) return;
    this.#step((machine, nowMs) => {
      const ticket = this.#await(() => {});
      const { module } = this.#node.world.load;
      machine.write(nowMs, { ticket, client: "", sequence: 0, ackedBelow: 0, module, operation });
    });
  }

  /** The client has gone. */
  removeClient(client: string): void {
    this.#step((machine, nowMs) => {
      machine.removeClient(
        nowMs,
        this.#await(() => {}),
        client,
      );
    });
  }

  /** Ends in order: what is in memory is on the disk when `ended` is called. */
  end(ended: () => void): void {
    if (!this.#log || this.#ending) return;
    this.#ending = ended;
    this.#log.close((error) => {
      if (!error) this.state.close(ended);
    });
  }

  died(): void {
    this.#machine = null;
    this.#log = null;
    this.#tickets.clear();
    this.#state?.died();
  }

  /** For people who look into a failure. */
  get status(): string {
    const machine = this.#machine;
    if (!machine || !this.#log) return "is starting";
    const { written, durable, full, lastIndex } = this.#log;
    const log = `log ${lastIndex} w${written} d${durable}${full ? " full" : ""}`;
    return `${JSON.stringify(machine.status)} ${log}${this.#installing ? " installing" : ""}`;
  }

  get name(): string {
    return `${this.#node.host.id}#${this.incarnation}`;
  }

  #begin(): void {
    const node = this.#node;
    const { sim } = node.world;
    const before = node.lastRun;
    const lostPower = before !== null && !before.clean && before.boot !== node.boot;
    sim.log(`${this.name} starts${lostPower ? " after a power cut" : ""}`);
    const { snapshot } = node;
    const mark = (): void => {
      if (lostPower && node.meta?.mode === "replicated") node.meta = { ...node.meta, amnesiac: true };
      node.lastRun = { boot: node.boot, clean: false };
    };
    node.drive.run(node.host, "sync", mark, () => {
      openLog(
        simFiles(node.drive, node.host),
        {
          disk: this.disk,
          snapshot: snapshot && { index: snapshot.state.index, epoch: snapshot.epoch },
          durable: 0,
          timing: {
            after: (ms, run) => node.host.after(ms, run),
            soon: (run) => node.host.after(0, run),
          },
          listener: this.#listener,
          ...node.world.logSizes,
        },
        (error, opened) => {
          // Its agent starts it again, and by then there may be room.
          if (error instanceof NoSpace || error?.cause instanceof NoSpace) return node.cannotStart();
          assert(!error && opened, `${this.name} cannot open its log: ${error?.message}`);
          if (opened.torn > 0) sim.count("log:torn tail");
          const { log } = opened;
          log.read(log.lastIndex, 1, (failed, records) => {
            assert(!failed || log.damage.length > 0, `${this.name} cannot read its log: ${failed?.message}`);
            const [last] = decodeRecords(joinRecords((records ?? []) as LogRecord[]));
            this.#opened(log, snapshot, last?.timeMs ?? 0);
          });
        },
      );
    });
  }

  readonly #listener: LogListener = {
    written: (index) => this.#step((machine, nowMs) => machine.written(nowMs, index)),
    durable: (index) => {
      if (this.#log && index >= this.#log.lastIndex) this.#log.eager = this.#isEager;
      this.#step((machine, nowMs) => machine.durable(nowMs, index));
    },
    full: (full) => {
      if (full) this.#node.world.sim.count("log:full");
      this.#step((machine, nowMs) => machine.diskFull(nowMs, full || this.#isStateFull));
    },
    failed: (error) => {
      // Damage that nobody has met yet: the next start does.
      assert(this.#node.rot.matters, `the log of ${this.name} has failed: ${error.message}`);
      this.#node.cannotStart();
    },
    damaged: ({ from, to }) => {
      const { sim } = this.#node.world;
      sim.count("damage:found while running");
      sim.log(`${this.name} is damaged from ${from} to ${to}`);
      this.#damageChanged();
    },
  };

  get #isEager(): boolean {
    return this.#node.world.control.policy.durability === "fsync";
  }

  #opened(log: Log, snapshot: Snapshot | null, timeMs: number): void {
    const node = this.#node;
    const { sim } = node.world;
    if (log.damage.length > 0) return this.#openedDamaged(log, snapshot, timeMs);
    const { stored } = node.store;
    // An old database of a replica that has begun anew is of no use, nor one that has more than is left of the log.
    const isCurrent =
      stored &&
      stored.index >= (snapshot?.state.index ?? 0) &&
      stored.index <= log.lastIndex &&
      isOf(log, stored);
    const snapshotToUse = isCurrent || (snapshot?.isDamaged && log.firstIndex === 1) ? null : snapshot;
    if (snapshotToUse?.isDamaged) {
      sim.count("snapshot:damaged at the start");
      node.isBeyondRepair = true;
      return node.cannotStart();
    }
    const from = isCurrent ? "database" : (snapshotToUse?.state ?? null);
    node.store.open(this.#asLife, from, (state) => this.#loaded(log, state, snapshot, snapshotToUse, timeMs));
  }

  readonly #asLife: Life;

  #loaded(log: Log, state: State, snapshot: Snapshot | null, used: Snapshot | null, timeMs: number): void {
    const node = this.#node;
    const { world, host } = node;
    const { sim, control } = world;
    this.#state = state;
    if (used) sim.count("restart:from snapshot");
    assert(
      this.state.index <= log.lastIndex && this.state.index >= log.firstIndex - 1,
      `${this.name} has applied ${this.state.index} of a log from ${log.firstIndex} to ${log.lastIndex}`,
    );
    this.#lastSnapshot = snapshot?.state.index ?? 0;
    this.#log = log;
    this.#openDatabase();
    log.eager = this.#isEager;
    const meta = node.meta ?? emptyMeta;
    if (meta.amnesiac) sim.count("restart:amnesiac");
    sim.log(
      `${this.name} opens e${log.epochAt(log.lastIndex)} ${log.firstIndex}-${log.lastIndex}, ${this.state.index} applied`,
    );
    const self = { disk: this.disk, incarnation: this.incarnation };
    control.register(host, { node: host.id, life: host.life, ...self }, () => {
      this.#machine = new ReplicaMachine({
        self,
        policy: control.policy,
        sink: this.#sink,
        nowMs: host.nowMs(),
        timings: world.timings,
        levels: [[world.load.module, node.level]],
        log: { ...recovered(log), timeMs },
        meta,
        state: this.state.appliedState(),
      });
      this.#step((machine, nowMs) => machine.start(nowMs));
      if (log.damage.length > 0) this.#damageChanged();
      this.#scrubLater();
      control.follow(host, (picture) => this.#told(picture));
      if (world.load.dueMs < Infinity) host.every(world.load.dueMs, () => this.#writeWhatIsDue());
      host.every(tickMs, () => this.#step((machine, nowMs) => machine.tick(nowMs)));
      world.links.attach({
        host,
        life: this.#life,
        arrived: (_from, parcel) => this.#arrived(parcel),
        up: (peer) => this.#step((machine, nowMs) => machine.linkUp(nowMs, world.diskOf(peer))),
        down: (peer) => this.state.linkDown(world.diskOf(peer)),
      });
    });
  }

  /** What the database has is not missing; otherwise the log is cut, and the others have to give what was there. */
  #openedDamaged(log: Log, snapshot: Snapshot | null, timeMs: number): void {
    const node = this.#node;
    const { sim } = node.world;
    const { stored } = node.store;
    const { from } = log.damage[0]!;
    const { to } = log.damage.at(-1)!;
    sim.log(`${this.name} is damaged at the start: ${JSON.stringify(log.damage)}`);
    if (stored && stored.index >= to && stored.index <= log.lastIndex && isOf(log, stored)) {
      const made: Snapshot = { state: node.store.freeze(), epoch: stored.epoch, isDamaged: false };
      this.#keep(made, () => {
        sim.count("damage:at the start, in the database");
        if (to === log.lastIndex) return this.#reset(log, made, timeMs);
        log.discardUpTo(made.state.index);
        this.#opened(log, made, timeMs);
      });
      return;
    }
    const mark = (): void => {
      node.meta = { ...(node.meta ?? emptyMeta), amnesiac: true, damaged: true };
    };
    node.drive.run(node.host, "sync", mark, () => {
      sim.count("damage:at the start, an amnesiac");
      node.world.noteDamaged(this.disk);
      if (from === log.firstIndex) return this.#reset(log, snapshot, timeMs);
      log.truncateAfter(from - 1);
      this.#opened(log, snapshot, timeMs);
    });
  }

  /** Nothing of the log is left but what the snapshot has. */
  #reset(log: Log, snapshot: Snapshot | null, timeMs: number): void {
    const index = log.damage[0]!.to === log.lastIndex ? (snapshot?.state.index ?? 0) : log.firstIndex - 1;
    log.reset(index, index === 0 ? 0 : snapshot!.epoch, (error) => {
      assert(!error, `${this.name} cannot begin its log anew: ${error?.message}`);
      this.#opened(log, snapshot, timeMs);
    });
  }

  /** Looks for what the disk gives back wrongly. */
  #scrubLater(): void {
    const { host, world, drive } = this.#node;
    if (world.scrubMs === Infinity) return;
    host.after(world.scrubMs * world.sim.random.between(0.5, 1.5), () => {
      if (this.#ending || !this.#log) return;
      if (this.#node.snapshot?.isDamaged && !this.#snapshotting && !this.#installing) {
        world.sim.count("snapshot:found damaged");
        this.#snapshotting = true;
        this.#takeSnapshot();
      }
      const scrub = scrubOnce(this.#log, { files: simFiles(drive, host), disk: this.disk });
      runSteps(scrub, (error) => {
        assert(!error, `${this.name} cannot look over its log: ${error?.message}`);
        this.#scrubLater();
      });
    });
  }

  /** Nothing is known of what the rest of the log touches. */
  #openDatabase(): void {
    this.#node.guard = new Guard(this.#log!.lastIndex, this.state.index);
  }

  #told(picture: Picture): void {
    const { versioned, wanted, exits } = picture;
    this.#step((machine, nowMs) => {
      machine.policyChanged(nowMs, picture.policy);
      const { generationSeen } = machine.configurations.meta;
      if (versioned.generation < generationSeen) this.#node.world.sim.count("refused:older generation");
      else if (versioned.version < machine.configurations.version)
        this.#node.world.sim.count("refused:older version");
      if ((versioned.configuration?.epoch ?? 0) < machine.configurations.epoch)
        this.#node.world.sim.count("refused:older epoch");
      machine.configurationRead(nowMs, versioned);
      // The configuration is looked at by the machine itself; of the rest the newest counts.
      const isOlder =
        versioned.generation < this.#newest.generation ||
        (versioned.generation === this.#newest.generation && picture.revision < this.#newest.revision);
      if (isOlder) return;
      this.#newest = { generation: versioned.generation, revision: picture.revision };
      machine.replicasWanted(nowMs, wanted);
      for (const certificate of exits) machine.exitCertified(nowMs, certificate);
    });
  }

  #arrived({ from, message, snapshot, fields }: Parcel): void {
    if (fields) return this.state.received(from, fields);
    if (snapshot) return this.#install(from, snapshot);
    // Its log is being replaced.
    if (this.#installing) return;
    this.#step((machine, nowMs) => machine.receive(nowMs, from, message!));
  }

  /** The machine is entered here only; what it has made happen follows. */
  #step(run: (machine: ReplicaMachine, nowMs: number) => void): void {
    const { host } = this.#node;
    if (!this.#machine || host.life !== this.#life || this.#ending) return;
    if (this.#stepping) {
      this.#later.push(() => this.#step(run));
      return;
    }
    this.#stepping = true;
    run(this.#machine, host.nowMs());
    this.#stepping = false;
    const later = this.#later;
    this.#later = [];
    // One of them may end this process.
    for (const act of later) if (this.#machine) act();
    if (!this.#flushWanted || this.#flushing) return;
    this.#flushing = true;
    const flush = (): void => {
      this.#flushing = false;
      this.#flushWanted = false;
      this.#step((machine, nowMs) => machine.flush(nowMs));
    };
    // A turn of the event loop takes what is at hand.
    host.after(this.#node.world.turnMs, flush);
  }

  readonly #sink: ReplicaSink = {
    append: (records) => {
      this.#node.guard?.prepared(records, (record) => this.#touched(record));
      this.#log!.append([...records]);
    },
    truncateAfter: (index) => {
      this.#node.world.sim.count("log:cut");
      this.#log!.truncateAfter(index);
    },
    wantDurable: () => (this.#log!.eager = true),
    discardTo: (index) => this.#log!.discardUpTo(index),
    fetch: (reader, fromIndex, bytesMax) =>
      this.#later.push(() =>
        this.#log!.read(fromIndex, bytesMax, (_damaged, records) => {
          const bytes = joinRecords((records ?? []) as LogRecord[]);
          this.#step((machine, nowMs) => machine.fetched(nowMs, reader, bytes));
        }),
      ),
    repair: (records) => this.#later.push(() => this.#repair(records)),
    saveMeta: (meta, ticket) => {
      this.#metaWaiting = { meta, ticket };
      this.#later.push(() => this.#saveMeta());
    },
    execute: (record) => {
      const { level, world } = this.#node;
      const inForce = this.state.level;
      assert(inForce <= level, `${this.name} carries out level ${inForce} and can do ${level}`);
      world.ledger.executed(record, inForce, this.name);
      const result = this.state.execute(record);
      world.load.executed(record, result, this.name);
      return result;
    },
    mayApply: () => !this.state.isHeld,
    sessionChanged: (change) => this.state.sessionChanged(change),
    levelRaised: (module, level) => {
      this.#node.world.sim.count(`level:raised to ${level}`);
      this.state.levelRaised(module, level);
    },
    applied: (record) => {
      const { ledger, load } = this.#node.world;
      ledger.applied(record, this.name);
      if (record.epoch >= ledger.epochMin) load.applied(record, this.state);
      this.state.applied(record);
      this.#later.push(() => this.#applied());
    },
    touched: (record) => this.#touched(record),
    send: (disk, message) => {
      const carried = this.#node.world.isWired ? overTheWire(message) : message;
      this.#send(disk, { from: this.disk, message: carried });
    },
    sendSnapshot: (disk) => this.#later.push(() => this.#sendSnapshot(disk)),
    propose: (change) => {
      const { control, sim } = this.#node.world;
      sim.log(
        `${this.name} proposes ${JSON.stringify(change.configuration.inSync.map((d) => d.slice(0, 4)))}`,
      );
      this.#later.push(() =>
        control.propose(this.#node.host, change, (outcome) =>
          this.#step((machine, nowMs) => machine.changed(nowMs, change.configuration.changeId, outcome)),
        ),
      );
    },
    askConfiguration: () =>
      this.#later.push(() => this.#node.world.control.ask(this.#node.host, (picture) => this.#told(picture))),
    answer: (ticket, outcome) => this.#answer(ticket, outcome),
    answerRead: (ticket, outcome) => this.#answer(ticket, outcome),
    readLease: (deadlineMs) => {
      this.#readUntilMs = deadlineMs;
      this.#node.guard?.lease(deadlineMs);
    },
    roleChanged: (role) => {
      this.#role = role;
      this.#node.world.sim.count(`role:${role}`);
      this.#node.world.sim.log(`${this.name} is ${role} in e${this.epoch}`);
    },
    wantFlush: () => (this.#flushWanted = true),
    failed: (reason) => {
      const { world, level } = this.#node;
      const isTooOld = level < world.newestLevel && reason.includes("install the one of the other nodes");
      assert(isTooOld, `${this.name} cannot go on: ${reason}`);
      world.sim.count("level:too old to go on");
      this.#later.push(() => this.#node.cannotStart());
    },
    wallMs: () => this.#node.host.wallMs(),
    random: () => {
      const bytes = new Uint8Array(16);
      const view = new DataView(bytes.buffer);
      for (let i = 0; i < 16; i += 4) view.setUint32(i, this.#node.world.sim.random.uint32());
      return bytes;
    },
  };

  #damageChanged(): void {
    if (this.#log?.damage.length === 0) this.#askedInVain = false;
    this.#step((machine, nowMs) => machine.damaged(nowMs, this.#log!.damage));
  }

  /** None: nobody has them. */
  #repair(records: readonly LogRecord[]): void {
    const { sim } = this.#node.world;
    if (records.length === 0) return this.#nobodyHas();
    this.#log!.repair([...records], (error) => {
      sim.count(error ? "damage:not repaired in place" : "damage:repaired in place");
      sim.log(
        `${this.name} ${error ? `does not repair: ${error.message}` : `has repaired ${records.length}`}`,
      );
      if (error) this.#mend();
      // Others have what is to be applied: after a start it is learned anew.
      if (!(error instanceof CannotRepair) || !this.#lacksRecords) return this.#damageChanged();
      sim.count("damage:learned anew");
      this.#node.cannotStart();
    });
  }

  /** Damaged records are still to be applied. */
  get #lacksRecords(): boolean {
    return (this.#log!.damage.at(-1)?.to ?? 0) > this.state.index;
  }

  #nobodyHas(): void {
    const { sim } = this.#node.world;
    if (!this.#lacksRecords) return this.#mend();
    sim.count(this.#askedInVain ? "damage:learned anew" : "damage:asked for in vain");
    if (this.#askedInVain) this.#node.cannotStart();
    this.#askedInVain = true;
  }

  /** What damaged records did is in the state, if they were applied: a snapshot takes their place. */
  #mend(): void {
    const last = this.#log!.damage.at(-1)?.to ?? 0;
    if (last === 0 || last > this.state.index || this.#snapshotting || this.#installing) return;
    this.#node.world.sim.count("damage:given to a snapshot");
    this.#snapshotting = true;
    this.#takeSnapshot();
  }

  #await(told: (outcome: WriteOutcome | ReadOutcome) => void): number {
    this.#tickets.set(++this.#ticket, told);
    return this.#ticket;
  }

  #answer(ticket: number, outcome: WriteOutcome | ReadOutcome): void {
    const told = this.#tickets.get(ticket);
    assert(told, `${this.name} answers ticket ${ticket} twice`);
    this.#tickets.delete(ticket);
    told(outcome);
  }

  #touched(record: LogRecord): readonly number[] | null {
    return this.state.touched(record);
  }

  #send(disk: string, parcel: Parcel): boolean {
    const { world, host } = this.#node;
    const to = world.nodeOf(disk);
    return to !== undefined && to !== this.#node && world.links.send(host, to.host, parcel);
  }

  #saveMeta(): void {
    const next = this.#metaWaiting;
    if (this.#metaSaving || !next) return;
    this.#metaWaiting = null;
    this.#metaSaving = true;
    const node = this.#node;
    const save = (): void => {
      node.meta = next.meta;
    };
    node.drive.run(node.host, "sync", save, () => {
      this.#metaSaving = false;
      this.#step((machine, nowMs) => machine.metaSaved(nowMs, next.ticket));
      this.#saveMeta();
    });
  }

  /** Transactions are committed, and snapshots taken, some time after. */
  #applied(): void {
    const { world } = this.#node;
    this.state.commitSoon();
    if (this.#snapshotting || this.state.index < this.#lastSnapshot + world.snapshotEvery) return;
    this.#snapshotting = true;
    this.#takeSnapshot();
  }

  /** It is on the disk, with all that it names. */
  #keep(snapshot: Snapshot, done: () => void): void {
    const node = this.#node;
    const keep = (): void => {
      node.snapshot = snapshot;
    };
    node.store.sync(snapshot.state, node.snapshot?.state ?? null, () =>
      node.drive.run(node.host, "sync", keep, done),
    );
  }

  #takeSnapshot(): void {
    const node = this.#node;
    const state = this.state.freeze();
    const snapshot = { state, epoch: state.epoch, isDamaged: false };
    node.host.after(node.world.sim.random.between(1, 100), () => {
      if (this.#installing) {
        this.#snapshotting = false;
        return;
      }
      this.#keep(snapshot, () => {
        this.#snapshotting = false;
        this.#lastSnapshot = snapshot.state.index;
        node.world.sim.count("snapshot:taken");
        this.state.kept(snapshot.state.index);
        this.#step((machine, nowMs) => machine.snapshotTaken(nowMs, snapshot.state.index));
        this.#damageChanged();
      });
    });
  }

  /** One parcel, which takes its time; the machine hears when it has been installed or come to nothing. */
  #sendSnapshot(disk: string): void {
    const node = this.#node;
    const { sim } = node.world;
    const { snapshot } = node;
    if (!snapshot || snapshot.isDamaged || snapshot.state.index < this.#log!.firstIndex - 1) {
      sim.count(snapshot?.isDamaged ? "snapshot:damaged when sent" : "snapshot:made to be sent");
      // It is asked for again.
      if (!this.#snapshotting) {
        this.#snapshotting = true;
        this.#takeSnapshot();
      }
      return this.#step((machine, nowMs) => machine.snapshotSent(nowMs, disk));
    }
    sim.log(`${this.name} sends a snapshot of ${snapshot.state.index}`);
    let open = true;
    const release = this.state.hold();
    const ended = (): void => {
      if (!open) return;
      open = false;
      this.#step((machine, nowMs) => machine.snapshotSent(nowMs, disk));
    };
    node.host.after(sim.random.pick([1, 20, 200]), () => {
      const reply = (): void =>
        sim.network.send(node.world.nodeOf(disk)?.host ?? node.host, node.host, () => {
          release();
          ended();
        });
      const parcel = { snapshot: { snapshot, epoch: this.epoch, ended: reply } };
      if (!this.#send(disk, { from: this.disk, ...parcel })) ended();
      else node.host.after(2_000, ended);
    });
  }

  #install(from: string, { snapshot, epoch, ended }: NonNullable<Parcel["snapshot"]>): void {
    const node = this.#node;
    const isWelcome = (): boolean =>
      this.#machine !== null &&
      !this.#ending &&
      !this.#installing &&
      !this.#snapshotting &&
      this.#machine.configurations.accepts(epoch) &&
      this.#machine.mayTake(from, { index: snapshot.state.index, epoch: snapshot.epoch });
    const { index } = snapshot.state;
    const mayReceive = isWelcome() && !this.#receiving;
    node.world.sim.log(`${this.name} ${mayReceive ? "installs" : "does not want"} a snapshot of ${index}`);
    if (!mayReceive) return ended();
    this.#receiving = true;
    this.state.receive(from, snapshot.state, this.#machine!.following.isDiverged, (isThere) => {
      this.#receiving = false;
      // It has taken its time.
      if (!isThere || !isWelcome()) return ended();
      this.#installNow(snapshot, ended);
    });
  }

  #installNow(snapshot: Snapshot, ended: () => void): void {
    const node = this.#node;
    this.#installing = true;
    const keep = (): void => {
      node.snapshot = { ...snapshot };
    };
    node.drive.run(node.host, "sync", keep, () => {
      this.#log!.reset(snapshot.state.index, snapshot.epoch, (error) => {
        assert(!error, `${this.name} cannot begin its log anew: ${error?.message}`);
        this.#installing = false;
        this.state.install(snapshot.state);
        this.#lastSnapshot = this.state.index;
        this.#openDatabase();
        node.world.sim.count("snapshot:installed");
        this.#step((m, nowMs) => m.snapshotInstalled(nowMs, snapshot.epoch, this.state.appliedState()));
        ended();
      });
    });
  }
}

/** As it arrives in the product: it shares no memory, and what is not allowed does not come through. */
function overTheWire(message: ReplicaMessage): ReplicaMessage {
  return readReplicaMessage(decoder.decode(encoder.encode(message)) as Fields);
}

/** Whether the log goes on where a database ends. */
function isOf(log: Log, { index, epoch }: Frozen): boolean {
  const known = index < log.firstIndex - 1 ? null : log.epochAt(index);
  return index === 0 || known === null || known === epoch;
}

/** As the machine wants it. */
function recovered(log: Log): RecoveredLog {
  const base = { index: log.firstIndex - 1, epoch: log.epochAt(log.firstIndex - 1)! };
  const epochs: { epoch: number; first: number }[] = [];
  for (let index = log.firstIndex; index <= log.lastIndex; index++) {
    const epoch = log.epochAt(index)!;
    if (epochs.at(-1)?.epoch !== epoch) epochs.push({ epoch, first: index });
  }
  return { base, epochs, lastIndex: log.lastIndex };
}
