/** How much of its image a volume has been given. */
import type { StateTables } from "../../state/module.ts";
import { prepareAll } from "./statements.ts";

export interface Seed {
  readonly digest: string;
  entries: number;
  done: number;
}

const statements = {
  get: "SELECT * FROM files_seed",
  begin: "INSERT INTO files_seed VALUES (?, ?, ?)",
  save: "UPDATE files_seed SET entries = ?, done = ?",
};

export class Seeds {
  readonly #sql;

  constructor(tables: StateTables) {
    this.#sql = prepareAll(tables, statements);
  }

  find(): Seed | undefined {
    return this.#sql.get.get() as unknown as Seed | undefined;
  }

  begin({ digest, entries, done }: Seed): void {
    this.#sql.begin.run(digest, entries, done);
  }

  save({ entries, done }: Seed): void {
    this.#sql.save.run(entries, done);
  }

  rows(): Iterable<unknown> {
    return this.#sql.get.iterate();
  }
}
