/** What a volume counts, in one row that is read once and written with each record that changed it. */
import type { StateTables } from "../../state/module.ts";
import { volumeBytesMaxDefault, volumeInodesMaxDefault } from "../../limits.ts";
import { refuse } from "./refusal.ts";
import { prepareAll } from "./statements.ts";

const statements = {
  get: "SELECT * FROM files_counter",
  save: `UPDATE files_counter SET next = ?, bytes = ?, bytesMax = ?, inodes = ?, inodesMax = ?,
    segment = ?, head = ?, live = ?, serving = ?`,
};

interface CounterRow {
  next: number;
  bytes: number;
  bytesMax: number;
  inodes: number;
  inodesMax: number;
  segment: number;
  head: number;
  live: number;
  serving: number;
}

/** Before the first file: the root is inode 1. */
export const firstCounters = `INSERT INTO files_counter VALUES
  (2, 0, ${volumeBytesMaxDefault}, 1, ${volumeInodesMaxDefault}, 1, 0, 0, 0);`;

export class Counters {
  readonly #sql;
  #row: CounterRow | null = null;
  #changed = false;

  constructor(tables: StateTables) {
    this.#sql = prepareAll(tables, statements);
  }

  /** As the tables have it: another host process may be writing them. */
  stored(): Readonly<CounterRow> {
    return this.#sql.get.get() as unknown as CounterRow;
  }

  /** Only while a record is carried out. */
  get row(): Readonly<CounterRow> {
    return (this.#row ??= this.#sql.get.get() as unknown as CounterRow);
  }

  change(): CounterRow {
    this.#changed = true;
    return this.row;
  }

  /** An id that nothing has, or had. */
  nextId(): number {
    return this.change().next++;
  }

  /** EDQUOT where so many bytes and inodes more are too many. Whoever is above already can still remove. */
  checkRoom(bytes: number, inodes: number): void {
    const { row } = this;
    if (bytes > 0 && row.bytes + bytes > row.bytesMax) refuse("EDQUOT");
    if (inodes > 0 && row.inodes + inodes > row.inodesMax) refuse("EDQUOT");
  }

  use(bytes: number, inodes: number): void {
    if (bytes === 0 && inodes === 0) return;
    const row = this.change();
    row.bytes += bytes;
    row.inodes += inodes;
  }

  /** The record is carried out. */
  save(): void {
    if (!this.#changed) return;
    const { next, bytes, bytesMax, inodes, inodesMax, segment, head, live, serving } = this.row;
    this.#sql.save.run(next, bytes, bytesMax, inodes, inodesMax, segment, head, live, serving);
    this.#changed = false;
  }

  /** What was done may have been undone. */
  forget(): void {
    this.#row = null;
    this.#changed = false;
  }
}
