/** Offsets that processes on several nodes share, as after fork. One is gone with the last client that shares it. */
import type { StateTables } from "../../state/module.ts";
import { prepareAll } from "./statements.ts";

const statements = {
  get: "SELECT ino, offset FROM files_offset WHERE id = ?",
  make: "INSERT INTO files_offset VALUES (?, ?, 0)",
  set: "UPDATE files_offset SET offset = ? WHERE id = ?",
  remove: "DELETE FROM files_offset WHERE id = ?",
  join: "INSERT OR IGNORE INTO files_sharer VALUES (?, ?)",
  leave: "DELETE FROM files_sharer WHERE client = ? AND id = ?",
  isShared: "SELECT 1 FROM files_sharer WHERE id = ? LIMIT 1",
  ofClient: "SELECT id FROM files_sharer WHERE client = ? ORDER BY id LIMIT ?",
  ofInode: "SELECT id FROM files_offset WHERE ino = ? ORDER BY id",
  removeSharers: "DELETE FROM files_sharer WHERE id = ?",
  all: "SELECT * FROM files_offset ORDER BY id",
  allSharers: "SELECT * FROM files_sharer ORDER BY client, id",
};

export class Offsets {
  readonly #sql;

  constructor(tables: StateTables) {
    this.#sql = prepareAll(tables, statements);
  }

  find(id: string): { ino: number; offset: number } | undefined {
    return this.#sql.get.get(id) as { ino: number; offset: number } | undefined;
  }

  make(id: string, ino: number, client: string): void {
    this.#sql.make.run(id, ino);
    this.join(id, client);
  }

  join(id: string, client: string): void {
    this.#sql.join.run(client, id);
  }

  set(id: string, offset: number): void {
    this.#sql.set.run(offset, id);
  }

  leave(id: string, client: string): void {
    this.#sql.leave.run(client, id);
    if (!this.#sql.isShared.get(id)) this.#sql.remove.run(id);
  }

  /** Takes so many from a client that is gone; returns how many there were. */
  leaveClient(client: string, limit: number): number {
    const rows = this.#sql.ofClient.all(client, limit) as { id: string }[];
    for (const { id } of rows) this.leave(id, client);
    return rows.length;
  }

  /** The file is gone. */
  removed(ino: number): void {
    for (const { id } of this.#sql.ofInode.all(ino) as { id: string }[]) {
      this.#sql.removeSharers.run(id);
      this.#sql.remove.run(id);
    }
  }

  *rows(): Iterable<unknown> {
    yield* this.#sql.all.iterate();
    yield* this.#sql.allSharers.iterate();
  }
}
