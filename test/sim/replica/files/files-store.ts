/**
 * What a replica of files has on its machine's disk: the database in a file of a real SQLite, which a power cut takes
 * away, and segments of blocks in a directory of the simulated disk, of which it leaves what was synced.
 */
import { rmSync, writeFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { openBlockStore } from "../../../../core/blocks/block-store.ts";
import { syncGrown } from "../../../../core/blocks/sync-segments.ts";
import { run } from "../../../../core/log/steps.ts";
import { segmentsIn } from "../../../../core/state/database-blocks.ts";
import type { Disk } from "../../harness/disk.ts";
import { simFiles } from "../../harness/log-files.ts";
import type { Frozen, Life, State, StateStore } from "../load.ts";
import type { SimNode } from "../sim-node.ts";
import { Beside } from "./beside.ts";
import type { FilesLoad } from "./files-load.ts";
import { FilesState } from "./files-state.ts";

/** A snapshot: a database in one file, and how much of each segment it needs. */
export interface FrozenFiles extends Frozen {
  readonly bytes: Uint8Array;
  readonly segments: readonly (readonly [segment: number, length: number])[];
}

export class FilesStore implements StateStore {
  readonly node: SimNode;
  readonly load: FilesLoad;
  /** Of the database; null: there is none. */
  path: string | null = null;
  stored: Frozen | null = null;
  readonly #beside: Beside;

  constructor(load: FilesLoad, node: SimNode) {
    this.load = load;
    this.node = node;
    this.#beside = new Beside(this);
  }

  /** Where its segments are. */
  get blocks(): Disk {
    return this.node.drive.disk.directory("blocks");
  }

  lost(): void {
    this.#beside.close();
    if (this.path) for (const suffix of ["", "-wal", "-shm"]) rmSync(this.path + suffix, { force: true });
    this.path = null;
    this.stored = null;
  }

  freeze(): FrozenFiles {
    const path = this.load.newPath("snapshot");
    const db = new DatabaseSync(this.path!);
    db.exec("PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0");
    db.prepare("VACUUM INTO ?").run(path);
    db.close();
    const made = new DatabaseSync(path);
    const { record, epoch } = made.prepare("SELECT record, epoch FROM applied").get() as {
      record: number;
      epoch: number;
    };
    const segments = segmentsIn(made);
    made.close();
    return { index: record, epoch, segments, bytes: this.load.take(path) };
  }

  sync(snapshot: Frozen, before: Frozen | null, done: () => void): void {
    const files = simFiles(this.node.drive, this.node.host, this.blocks);
    run(syncGrown(files, segmentsOf(snapshot), segmentsOf(before)), (error) => {
      if (error) return this.load.fail(error, `${this.node.host.id} syncs what a snapshot names`);
      done();
    });
  }

  open(life: Life, from: "database" | Frozen | null, done: (state: State) => void): void {
    const { drive, host } = this.node;
    const { life: born } = host;
    const options = {
      files: simFiles(drive, host, this.blocks),
      after: (ms: number, act: () => void) => host.after(ms, act),
      full: (full: boolean) => life.full(full),
      failed: (error: Error) => this.load.fail(error, `blocks of ${life.name}`),
      segmentsOpenMax: 3,
    };
    openBlockStore(options, (error, blocks) => {
      if (error) return this.load.fail(error, `blocks of ${life.name}`);
      if (host.life !== born) return;
      if (from !== "database") this.place(from as FrozenFiles | null);
      done(new FilesState(this, life, blocks!, this.node.snapshot?.state ?? null));
    });
  }

  /** A database of this content, or an empty one, instead of what was there. */
  place(content: FrozenFiles | null): void {
    this.lost();
    this.path = this.load.newPath("state");
    if (content) writeFileSync(this.path, content.bytes);
  }

  readBeside(query: unknown): { result: unknown } | null {
    return this.#beside.read(query);
  }

  close(): void {
    this.lost();
  }
}

export function segmentsOf(frozen: Frozen | null): FrozenFiles["segments"] {
  return (frozen as FrozenFiles | null)?.segments ?? [];
}
