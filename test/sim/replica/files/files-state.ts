/**
 * The state of a replica of files in one life: the product's database, module, block store, exchange of blocks and
 * repairs, as core/state/replica-host.ts and replica-disk.ts put them together.
 */
import type { BlockStore } from "../../../../core/blocks/block-store.ts";
import { DvsError } from "../../../../core/errors.ts";
import { files } from "../../../../core/files/module/files.ts";
import type { DiskId } from "../../../../core/replica/configuration.ts";
import { type LogRecord, recordKinds } from "../../../../core/replica/record.ts";
import type { AppliedState, SessionChange } from "../../../../core/replica/sink.ts";
import { BlockExchange } from "../../../../core/state/block-exchange.ts";
import { BlockRepairs } from "../../../../core/state/block-repairs.ts";
import { bucketsOf } from "../../../../core/state/buckets.ts";
import { StateDatabase } from "../../../../core/state/database.ts";
import { commitMs } from "../../../../core/state/limits.ts";
import type { Fields } from "../../../../core/state/link/frames.ts";
import type { OpenModule, StateModule } from "../../../../core/state/module.ts";
import { receiveSegments } from "../../../../core/state/receive-segments.ts";
import type { Frozen, Life, State } from "../load.ts";
import { type FilesStore, type FrozenFiles, segmentsOf } from "./files-store.ts";

/** Small ones are full, sparse and given back within seconds. */
const segmentBytes = 48 * 1024;
/** A transfer that takes longer is over. */
const holdMs = 20_000;

/** The module, with small segments. */
export const filesInSmall: StateModule = {
  ...files,
  open: (tables, blocks) =>
    files.open(
      tables,
      blocks && {
        segmentBytes,
        write: (...at) => blocks.write(...at),
        read: (...at) => blocks.read(...at),
        discard: (segment) => blocks.discard(segment),
        ...(blocks.repair && { repair: (...at) => blocks.repair!(...at) }),
        ...(blocks.readNow && { readNow: (...at) => blocks.readNow!(...at) }),
      },
    ),
};

export class FilesState implements State {
  readonly #store: FilesStore;
  readonly #life: Life;
  readonly #blocks: BlockStore;
  readonly #exchange: BlockExchange;
  readonly #repairs: BlockRepairs;
  #database: StateDatabase;
  #level: number;
  #held = false;
  #working = false;
  #holds = 0;
  #collected = 0;

