/** Files of the image that a volume began with: their bytes are in the blob store of each node. */
import type { StateTables } from "../../state/module.ts";
import { prepareAll } from "./statements.ts";

const statements = {
  digest: "SELECT digest FROM files_blob WHERE row = ?",
  find: "SELECT row FROM files_blob WHERE digest = ?",
  insert: "INSERT INTO files_blob (digest) VALUES (?) RETURNING row",
  all: "SELECT * FROM files_blob ORDER BY row",
};

export class Blobs {
  readonly #sql;

  constructor(tables: StateTables) {
    this.#sql = prepareAll(tables, statements);
  }

  digestOf(row: number): string | undefined {
    return (this.#sql.digest.get(row) as { digest: string } | undefined)?.digest;
  }

  rowOf(digest: string): number {
    const found = this.#sql.find.get(digest) ?? this.#sql.insert.get(digest);
    return (found as { row: number }).row;
  }

  rows(): Iterable<unknown> {
    return this.#sql.all.iterate();
  }
}
