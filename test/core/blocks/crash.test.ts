/**
 * A database and its blocks over a simulated disk, with an end at each operation of the disk: a kill, which leaves any
 * part of what is under way, or a power cut, which takes what was not synced. What was applied before is in the log; so
 * after each end the database names only bytes that are there, and with the log everything is there again.
 */
import { afterAll, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type BlockStore, openBlockStore } from "../../../core/blocks/block-store.ts";
import { segmentName } from "../../../core/blocks/segment-name.ts";
import type { LogFile, LogFiles } from "../../../core/log/log-files.ts";
import { call, run, type Steps } from "../../../core/log/steps.ts";
import { type LogRecord, RecordEncoder, recordKinds } from "../../../core/replica/record.ts";
import { segmentsIn } from "../../../core/state/database-blocks.ts";
import { StateDatabase } from "../../../core/state/database.ts";
import type { Segments } from "../../../core/state/snapshots.ts";
import { Disk } from "../../sim/harness/disk.ts";
import { Drive, simFiles } from "../../sim/harness/log-files.ts";
import { Simulation } from "../../sim/harness/simulation.ts";
import { pieceBytes } from "./replicas.ts";
import { type PieceOperation, piecesModule } from "./test-module.ts";

type End = "kill" | "power cut";
interface Snapshot {
  path: string;
  index: number;
  segments: Segments;
}

const modules = [piecesModule(3_000)];
const root = mkdtempSync(join(tmpdir(), "dvs-"));
const encoder = new RecordEncoder();
let paths = 0;
afterAll(() => rmSync(root, { recursive: true }));

class World {
  readonly sim: Simulation;
  readonly drive: Drive;
  readonly host;
  /** What was acknowledged: each record was synced before it was applied. */
  readonly log: LogRecord[] = [];
  readonly contents = new Map<number, Uint8Array>();
  operations = 0;
  snapshot: Snapshot | null = null;
  db!: StateDatabase;
  store!: BlockStore;
  failures: Error[] = [];
  #end: { at: number; how: End } | null = null;
  #ended: End | null = null;
  #path = "";

  constructor(seed: number) {
    this.sim = new Simulation(seed);
    this.host = this.sim.host("a");
    this.drive = new Drive(this.sim, new Disk(this.sim.random));
    // Slower than a COMMIT comes.
    this.drive.speed = { ...this.drive.speed, operationMs: { min: 0, max: 3 } };
  }

  /** The next life, which ends with an operation of the disk; 0: with none. */
  start(end: { at: number; how: End }): void {
    this.#end = end;
    this.#ended = null;
    this.operations = 0;
    this.host.start();
    this.store = undefined!;
    openBlockStore(
      {
        files: this.#files(simFiles(this.drive, this.host)),
        after: (ms, then) => this.host.after(ms, then),
        full: () => undefined,
        failed: (e) => this.failures.push(e),
        segmentsOpenMax: 2,
      },
      (error, store) => {
        if (error) throw error;
        this.store = store!;
      },
    );
    this.sim.runUntil(() => this.store !== undefined, 1_000);
    const fresh = this.#path === "" ? this.#newPath() : this.#path;
    this.#path = fresh;
    this.db = new StateDatabase({
      path: fresh,
      modules,
      blocks: this.store,
      after: (ms, then) => this.host.after(ms, then),
      failed: (e) => this.failures.push(e),
    });
    this.store.begin(this.db.appliedIndex, this.db.segments, new Map(this.snapshot?.segments));
  }

  get hasEnded(): boolean {
    return this.#ended !== null;
  }

  /** Applies what the log has more. */
  replay(): void {
    for (const record of this.log.slice(this.db.appliedIndex)) {
      if (this.hasEnded) return;
      this.#apply(record);
      this.pass(this.sim.random.between(0, 0.3));
    }
  }

  operate(operation: PieceOperation | null): void {
    const index = this.db.appliedIndex + 1;
    const kind = operation === null ? recordKinds.level : recordKinds.operation;
    const encoded = operation === null ? new Uint8Array([1]) : this.db.module("pieces").encode(operation);
    if (operation && "append" in operation) this.contents.set(index, operation.append);
    const record = encoder.encode({
      ...{ epoch: 1, index, kind, timeMs: 1, random: new Uint8Array(16), client: "" },
      ...{ sequence: 0, ackedBelow: 0, module: "pieces", operation: encoded },
    });
    this.log.push(record);
    this.#apply(record);
  }

