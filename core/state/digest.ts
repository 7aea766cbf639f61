/**
 * A checksum of what a replica's state means, the same for replicas that agree, whatever version of SQLite they have and
 * however their rows came to lie. Reads everything: for the helper, for tests, never on the event loop of a replica.
 */
import { createHash } from "node:crypto";
import { Encoder } from "@msgpack/msgpack";
import type { StateModule, StateTables } from "./module.ts";
import { readSessions } from "./sessions.ts";

const ownTables = [
  "SELECT record, epoch, time FROM applied",
  "SELECT name, level FROM module WHERE level > 0 ORDER BY name",
  "SELECT number, length FROM segment ORDER BY number",
];

/** SHA-256 in hex. */
export function stateDigest(tables: StateTables, modules: readonly StateModule[]): string {
  const hash = createHash("sha256");
  const encoder = new Encoder();
  const add = (row: unknown): void => void hash.update(encoder.encodeSharedRef(row));
  for (const sql of ownTables) {
    add(sql);
    for (const row of tables.prepare(sql).iterate()) add(Object.values(row));
  }
  const { sessions, removed } = readSessions(tables);
  for (const { client, ackedBelow, results } of sessions) add([client, ackedBelow, results]);
  add(removed);
  for (const module of [...modules].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    add(module.name);
    for (const row of module.open(tables).rows()) add(row);
  }
  return hash.digest("hex");
}