  constructor(store: FilesStore, life: Life, blocks: BlockStore, snapshot: Frozen | null) {
    this.#store = store;
    this.#life = life;
    this.#blocks = blocks;
    const { host } = life.node;
    this.#exchange = new BlockExchange({
      store: blocks,
      send: (disk, fields) => life.send(disk, fields),
      after: (ms, run) => {
        let isWanted = true;
        host.after(ms, () => isWanted && run());
        return () => (isWanted = false);
      },
    });
    this.#repairs = new BlockRepairs({
      store: blocks,
      isNeeded: (segment) => this.#database.segments.has(segment),
      exchange: this.#exchange,
      others: () => life.linked(),
      say: (_level, message) => life.node.world.sim.log(`${life.name}: ${message}`),
    });
    this.#database = this.#open();
    this.#level = this.#levelInForce();
    blocks.begin(this.index, this.#database.segments, new Map(segmentsOf(snapshot)));
  }

  get index(): number {
    return this.#database.appliedIndex;
  }
  get epoch(): number {
    return this.#database.appliedEpoch;
  }
  get level(): number {
    return this.#level;
  }
  get module(): OpenModule {
    return this.#database.module(files.name);
  }
  get segments(): ReadonlyMap<number, number> {
    return this.#database.segments;
  }

  get isHeld(): boolean {
    this.#held ||= this.#database.isBehind;
    return this.#held;
  }

  execute(record: LogRecord): Uint8Array {
    return this.#database.execute(record);
  }
  sessionChanged(change: SessionChange): void {
    this.#database.sessionChanged(change);
  }
  levelRaised(module: string, level: number): void {
    this.#level = level;
    this.#database.levelRaised(module, level);
  }
  applied(record: LogRecord): void {
    this.#database.applied(record);
  }
  commitSoon(): void {}

  appliedState(): AppliedState {
    return this.#database.state();
  }
  digest(): string {
    return this.#database.digest();
  }
  touched(record: LogRecord): readonly number[] | null {
    if (record.kind === recordKinds.level || record.kind === recordKinds.clientRemoved) return null;
    if (record.kind !== recordKinds.operation) return [];
    const keys = this.module.touched(record.operation);
    return keys && bucketsOf(keys);
  }
  bucketsOf(query: unknown): readonly number[] | null {
    const keys = this.module.keysOf(query);
    return keys && bucketsOf(keys);
  }
  read(query: unknown): unknown {
    return this.module.read(query);
  }

  due(timeMs: number): Uint8Array | null {
    const due = this.module.due!(timeMs);
    if (due || this.#working) return due;
    this.#working = true;
    this.module.work!()
      .then((operation) => {
        this.#working = false;
        if (operation) this.#life.write(operation);
      })
      .catch((e: unknown) => this.#store.load.fail(e, `work of ${this.#life.name}`));
    return null;
  }

  freeze(): FrozenFiles {
    return this.#store.freeze();
  }

  /** A snapshot of this record is on the disk. */
  kept(index: number): void {
    this.#collected = index;
    this.#collect();
  }

  hold(): () => void {
    this.#holds++;
    let isHeld = true;
    const release = (): void => {
      if (!isHeld) return;
      isHeld = false;
      this.#holds--;
      this.#collect();
    };
    this.#life.node.host.after(holdMs, release);
    return release;
  }

  #collect(): void {
    if (this.#holds > 0) return;
    const before = this.#blocks.segments.size;
    this.#blocks.collect(this.#collected, (error) => {
      if (error) return this.#store.load.fail(error, `blocks of ${this.#life.name}`);
      this.#life.node.world.sim.count("segment:removed", before - this.#blocks.segments.size);
    });
  }

  receive(from: DiskId, snapshot: Frozen, isDiverged: boolean, done: (isThere: boolean) => void): void {
    const { sim } = this.#life.node.world;
    const segments = segmentsOf(snapshot);
    receiveSegments(segments, {
      from,
      store: this.#blocks,
      exchange: this.#exchange,
      known: isDiverged ? new Map() : this.#database.segments,
      check: () => undefined,
      progress: () => undefined,
    }).then(
      ({ received, missing }) => {
        if (received > 0) sim.count("segment:bytes received", received);
        if (missing > 0) sim.count("segment:bytes missing at the sender", missing);
        done(true);
      },
      (e: unknown) => {
        const isUsual = e instanceof DvsError && (e.code === "UNAVAILABLE" || e.code === "EXHAUSTED");
        if (!isUsual) this.#store.load.fail(e, `${this.#life.name} receives segments`);
        sim.count("segment:not received");
        done(false);
      },
    );
  }

  install(snapshot: Frozen): void {
    this.#database.abandon();
    this.#store.place(snapshot as FrozenFiles);
    this.#database = this.#open();
    this.#level = this.#levelInForce();
    this.#held = false;
    this.#blocks.begin(this.index, this.#database.segments, new Map(segmentsOf(snapshot)));
    this.#collected = this.index;
  }

  received(from: DiskId, fields: Fields): void {
    this.#exchange.received(from, fields);
  }
  linkDown(disk: DiskId): void {
    this.#exchange.linkChanged(disk);
  }

  /** Everything is in its place on the disk. */
  get isWritten(): boolean {
    return this.#blocks.isWritten && this.#store.stored?.index === this.index;
  }

  close(done: () => void): void {
    this.#exchange.close();
    this.#database
      .settled()
      .then(() => {
        this.#database.close();
        this.#blocks.sync((error) => (error ? this.#fail(error) : done()));
      })
      .catch((e: unknown) => this.#fail(e));
  }

  died(): void {
    this.#database.abandon();
  }

  #open(): StateDatabase {
    const { node, name } = this.#life;
    const { host, world } = node;
    const database: StateDatabase = new StateDatabase({
      path: this.#store.path!,
      modules: [filesInSmall],
      blocks: this.#blocks,
      repairBlocks: (...at) => this.#repairs.repair(...at),
      // Transactions are longer in some worlds.
      after: (ms, run) => host.after(ms === commitMs ? world.commitMs : ms, run),
      committed: (index) => {
        this.#store.stored = { index, epoch: database.appliedEpoch };
        this.#life.committed(index);
        if (!this.#held) return;
        this.#held = false;
        this.#life.resumed();
      },
      defect: (_module, e) => this.#store.load.fail(e, `the module of ${name}`),
      failed: (e) => this.#store.load.fail(e, `the database of ${name}`),
    });
    this.#store.stored = { index: database.appliedIndex, epoch: database.appliedEpoch };
    return database;
  }

  #levelInForce(): number {
    return this.#database.state().levels.get(files.name) ?? 0;
  }

  #fail(e: unknown): void {
    this.#store.load.fail(e, `the end of ${this.#life.name}`);
  }
}
