/** Names in directories. An entry's cookie tells its place in a listing, and stays as long as the entry. */
import type { StateTables } from "../../state/module.ts";
import { prepareAll } from "./statements.ts";

export interface Entry {
  readonly name: string;
  readonly ino: number;
  readonly kind: number;
  readonly cookie: number;
}

const statements = {
  get: "SELECT name, ino, kind, cookie FROM files_entry WHERE parent = ? AND name = ?",
  list: "SELECT name, ino, kind, cookie FROM files_entry WHERE parent = ? AND cookie > ? ORDER BY cookie LIMIT ?",
  any: "SELECT 1 FROM files_entry WHERE parent = ? LIMIT 1",
  insert: "INSERT INTO files_entry VALUES (?, ?, ?, ?, ?)",
  update: "UPDATE files_entry SET ino = ?, kind = ?, cookie = ? WHERE parent = ? AND name = ?",
  remove: "DELETE FROM files_entry WHERE parent = ? AND name = ?",
  all: "SELECT * FROM files_entry ORDER BY parent, name",
};

export class Entries {
  readonly #sql;

  constructor(tables: StateTables) {
    this.#sql = prepareAll(tables, statements);
  }

  find(parent: number, name: string): Entry | undefined {
    return this.#sql.get.get(parent, name) as unknown as Entry | undefined;
  }

  /** Those behind this cookie. */
  list(parent: number, after: number, limit: number): Entry[] {
    return this.#sql.list.all(parent, after, limit) as unknown as Entry[];
  }

  isEmpty(parent: number): boolean {
    return this.#sql.any.get(parent) === undefined;
  }

  insert(parent: number, { name, ino, kind, cookie }: Entry): void {
    this.#sql.insert.run(parent, name, ino, kind, cookie);
  }

  /** The name has another inode from now on. */
  replace(parent: number, { name, ino, kind, cookie }: Entry): void {
    this.#sql.update.run(ino, kind, cookie, parent, name);
  }

  remove(parent: number, name: string): void {
    this.#sql.remove.run(parent, name);
  }

  rows(): Iterable<unknown> {
    return this.#sql.all.iterate();
  }
}
