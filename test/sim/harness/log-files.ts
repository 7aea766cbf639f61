/**
 * The log's directory on a simulated disk: the same operations in virtual time, with its latencies and errors.
 *
 * An operation that is under way when its host process dies is finished by the system, in part or not at all, before
 * anybody can see that the process has gone; when the power fails, only what had reached the disk's cache counts. A
 * stopped process hears of the end when it goes on.
 */
import { type Done, type LogFile, type LogFiles, NoSpace } from "../../../core/log/log-files.ts";
import { type Disk, type DiskFile, DiskFull } from "./disk.ts";
import type { Host } from "./host.ts";
import type { Simulation } from "./simulation.ts";

export interface DiskSpeed {
  /** Of everything but a sync. */
  operationMs: { min: number; max: number };
  syncMs: { min: number; max: number };
  /** Share of operations that take `hangMs`. */
  hang: number;
  hangMs: number;
}

export const fastDisk: DiskSpeed = {
  operationMs: { min: 0, max: 0.05 },
  syncMs: { min: 0.1, max: 0.5 },
  hang: 0,
  hangMs: 0,
};

interface UnderWay {
  act(): void;
  isOver: boolean;
}

/** A machine's: it outlives host processes. */
export class Drive {
  readonly sim: Simulation;
  readonly disk: Disk;
  speed = fastDisk;
  readonly #underWay = new Set<UnderWay>();

  constructor(sim: Simulation, disk: Disk) {
    this.sim = sim;
    this.disk = disk;
  }

  powerCut(): void {
    this.#end(() => false);
    this.disk.powerCut();
  }

  /** The host process that uses it has died. */
  processDied(): void {
    this.#end(() => this.sim.random.chance(0.5));
  }

  /** `act` is done at some moment on the way, once; `done` is called at the end of it, if the host process lives. */
  run<T>(host: Host, kind: "operation" | "sync", act: () => T, done: Done<T>): void {
    const { random } = this.sim;
    const { life } = host;
    const { min, max } = kind === "sync" ? this.speed.syncMs : this.speed.operationMs;
    let ms = random.between(min, max);
    if (random.chance(this.speed.hang)) {
      ms += random.between(0, this.speed.hangMs);
      this.sim.count("disk:hung");
    }
    let result: { error: Error | null; value?: T } | null = null;
    const operation: UnderWay = {
      act: () => {
        result ??= attempt(act);
      },
      isOver: false,
    };
    if (kind !== "sync" && random.chance(0.5)) operation.act();
    this.#underWay.add(operation);
    this.sim.after(ms, () => {
      if (operation.isOver) return;
      this.#underWay.delete(operation);
      operation.act();
      const { error, value } = result!;
      host.enter(life, () => done(error, value));
    });
  }

  #end(isCarriedOut: () => boolean): void {
    for (const operation of this.#underWay) {
      operation.isOver = true;
      if (isCarriedOut()) operation.act();
    }
    this.#underWay.clear();
  }
}

/** As the host process that runs now sees it. `disk`: the drive's, or a directory of it. */
export function simFiles(drive: Drive, host: Host, disk: Disk = drive.disk): LogFiles {
  return {
    list: (done) => drive.run(host, "operation", () => disk.names(), done),
    open: (name, how, done) =>
      drive.run(
        host,
        "operation",
        () => {
          const file = how === "create" ? disk.create(name) : disk.file(name);
          if (!file) throw new Error(`ENOENT: no such file: ${name}`);
          return new SimFile(drive, host, file);
        },
        done,
      ),
    rename: (from, to, done) => drive.run(host, "operation", () => disk.rename(from, to), done),
    remove: (name, done) =>
      drive.run(host, "operation", () => (disk.file(name) ? disk.remove(name) : undefined), done),
    syncDirectory(done) {
      const { changes } = disk;
      drive.run(host, "sync", () => disk.syncDirectory(changes), done);
    },
  };
}

class SimFile implements LogFile {
  readonly #drive: Drive;
  readonly #host: Host;
  readonly #file: DiskFile;

  constructor(drive: Drive, host: Host, file: DiskFile) {
    this.#drive = drive;
    this.#host = host;
    this.#file = file;
  }

  size(done: Done<number>): void {
    this.#run("operation", () => this.#file.size, done);
  }

  write(blocks: Uint8Array[], position: number, done: Done): void {
    const { life } = this.#host;
    const write = (): void => {
      let at = position;
      for (const block of blocks) {
        // Its process died meanwhile: the system may have got this far only.
        if (this.#host.life !== life && this.#drive.sim.random.chance(0.3)) return;
        this.#file.write(at, block);
        at += block.length;
      }
    };
    this.#run("operation", write, done);
  }

  datasync(done: Done): void {
    const { changes } = this.#file;
    this.#run("sync", () => this.#file.sync(changes), done);
  }

  truncate(bytes: number, done: Done): void {
    this.#run("operation", () => this.#file.cut(bytes), done);
  }

  read(position: number, bytes: number, done: Done<Uint8Array>): void {
    this.#run("operation", () => this.#file.read(position, bytes), done);
  }

  close(done: Done): void {
    this.#run("operation", () => {}, done);
  }

  #run<T>(kind: "operation" | "sync", act: () => T, done: Done<T>): void {
    this.#drive.run(this.#host, kind, act, done);
  }
}

function attempt<T>(act: () => T): { error: Error | null; value?: T } {
  try {
    return { error: null, value: act() };
  } catch (e) {
    if (e instanceof DiskFull) return { error: new NoSpace(e.message, { cause: e }) };
    return { error: e as Error };
  }
}
