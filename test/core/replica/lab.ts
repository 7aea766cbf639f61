/**
 * A few replicas driven by hand: virtual clock, disks in memory, a store, and links whose messages go nowhere before
 * the test says so. `run` lets time pass with everything working that was not cut, held or stopped.
 *
 * The state machine is a map of strings: `set(key, value)`, `add(key, n)`.
 */
import { expect } from "bun:test";
import type {
  Change,
  Configuration,
  DiskId,
  ReplicaPolicy,
  Versioned,
} from "../../../core/replica/configuration.ts";
import {
  messageNames,
  type MessageName,
  type ModuleLevels,
  type ReplicaMessage,
} from "../../../core/replica/messages.ts";
import { joinRecords, type LogRecord } from "../../../core/replica/record.ts";
import { emptyMeta, ReplicaMachine } from "../../../core/replica/replica-machine.ts";
import type {
  AppliedState,
  ReadOutcome,
  ReplicaMeta,
  ReplicaSink,
  Role,
  SessionChange,
  SessionRow,
  WriteOutcome,
} from "../../../core/replica/sink.ts";
import { defaultTimings, keyBuckets, type ReplicaTimings } from "../../../core/replica/timings.ts";

const stepMs = 5;
const text = {
  encode: (s: string) => new TextEncoder().encode(s),
  decode: (b: Uint8Array) => new TextDecoder().decode(b),
};

export interface LabOptions {
  policy?: Partial<ReplicaPolicy>;
  timings?: ReplicaTimings;
}

export interface Wire {
  from: DiskId;
  to: DiskId;
  message: ReplicaMessage;
}

export class Written {
  outcome: WriteOutcome | null = null;
  get result(): string | undefined {
    return this.outcome?.type === "ok" ? text.decode(this.outcome.result) : this.outcome?.type;
  }
}
export class ReadValue {
  outcome: ReadOutcome | null = null;
  value: string | null = null;
}

export class Lab {
  nowMs = 1_000;
  readonly timings: ReplicaTimings;
  policy: ReplicaPolicy;
  wanted: (DiskId | null)[] = [];
  readonly replicas = new Map<DiskId, LabReplica>();
  store: Versioned = { generation: 1, version: 0, configuration: null };
  /** Answers of the store are lost; the change is made. */
  loseAnswers = false;
  /** Requests to the store are held back, and made by `releaseStore`. */
  holdStore = false;
  #heldChanges: { replica: LabReplica; change: Change }[] = [];
  readonly changes: Configuration[] = [];
  /** The store refuses all; how often, by change. */
  refuse = false;
  readonly refused = new Map<string, number>();

  /** On the links, in order. */
  wires: Wire[] = [];
  /** Messages that are kept back: neither delivered nor lost. */
  hold: (wire: Wire) => boolean = () => false;
  readonly #cuts = new Set<string>();
  readonly #storeCuts = new Set<DiskId>();
  /** Done in the next round of `settle`. */
  later: (() => void)[] = [];
  #random = 1;

  constructor({ policy, timings }: LabOptions = {}) {
    this.policy = { replicas: 3, minInSync: 1, durability: "fsync", ...policy };
    this.timings = timings ?? defaultTimings;
  }

  /** The replica with that disk, started. */
  add(disk: DiskId, levels: ModuleLevels = [["map", 1]]): LabReplica {
    const replica = new LabReplica(this, disk, levels);
    this.replicas.set(disk, replica);
    this.wanted.push(disk);
    return replica;
  }

  /** Replicas with those disks, in sync, the first of them primary. */
  static of(disks: string, options: LabOptions = {}): Lab {
    const lab = new Lab(options);
    for (const disk of disks.split("")) lab.add(disk);
    for (const replica of lab.replicas.values()) replica.start();
    lab.run(2_000);
    expect(lab.store.configuration?.inSync).toEqual(disks.split("").sort());
    expect(lab.at(disks[0]!).role).toBe("primary");
    return lab;
  }

