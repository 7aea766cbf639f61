/**
 * Who has which files open, client by client, and files without a name. Such an orphan stays as long as somebody has it
 * open, and for orphanKeptMs in any case: clients tell of an open only when it lasts (core/files/client/opens.ts).
 * An orphan counts in the quota as long as somebody is known to have it open.
 */
import { orphanKeptMs } from "../../limits.ts";
import type { StateTables } from "../../state/module.ts";
import type { Counters } from "./counters.ts";
import type { Inode } from "./inodes.ts";
import { prepareAll } from "./statements.ts";

/** Since when an orphan that somebody has open waits for its end. */
const kept = Number.MAX_SAFE_INTEGER;

const statements = {
  open: "INSERT OR IGNORE INTO files_open VALUES (?, ?)",
  release: "DELETE FROM files_open WHERE client = ? AND ino = ?",
  any: "SELECT 1 FROM files_open WHERE ino = ? LIMIT 1",
  ofClient: "SELECT ino FROM files_open WHERE client = ? ORDER BY ino LIMIT ?",
  orphan: "INSERT OR REPLACE INTO files_orphan VALUES (?, ?)",
  buried: "DELETE FROM files_orphan WHERE ino = ?",
  due: "SELECT ino FROM files_orphan WHERE since <= ? ORDER BY since, ino LIMIT ?",
  all: "SELECT * FROM files_open ORDER BY client, ino",
  allOrphans: "SELECT * FROM files_orphan ORDER BY ino",
};

export class Opens {
  readonly #sql;
  readonly #counters: Counters;

  constructor(tables: StateTables, counters: Counters) {
    this.#sql = prepareAll(tables, statements);
    this.#counters = counters;
  }

  open(client: string, inode: Inode): void {
    if (inode.nlink === 0 && !this.isOpen(inode.ino)) {
      this.#counters.use(inode.allocated, 1);
      this.#sql.orphan.run(inode.ino, kept);
    }
    this.#sql.open.run(client, inode.ino);
  }

  /** `inode`: undefined where there is none any more. */
  release(client: string, ino: number, inode: Inode | undefined, timeMs: number): void {
    const { changes } = this.#sql.release.run(client, ino);
    if (changes === 0 || inode?.nlink !== 0 || this.isOpen(ino)) return;
    this.#counters.use(-inode.allocated, -1);
    this.#sql.orphan.run(ino, timeMs);
  }

  isOpen(ino: number): boolean {
    return this.#sql.any.get(ino) !== undefined;
  }

  /** Whether what it takes is counted. */
  isCounted({ ino, nlink }: Inode): boolean {
    return nlink > 0 || this.isOpen(ino);
  }

  ofClient(client: string, limit: number): number[] {
    return (this.#sql.ofClient.all(client, limit) as { ino: number }[]).map(({ ino }) => ino);
  }

  /** Its last name has gone. */
  orphaned({ ino, allocated }: Inode, timeMs: number): void {
    const isOpen = this.isOpen(ino);
    if (!isOpen) this.#counters.use(-allocated, -1);
    this.#sql.orphan.run(ino, isOpen ? kept : timeMs);
  }

  /** It is gone. */
  buried(ino: number): void {
    this.#sql.buried.run(ino);
  }

  /** Orphans that nobody has any more, the oldest first. */
  due(timeMs: number, limit: number): number[] {
    const { serving } = this.#counters.stored();
    // After a takeover everybody has the full time again: records' time may have jumped.
    if (serving + orphanKeptMs > timeMs) return [];
    return (this.#sql.due.all(timeMs - orphanKeptMs, limit) as { ino: number }[]).map(({ ino }) => ino);
  }

  *rows(): Iterable<unknown> {
    yield* this.#sql.all.iterate();
    yield* this.#sql.allOrphans.iterate();
  }
}
