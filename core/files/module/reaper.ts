/**
 * Takes apart what nobody has any more: orphans, and extents of contents that were left. In steps of so many rows, as
 * part of operations that make garbage and, for what is left when nobody does, of `reap`.
 */
import { extentsPerStep } from "../../limits.ts";
import type { StateTables } from "../../state/module.ts";
import type { Contents } from "./contents.ts";
import type { Extent, Extents } from "./extents.ts";
import type { Inodes } from "./inodes.ts";
import type { Locks } from "./locks.ts";
import type { Offsets } from "./offsets.ts";
import type { Opens } from "./opens.ts";
import type { Counters } from "./counters.ts";
import type { Segments } from "./segments.ts";
import { prepareAll } from "./statements.ts";

const statements = {
  first: "SELECT content, ino FROM files_reap ORDER BY content LIMIT 1",
  done: "DELETE FROM files_reap WHERE content = ?",
  all: "SELECT * FROM files_reap ORDER BY content",
};

interface Parts {
  inodes: Inodes;
  extents: Extents;
  segments: Segments;
  contents: Contents;
  opens: Opens;
  counters: Counters;
  locks: Locks;
  offsets: Offsets;
}

export class Reaper {
  readonly #sql;
  readonly #parts: Parts;

  constructor(tables: StateTables, parts: Parts) {
    this.#sql = prepareAll(tables, statements);
    this.#parts = parts;
  }

  /** Whether there is something to do. */
  isDue(timeMs: number): boolean {
    return this.#sql.first.get() !== undefined || this.#parts.opens.due(timeMs, 1).length > 0;
  }

  step(timeMs: number, rows: number): void {
    let left = rows - this.#bury(timeMs, rows);
    while (left > 0) {
      const job = this.#sql.first.get() as { content: number; ino: number } | undefined;
      if (!job) return;
      left -=
        job.ino === 0 ? this.#takeApart(job.content, left) : this.#clearTail(job.content, job.ino, left);
    }
  }

  rows(): Iterable<unknown> {
    return this.#sql.all.iterate();
  }

  #bury(timeMs: number, limit: number): number {
    const { inodes, contents, opens, locks, offsets } = this.#parts;
    const due = opens.due(timeMs, limit);
    for (const ino of due) {
      opens.buried(ino);
      const inode = inodes.find(ino);
      if (!inode) continue;
      locks.removed(ino);
      offsets.removed(ino);
      inodes.remove(ino);
      contents.leave(inode);
    }
    return due.length;
  }

  /** Returns what it has cost, at least 1. */
  #takeApart(content: number, limit: number): number {
    const removed = this.#removeLast(content, 0, limit);
    if (removed.length < limit) this.#sql.done.run(content);
    return removed.length + 1;
  }

  #clearTail(content: number, ino: number, limit: number): number {
    const { inodes, counters, opens } = this.#parts;
    const inode = inodes.get(ino);
    const removed = this.#removeLast(content, inode.size, Math.min(limit, extentsPerStep));
    const freed = removed.reduce((sum, { length }) => sum + length, 0);
    inode.allocated -= freed;
    if (opens.isCounted(inode)) counters.use(-freed, 0);
    if (removed.length < Math.min(limit, extentsPerStep)) {
      inode.tail = 0;
      this.#sql.done.run(content);
    }
    inodes.save(inode);
    return removed.length + 1;
  }

  #removeLast(content: number, from: number, limit: number): Extent[] {
    const { extents, segments } = this.#parts;
    const removed = extents.last(content, from, limit);
    const freed = new Map<number, number>();
    for (const { segment, length } of removed) freed.set(segment, (freed.get(segment) ?? 0) + length);
    for (const [segment, bytes] of freed) segments.free(segment, bytes);
    const first = removed.at(-1);
    if (first) extents.removeFrom(content, first.start);
    return removed;
  }
}
