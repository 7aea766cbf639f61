/**
 * The helper's part of a restore: looks through all of a backup, and makes the pieces of it that the log takes. It says
 * what is wrong with a backup; what goes wrong on this machine it throws.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { isDamaged, isDeterministic } from "../../store/sqlite/sqlite-errors.ts";
import { restorePieceBytes, restorePieceRows } from "../limits.ts";
import {
  type BackupBytes,
  type ColumnValue,
  ModuleRefusal,
  type RestoredTable,
  type RestorePlan,
  type StateModule,
} from "../module.ts";
import { encodePiece } from "../modules/restore.ts";
import { applicationId, schemaVersion } from "../schema.ts";
import { type Pieces, piecesPath, receivedBytesPath, receivedPath, type Unpacked } from "./unpacked.ts";

/** Written at once. */
const writtenBytes = 1024 * 1024;

class Unusable extends Error {}

export async function unpackBackup(dataDir: string, modules: readonly StateModule[]): Promise<Unpacked> {
  let db: DatabaseSync | null = null;
  const bytes = new ReceivedBytes(receivedBytesPath(dataDir));
  try {
    db = new DatabaseSync(receivedPath(dataDir), { readOnly: true });
    // It comes from outside: nothing in it is carried out.
    db.exec("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
    const levels = check(db, modules);
    const { record: index, epoch } = db.prepare("SELECT record, epoch FROM applied").get() as {
      record: number;
      epoch: number;
    };
    return { index, epoch, levels, ...(await writePieces(db, bytes, dataDir, modules, new Map(levels))) };
  } catch (e) {
    if (e instanceof Unusable || e instanceof ModuleRefusal) return { problem: e.message };
    if (isDamaged(e)) return { problem: "it is damaged" };
    if (isDeterministic(e)) return { problem: "its tables are not those that this dvs knows" };
    throw e;
  } finally {
    bytes.close();
    db?.close();
  }
}

class ReceivedBytes implements BackupBytes {
  readonly size: number;
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, "r");
    this.size = fstatSync(this.#fd).size;
  }

  read(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const read = readSync(this.#fd, bytes, at, length - at, position + at);
      if (read === 0) throw new Unusable("it is damaged");
      at += read;
    }
    return bytes;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Levels of its modules. */
function check(db: DatabaseSync, modules: readonly StateModule[]): [string, number][] {
  const number = (name: string) => Number(Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0]);
  if (number("application_id") !== applicationId) throw new Unusable("it is a database of something else");
  const version = number("user_version");
  if (version !== schemaVersion)
    throw new Unusable(`its state has format ${version}, and this dvs knows ${schemaVersion}`);
  const verdict = Object.values(db.prepare("PRAGMA quick_check(1)").get() ?? {})[0];
  if (verdict !== "ok") throw new Unusable("it is damaged");
  const levels = levelsOf(db);
  for (const [name, level] of levels) {
    const known = modules.find((module) => module.name === name);
    if (!known) throw new Unusable(`it has state of module "${name}", which this dvs does not have`);
    if (level > known.level)
      throw new Unusable(
        `module "${name}" has level ${level} in it, and this dvs knows up to ${known.level}`,
      );
  }
  return levels;
}

function levelsOf(db: DatabaseSync): [string, number][] {
  const rows = db.prepare("SELECT name, level FROM module WHERE level > 0 ORDER BY name").all();
  return rows.map((row) => [String(row["name"]), Number(row["level"])]);
}

async function writePieces(
  db: DatabaseSync,
  received: BackupBytes,
  dataDir: string,
  modules: readonly StateModule[],
  levels: ReadonlyMap<string, number>,
): Promise<Pick<Pieces, "pieces" | "bytes" | "reserve">> {
  const file = await open(piecesPath(dataDir), "wx", 0o600);
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let pieces = 0;
  let bytes = 0;
  const reserve: Pieces["reserve"] = [];
  const flush = async () => {
    await file.writeFile(Buffer.concat(waiting));
    waiting = [];
    waitingBytes = 0;
  };
  try {
    for (const { name: module, restore } of modules) {
      // One that was made before there was this module: nothing of it.
      if (!restore || !levels.has(module)) continue;
      for (const { name } of restore.tables) checkTable(db, name);
      const problem = restore.problem?.(db);
      if (problem) throw new Unusable(`in module "${module}" ${problem}`);
      const plan = restore.plan?.(db, received);
      if (plan) {
        const segments = plan.segments.map(([from, length]): [number, number] => [from, length]);
        reserve.push({ module, ids: plan.ids, segments });
      }
      for (const table of restore.tables) {
        for (const piece of piecesOf(db, table, plan)) {
          const head = new Uint8Array(4);
          new DataView(head.buffer).setUint32(0, piece.length);
          waiting.push(head, piece);
          waitingBytes += 4 + piece.length;
          pieces++;
          bytes += piece.length;
          if (waitingBytes >= writtenBytes) await flush();
        }
      }
    }
    await flush();
  } finally {
    await file.close();
  }
  return { pieces, bytes, reserve };
}

/** A view would be somebody's words. */
function checkTable(db: DatabaseSync, name: string): void {
  const real = db.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?").get(name);
  if (!real) throw new Unusable(`its table "${name}" is missing`);
}

function* piecesOf(
  db: DatabaseSync,
  { name, columns, take }: RestoredTable,
  plan: RestorePlan | undefined,
): Generator<Uint8Array> {
  if (!take) return;
  let rows: (readonly ColumnValue[])[] = [];
  let bytes = 0;
  for (const values of plan?.rows(name) ?? rowsOf(db, name, columns)) {
    // As each replica will; what it makes of it then is of no account here.
    take(values, { begun: 0, timeMs: 0, reserved: { id: 0, segment: 0 } });
    const size = values.reduce<number>((sum, value) => sum + sizeOf(value), 0);
    if (rows.length > 0 && (rows.length >= restorePieceRows || bytes + size > restorePieceBytes)) {
      yield encodePiece(name, rows);
      rows = [];
      bytes = 0;
    }
    // A copy: what SQLite gives may be a view of its memory.
    rows.push(values.map((value) => (value instanceof Uint8Array ? value.slice() : value)));
    bytes += size;
  }
  if (rows.length > 0) yield encodePiece(name, rows);
}

function* rowsOf(
  db: DatabaseSync,
  table: string,
  columns: readonly string[],
): Iterable<readonly ColumnValue[]> {
  for (const row of db.prepare(`SELECT ${columns.join(", ")} FROM ${table}`).iterate())
    yield Object.values(row) as ColumnValue[];
}

function sizeOf(value: ColumnValue): number {
  return value === null || typeof value === "number" ? 8 : value.length;
}