  #apply(record: LogRecord): void {
    if (record.kind === recordKinds.level) this.db.levelRaised("pieces", 1);
    else this.db.execute(record);
    this.db.applied(record);
  }

  pass(ms: number): void {
    const { at } = this.#end!;
    const untilMs = this.sim.nowMs + ms;
    const isDue = this.sim.runUntil(() => at > 0 && this.operations >= at, ms);
    if (!isDue) this.sim.run(untilMs - this.sim.nowMs);
    this.#maybeEnd();
  }

  /** As the helper and the keeper do: it counts when all that it names is on the disk. */
  makeSnapshot(): void {
    const path = join(root, `snapshot-${++paths}.db`);
    const from = new DatabaseSync(this.#path, { readOnly: true });
    from.prepare("VACUUM INTO ?").run(path);
    from.close();
    const made = new DatabaseSync(path);
    const { record } = made.prepare("SELECT record FROM applied").get() as { record: number };
    const snapshot = { path, index: record, segments: segmentsIn(made) };
    made.close();
    const progress = { isDone: false };
    const { life } = this.host;
    run(this.#sync(snapshot), (error) => {
      if (error) throw error;
      if (life !== this.host.life) return;
      this.snapshot = snapshot;
      this.store.collect(snapshot.index, () => (progress.isDone = true));
    });
    for (let i = 0; i < 1_000 && !progress.isDone && !this.hasEnded; i++) this.pass(0.05);
  }

  *#sync({ segments }: Snapshot): Steps<void> {
    const files = this.#files(simFiles(this.drive, this.host));
    const before = new Map(this.snapshot?.segments);
    for (const [segment, length] of segments) {
      if (length <= (before.get(segment) ?? 0)) continue;
      const file = yield* call<LogFile>((done) => files.open(segmentName(segment), "read", done));
      const size = yield* call<number>((done) => file.size(done));
      expect(size).toBeGreaterThanOrEqual(length);
      yield* call((done) => file.datasync(done));
    }
    yield* call((done) => files.syncDirectory(done));
  }

  settle(): void {
    this.db.commit();
    for (let i = 0; i < 10_000 && !this.hasEnded && !this.store.isWritten; i++) this.pass(0.05);
    this.pass(5);
    this.db.commit();
  }

  /** All that the database's file names is on the disk as it was written. */
  verify(path = this.#path): void {
    const db = new DatabaseSync(path, { readOnly: true });
    const rows = db.prepare("SELECT id, segment, position, length FROM pieces_piece").all() as {
      id: number;
      segment: number;
      position: number;
      length: number;
    }[];
    db.close();
    for (const { id, segment, position, length } of rows) {
      const bytes = this.drive.disk.file(segmentName(segment))?.read(position, length);
      expect(bytes).toEqual(this.contents.get(id));
    }
  }

  rows(): unknown {
    return this.db.module("pieces").read(null);
  }

  close(): void {
    this.host.crash();
    this.db.close();
    this.store.close();
  }

  #maybeEnd(): void {
    const end = this.#end;
    if (!end || end.at === 0 || this.operations < end.at || this.#ended) return;
    this.#ended = end.how;
    this.host.crash();
    const path = this.#newPath();
    if (end.how === "kill") {
      this.drive.processDied();
      for (const suffix of ["", "-wal"])
        if (existsSync(this.#path + suffix)) copyFileSync(this.#path + suffix, path + suffix);
    } else {
      this.drive.powerCut();
      if (this.snapshot) copyFileSync(this.snapshot.path, path);
    }
    this.db.close();
    this.store.close();
    this.#path = path;
  }

  #newPath(): string {
    return join(root, `state-${++paths}.db`);
  }

  /** Counts what changes the disk. */
  #files(files: LogFiles): LogFiles {
    const count = (): void => void this.operations++;
    const counted = (file: LogFile): LogFile => ({
      size: (done) => file.size(done),
      write: (blocks, position, done) => (count(), file.write(blocks, position, done)),
      datasync: (done) => (count(), file.datasync(done)),
      truncate: (bytes, done) => (count(), file.truncate(bytes, done)),
      read: (position, bytes, done) => file.read(position, bytes, done),
      close: (done) => file.close(done),
    });
    return {
      list: (done) => files.list(done),
      open: (name, how, done) => {
        if (how === "create") count();
        files.open(name, how, (error, file) => done(error, file && counted(file)));
      },
      rename: (from, to, done) => (count(), files.rename(from, to, done)),
      remove: (name, done) => (count(), files.remove(name, done)),
      syncDirectory: (done) => (count(), files.syncDirectory(done)),
    };
  }
}

/** The same work each time: what it does next depends on how much of it is in the log. */
function work(world: World): void {
  while (world.log.length < 40 && !world.hasEnded) {
    const next = world.log.length;
    if (next === 0) world.operate(null);
    else if (next % 13 === 12) world.operate({ drop: 1 + Math.floor(next / 6) });
    else world.operate({ append: pieceBytes(50 + ((next * 397) % 900), next) });
    world.pass((next * 7) % 5 === 0 ? 4 : 0.05);
    // The keeper looks again and again.
    if (!world.hasEnded) world.store.collect(world.snapshot?.index ?? 0, () => undefined);
    if (next % 11 === 10 && !world.hasEnded) {
      world.settle();
      if (!world.hasEnded) world.makeSnapshot();
    }
  }
  if (!world.hasEnded) world.settle();
}

const whole = new World(1);
whole.start({ at: 0, how: "kill" });
work(whole);
const expected = whole.rows();
const steps = whole.operations;
whole.verify();
whole.close();

for (const how of ["kill", "power cut"] as const) {
  test(`with a ${how} at each operation of the disk, and another one soon after, nothing is lost and nothing is wrong`, () => {
    expect(steps).toBeGreaterThan(40);
    for (let at = 1; at <= steps; at++) {
      const world = new World(at);
      world.start({ at, how });
      work(world);
      // Also while what was lost is brought back.
      const second = world.sim.random.integer(0, 12);
      for (const end of [
        { at: second, how: world.sim.random.pick(["kill", "power cut"] as const) },
        { at: 0, how },
      ]) {
        if (!world.hasEnded) break;
        world.start(end);
        world.verify();
        world.replay();
        work(world);
      }
      expect(world.hasEnded).toBe(false);
      expect(world.rows()).toEqual(expected);
      world.verify();
      expect(world.failures).toEqual([]);
      world.close();
    }
  }, 60_000);
}
