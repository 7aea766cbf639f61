/**
 * Tables that a restore has put aside. They belong to nobody's state: each replica removes them in its own time, some
 * rows at a time, since dropping a large table at once would hold the event loop for seconds.
 */
import type { StateTables } from "./module.ts";

const prefix = "trash_";
/** Of one step: some milliseconds. */
const stepRows = 512;
const stepBytes = 256 * 1024;

/** Record and table make it unique. */
export function trashName(record: number, table: string): string {
  return `${prefix}${record}_${table}`;
}

/** One step, in a transaction of the caller. False: there is nothing left. */
export function sweepTrash(db: StateTables): boolean {
  const table = db
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB ? ORDER BY name LIMIT 1")
    .get(`${prefix}*`) as { name: string } | undefined;
  if (!table) return false;
  if (!removeSome(db, table.name)) db.exec(`DROP TABLE ${table.name}`);
  return true;
}

/** False: it is empty. */
function removeSome(db: StateTables, table: string): boolean {
  const columns = db.prepare(`PRAGMA table_info(${table})`).all() as { name: string; pk: number }[];
  const keys = columns
    .filter(({ pk }) => pk > 0)
    .toSorted((a, b) => a.pk - b.pk)
    .map(({ name }) => name);
  // One without keys has a row or two.
  if (keys.length === 0) return false;
  const key = keys.join(", ");
  const size = columns.map(({ name }) => `ifnull(length(${name}), 0)`).join(" + ");
  let last: unknown[] | null = null;
  let bytes = 0;
  for (const row of db
    .prepare(`SELECT ${size} AS size, ${key} FROM ${table} ORDER BY ${key} LIMIT ?`)
    .iterate(stepRows)) {
    const { size: more, ...of } = row as { size: number };
    last = Object.values(of);
    bytes += more;
    if (bytes > stepBytes) break;
  }
  if (!last) return false;
  const values = last as (string | number | Uint8Array)[];
  db.prepare(`DELETE FROM ${table} WHERE (${key}) <= (${keys.map(() => "?").join(", ")})`).run(...values);
  return true;
}