  at(disk: DiskId): LabReplica {
    return this.replicas.get(disk)!;
  }
  get inSync(): string {
    return (this.store.configuration?.inSync ?? []).join("");
  }
  /** Who serves as primary at this moment, by their own clocks. */
  get primaries(): string {
    return [...this.replicas.values()]
      .filter((r) => r.isRunning && !r.isStopped && r.machine.isEstablished && r.machine.isServing)
      .map((r) => r.disk)
      .join("");
  }

  /** Time passes; in each step messages, disks and the store do all they have to do. */
  run(ms: number): void {
    const endMs = this.nowMs + ms;
    this.settle();
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, this.nowMs + stepMs);
      for (const replica of this.replicas.values()) replica.tick();
      this.settle();
    }
  }

  /** Runs until it is so; fails after `limitMs`. */
  until(what: string, isSo: () => boolean, limitMs = 10_000): void {
    const endMs = this.nowMs + limitMs;
    this.settle();
    while (!isSo()) {
      if (this.nowMs >= endMs) throw new Error(`not within ${limitMs} ms: ${what}`);
      this.run(stepMs);
    }
  }

  /** Delivers all there is, at one time. */
  settle(): void {
    for (let round = 0; round < 10_000; round++) {
      const progressed = [...this.replicas.values()].map((replica) => replica.work()).some(Boolean);
      const later = this.later.splice(0);
      for (const run of later) run();
      if (!this.deliver() && !progressed && later.length === 0) return;
    }
    throw new Error("the lab does not come to rest");
  }

  /** What is on the links now, except for what is held. False: nothing. */
  deliver(): boolean {
    const wires = this.wires;
    this.wires = [];
    const kept: Wire[] = [];
    let any = false;
    for (const wire of wires) {
      if (this.hold(wire)) {
        kept.push(wire);
        continue;
      }
      any = true;
      if (!this.#cuts.has(wire.from + wire.to)) this.replicas.get(wire.to)?.receive(wire.from, wire.message);
    }
    this.wires = [...kept, ...this.wires];
    return any;
  }

  /** Both ways; `cutOneWay` for one. */
  cut(a: string, b: string): void {
    for (const x of a) {
      for (const y of b) {
        this.cutOneWay(x, y);
        this.cutOneWay(y, x);
      }
    }
  }
  cutOneWay(from: DiskId, to: DiskId): void {
    this.#cuts.add(from + to);
    this.wires = this.wires.filter((wire) => wire.from !== from || wire.to !== to);
  }
  cutStore(disks: string): void {
    for (const disk of disks) this.#storeCuts.add(disk);
  }
  mend(): void {
    this.#cuts.clear();
    this.#storeCuts.clear();
    for (const a of this.replicas.values()) for (const b of this.replicas.keys()) a.linkUp(b);
  }

  certify(incarnation: string, disk: DiskId): void {
    for (const replica of this.replicas.values()) {
      if (replica.isRunning) replica.machine.exitCertified(this.nowMs, { node: disk, disk, incarnation });
    }
  }

  propose(replica: LabReplica, change: Change): void {
    if (this.#storeCuts.has(replica.disk)) return;
    if (this.holdStore) this.#heldChanges.push({ replica, change });
    else this.#carryOut(replica, change);
  }
  /** They never arrive. */
  forgetStoreRequests(): void {
    this.holdStore = false;
    this.#heldChanges = [];
  }
  releaseStore(): void {
    this.holdStore = false;
    for (const { replica, change } of this.#heldChanges.splice(0)) this.#carryOut(replica, change);
  }

  /** Tells who asked; in steady state everybody hears of changes by the coordinator. */
  ask(replica: LabReplica): void {
    if (!this.#storeCuts.has(replica.disk)) replica.toldByStore = true;
  }
  /** The coordinator tells all that it reaches. */
  tellAll(): void {
    for (const replica of this.replicas.values()) this.ask(replica);
  }

  random(): Uint8Array {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, this.#random++);
    return bytes;
  }

  #carryOut(replica: LabReplica, change: Change): void {
    const { generation, version, configuration } = this.store;
    if (this.refuse) {
      const { changeId } = change.configuration;
      this.refused.set(changeId, (this.refused.get(changeId) ?? 0) + 1);
      return this.#answer(replica, change, "refused");
    }
    if (configuration?.changeId === change.configuration.changeId)
      return this.#answer(replica, change, "done");
    if (generation !== change.generation || version !== change.version)
      return this.#answer(replica, change, "refused");
    this.store = { generation, version: version + 1, configuration: change.configuration };
    this.changes.push(change.configuration);
    this.#answer(replica, change, "done");
    if (!this.loseAnswers) this.tellAll();
  }
  #answer(replica: LabReplica, { configuration }: Change, outcome: "done" | "refused"): void {
    if (!this.loseAnswers) replica.changed.push([configuration.changeId, outcome]);
  }
}

/** What survives the death of the host process, and of it what survives a power cut. */
class LabDisk {
  base = { epoch: 0, index: 0 };
  records: LogRecord[] = [];
  durable = 0;
  meta: ReplicaMeta = emptyMeta;
  state = new LabState();
  snapshot: LabState | null = null;

  get lastIndex(): number {
    return this.base.index + this.records.length;
  }
}

class LabState {
  index = 0;
  epoch = 0;
  values = new Map<string, string>();
  sessions = new Map<string, { ackedBelow: number; results: Map<number, [Uint8Array, number]> }>();
  removed: string[] = [];
  levels = new Map<string, number>();
  /** Executions, by client and sequence: nothing may be there twice. */
  executed: string[] = [];

  copy(): LabState {
    return structuredClone(Object.assign({}, this)) as LabState;
  }
  static applied(state: LabState): AppliedState {
    const sessions: SessionRow[] = [...state.sessions].map(([client, { ackedBelow, results }]) => ({
      client,
      ackedBelow,
      results: [...results].map(([sequence, [result, index]]) => [sequence, result, index] as const),
    }));
    return { index: state.index, sessions: { sessions, removed: state.removed }, levels: state.levels };
  }
}

export class LabReplica implements ReplicaSink {
  readonly lab: Lab;
  readonly disk: DiskId;
  levels: ModuleLevels;
  machine!: ReplicaMachine;
  incarnation = "";
  isRunning = false;
  /** SIGSTOP: no time passes for it, its messages wait. */
  isStopped = false;
  storage = new LabDisk();
  /** Each of them off: what is asked for waits. */
  writes = true;
  /** Off: what is to be read from the log is damaged. */
  isReadable = true;
  syncs = true;
  metas = true;
  /** Clocks that run faster or slower: own milliseconds of one of the lab's. */
  rate = 1;
  wallAheadMs = 0;
  #clockFromMs = 0;
  #clockMs = 0;

  role: Role = "nobody";
  failure = "";
  leaseMs = -Infinity;
  changed: [string, "done" | "refused"][] = [];
  toldByStore = false;
  readonly roles: Role[] = [];
  snapshotsSent = 0;
  /** How often it was told that somebody waits for the disk. */
  syncsWanted = 0;
  /** Indices of the records that were given for the place of damaged ones; none: nobody has them. */
  readonly repaired: number[][] = [];
  #lives = 0;
  #written = 0;
  #metas: { meta: ReplicaMeta; ticket: number }[] = [];
  #fetches: { reader: string; from: number; bytesMax: number }[] = [];
  #flush = false;
  #inbox: Wire[] = [];
  readonly #writes = new Map<number, Written>();
  readonly #reads = new Map<number, { read: ReadValue; key: string }>();
  #ticket = 0;

  constructor(lab: Lab, disk: DiskId, levels: ModuleLevels) {
    this.lab = lab;
    this.disk = disk;
    this.levels = levels;
  }

  get nowMs(): number {
    return this.#clockMs + (this.lab.nowMs - this.#clockFromMs) * this.rate;
  }

  slowDown(rate: number): void {
    this.#clockMs = this.nowMs;
    this.#clockFromMs = this.lab.nowMs;
    this.rate = rate;
  }

  /** A host process on what the disk has. */
  start(amnesiac = false): void {
    const { storage, lab } = this;
    this.incarnation = `${this.disk}${++this.#lives}`;
    // Each life has a clock of its own.
    this.#clockFromMs = lab.nowMs;
    this.#clockMs = this.#lives * 100_000;
    this.isRunning = true;
    this.isStopped = false;
    this.failure = "";
    this.#written = storage.lastIndex;
    storage.durable = storage.lastIndex;
    const epochs: { epoch: number; first: number }[] = [];
    for (const { epoch, index } of storage.records) {
      if (epochs.at(-1)?.epoch !== epoch) epochs.push({ epoch, first: index });
    }
    this.machine = new ReplicaMachine({
      self: { disk: this.disk, incarnation: this.incarnation },
      policy: lab.policy,
      sink: this,
      nowMs: this.nowMs,
      timings: lab.timings,
      levels: this.levels,
      log: { base: storage.base, epochs, lastIndex: storage.lastIndex },
      meta: { ...storage.meta, amnesiac: storage.meta.amnesiac || amnesiac },
      state: LabState.applied(storage.state),
    });
    this.role = "nobody";
    this.machine.start(this.nowMs);
    this.machine.replicasWanted(this.nowMs, lab.wanted);
  }

  /** kill -9: what was written stays. */
  kill(): void {
    const { storage } = this;
    this.isRunning = false;
    storage.records.length = Math.min(storage.records.length, this.#written - storage.base.index);
    this.#forget();
  }

  /** Only what was durable stays; the database is the last snapshot's. */
  powerCut(): void {
    this.kill();
    const { storage } = this;
    storage.records.length = Math.min(storage.records.length, storage.durable - storage.base.index);
    storage.state = storage.snapshot ? LabReplica.#restore(storage.snapshot) : new LabState();
  }

  /** After a power cut: in `replicated` mode it does not know what it has lost. */
  startAfterPowerCut(): void {
    this.start(this.storage.meta.mode === "replicated");
  }

  stop(): void {
    this.isStopped = true;
  }
  resume(): void {
    this.isStopped = false;
  }

  linkUp(disk: DiskId): void {
    if (this.isRunning && !this.isStopped && disk !== this.disk) this.machine.linkUp(this.nowMs, disk);
  }

  // Clients

  set(key: string, value: string, client = "", sequence = 1, ackedBelow = 1): Written {
    return this.#write({ set: [key, value] }, client, sequence, ackedBelow);
  }
  add(key: string, by: number, client: string, sequence: number, ackedBelow = 1): Written {
    return this.#write({ add: [key, by] }, client, sequence, ackedBelow);
  }
  removeClient(client: string): Written {
    const written = new Written();
    this.#writes.set(++this.#ticket, written);
    this.machine.removeClient(this.nowMs, this.#ticket, client);
    return written;
  }
  sync(): Written {
    const written = new Written();
    this.#writes.set(++this.#ticket, written);
    this.machine.sync(this.nowMs, this.#ticket);
    return written;
  }
  /** Undefined outcome: it waits. */
  read(key: string): ReadValue {
    const read = new ReadValue();
    this.#reads.set(++this.#ticket, { read, key });
    this.machine.read(this.nowMs, this.#ticket, [bucketOf(key)]);
    return read;
  }
  /** Of everything. */
  readAll(): ReadValue {
    const read = new ReadValue();
    this.#reads.set(++this.#ticket, { read, key: "" });
    this.machine.read(this.nowMs, this.#ticket, null);
    return read;
  }
  /** As a host that counts from 1 in each life. */
  forgetTickets(): void {
    this.#ticket = 0;
  }
  /** What is applied, whatever it is worth. */
  value(key: string): string | undefined {
    return this.storage.state.values.get(key);
  }
  get indices(): { last: number; commit: number; applied: number } {
    const { lastIndex, commitIndex, appliedIndex } = this.machine.status;
    return { last: lastIndex, commit: commitIndex, applied: appliedIndex };
  }

  #write(operation: object, client: string, sequence: number, ackedBelow: number): Written {
    const written = new Written();
    this.#writes.set(++this.#ticket, written);
    const bytes = text.encode(JSON.stringify(operation));
    this.machine.write(this.nowMs, {
      ticket: this.#ticket,
      client,
      sequence,
      ackedBelow,
      module: "map",
      operation: bytes,
    });
    return written;
  }

  // Driven by the lab

  tick(): void {
    if (this.isRunning && !this.isStopped) this.machine.tick(this.nowMs);
  }
  receive(from: DiskId, message: ReplicaMessage): void {
    if (this.isRunning) this.#inbox.push({ from, to: this.disk, message });
  }

  /** Everything that is due at this moment. False: nothing was. */
  work(): boolean {
    if (!this.isRunning || this.isStopped) return false;
    const { machine, storage, lab } = this;
    let worked = false;
    const now = this.nowMs;
    if (this.toldByStore) {
      this.toldByStore = false;
      worked = true;
      machine.configurationRead(now, lab.store);
    }
    for (const [id, outcome] of this.changed.splice(0)) {
      worked = true;
      machine.changed(now, id, outcome);
    }
    for (const { from, message } of this.#inbox.splice(0)) {
      worked = true;
      machine.receive(now, from, message);
    }
    for (const { meta, ticket } of this.metas ? this.#metas.splice(0) : []) {
      worked = true;
      storage.meta = meta;
      machine.metaSaved(now, ticket);
    }
    if (this.#flush) {
      this.#flush = false;
      worked = true;
      machine.flush(now);
    }
    for (const { reader, from, bytesMax } of this.#fetches.splice(0)) {
      worked = true;
      const records = storage.records.slice(from - 1 - storage.base.index);
      let bytes = 0;
      const some = records.filter((record, i) => i === 0 || (bytes += record.bytes.length) < bytesMax);
      machine.fetched(now, reader, joinRecords(this.isReadable ? some : []));
    }
    if (this.writes && this.#written < storage.lastIndex) {
      this.#written = storage.lastIndex;
      worked = true;
      machine.written(now, this.#written);
    }
    if (this.syncs && storage.durable < this.#written) {
      storage.durable = this.#written;
      worked = true;
      machine.durable(now, storage.durable);
    }
    return worked;
  }

  /** A snapshot of what is applied, fsynced. */
  takeSnapshot(): void {
    this.storage.snapshot = this.storage.state.copy();
    this.machine.snapshotTaken(this.nowMs, this.storage.state.index);
  }

  #forget(): void {
    this.#inbox = [];
    this.#metas = [];
    this.#fetches = [];
    this.changed = [];
    this.toldByStore = false;
    this.#flush = false;
    this.#writes.clear();
    this.#reads.clear();
    this.lab.wires = this.lab.wires.filter((wire) => wire.to !== this.disk);
  }

  static #restore(copy: LabState): LabState {
    return Object.assign(new LabState(), structuredClone(Object.assign({}, copy)));
  }

  // ReplicaSink

  append(records: readonly LogRecord[]): void {
    for (const record of records) {
      expect(record.index).toBe(this.storage.lastIndex + 1);
      this.storage.records.push(record);
    }
  }
  truncateAfter(index: number): void {
    const { storage } = this;
    expect(index).toBeGreaterThanOrEqual(storage.state.index);
    storage.records.length = index - storage.base.index;
    storage.durable = Math.min(storage.durable, index);
    this.#written = Math.min(this.#written, index);
  }
  wantDurable(): void {
    this.syncsWanted++;
  }
  discardTo(index: number): void {
    const { storage } = this;
    const count = index - storage.base.index;
    storage.base = { index, epoch: storage.records[count - 1]!.epoch };
    storage.records = storage.records.slice(count);
  }
  fetch(reader: string, from: number, bytesMax: number): void {
    this.#fetches.push({ reader, from, bytesMax });
  }
  repair(records: readonly LogRecord[]): void {
    this.repaired.push(records.map(({ index }) => index));
  }
  saveMeta(meta: ReplicaMeta, ticket: number): void {
    this.#metas.push({ meta, ticket });
  }
  execute(record: LogRecord): Uint8Array {
    const { values, executed } = this.storage.state;
    const { set, add } = JSON.parse(text.decode(record.operation)) as {
      set?: [string, string];
      add?: [string, number];
    };
    if (record.client !== "") executed.push(`${record.client} ${record.sequence}`);
    if (set) values.set(set[0], set[1]);
    if (add) values.set(add[0], String(Number(values.get(add[0]) ?? 0) + add[1]));
    return text.encode(values.get((set ?? add)![0])!);
  }
  sessionChanged(change: SessionChange): void {
    const { sessions, removed } = this.storage.state;
    if (change.type === "removed") {
      sessions.delete(change.client);
      removed.push(change.client);
      return;
    }
    let session = sessions.get(change.client);
    if (!session) sessions.set(change.client, (session = { ackedBelow: 1, results: new Map() }));
    if (change.type === "result") session.results.set(change.sequence, [change.result, change.index]);
    else {
      session.ackedBelow = change.ackedBelow;
      for (const sequence of session.results.keys())
        if (sequence < change.ackedBelow) session.results.delete(sequence);
    }
  }
  levelRaised(module: string, level: number): void {
    this.storage.state.levels.set(module, level);
  }
  applied(record: LogRecord): void {
    expect(record.index).toBe(this.storage.state.index + 1);
    this.storage.state.index = record.index;
    this.storage.state.epoch = record.epoch;
  }
  touched(record: LogRecord): readonly number[] | null {
    if (record.operation.length < 2) return [];
    const { set, add } = JSON.parse(text.decode(record.operation)) as { set?: [string]; add?: [string] };
    return [bucketOf((set ?? add)![0])];
  }
  send(to: DiskId, message: ReplicaMessage): void {
    this.lab.wires.push({ from: this.disk, to, message });
  }
  sendSnapshot(to: DiskId, fromIndex: number): void {
    this.snapshotsSent++;
    const learner = this.lab.at(to);
    const copy = LabReplica.#restore(this.storage.state.copy());
    expect(copy.index).toBeGreaterThanOrEqual(fromIndex);
    if (!learner.isRunning || !learner.machine.mayTake(this.disk, copy)) {
      this.lab.later.push(() => this.isRunning && this.machine.snapshotSent(this.nowMs, to));
      return;
    }
    learner.storage.state = copy;
    learner.storage.snapshot = copy.copy();
    learner.storage.base = { index: copy.index, epoch: copy.epoch };
    learner.storage.records = [];
    learner.storage.durable = copy.index;
    learner.#written = copy.index;
    learner.#installed = { epoch: copy.epoch, state: LabState.applied(copy) };
    this.lab.later.push(() => {
      if (learner.isRunning && learner.#installed) {
        learner.machine.snapshotInstalled(learner.nowMs, learner.#installed.epoch, learner.#installed.state);
        learner.#installed = null;
      }
      if (this.isRunning) this.machine.snapshotSent(this.nowMs, to);
    });
  }
  #installed: { epoch: number; state: AppliedState } | null = null;
  propose(change: Change): void {
    this.lab.propose(this, change);
  }
  askConfiguration(): void {
    this.lab.ask(this);
  }
  answer(ticket: number, outcome: WriteOutcome): void {
    const written = this.#writes.get(ticket);
    if (!written) return;
    expect(written.outcome).toBeNull();
    written.outcome = outcome;
  }
  answerRead(ticket: number, outcome: ReadOutcome): void {
    const { read, key } = this.#reads.get(ticket)!;
    expect(read.outcome).toBeNull();
    read.outcome = outcome;
    if (outcome.type === "ok") read.value = this.storage.state.values.get(key) ?? null;
  }
  readLease(deadlineMs: number): void {
    this.leaseMs = deadlineMs;
  }
  roleChanged(role: Role): void {
    this.role = role;
    this.roles.push(role);
  }
  wantFlush(): void {
    this.#flush = true;
  }
  failed(reason: string): void {
    this.failure = reason;
  }
  wallMs(): number {
    return 1_700_000_000_000 + Math.floor(this.lab.nowMs) + this.wallAheadMs;
  }
  random(): Uint8Array {
    return this.lab.random();
  }
}

export function bucketOf(key: string): number {
  let hash = 7;
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key.charCodeAt(i)) >>> 0;
  return hash % keyBuckets;
}

export function nameOf(wire: Wire): MessageName {
  return messageNames.get(wire.message[0])!;
}

/** Both say how much of the log is written. */
export function acknowledges(wire: Wire): boolean {
  return nameOf(wire) === "appended" || nameOf(wire) === "beaconAck";
}
