/**
 * Sessions of clients, as the database keeps them. Every operation changes one, and most results are acknowledged some
 * operations later; so changes wait in memory for the COMMIT, and a client has its newest results together in one row.
 * Only what is beyond `recentBytesMax` goes into rows of its own (`session_result`).
 */
import type { SessionChange, SessionRow, SessionsState } from "../replica/sink.ts";
import type { StateStatement, StateTables } from "./module.ts";
import { decodeResults, encodeResults, type KeptResult, keptBytes } from "./session-results.ts";

/** Results in the client's own row, which is written with each COMMIT that changes it: above, the older half goes. */
const recentBytesMax = 16 * 1024;

const statements = {
  save: `INSERT INTO session VALUES (?, ?, ?)
    ON CONFLICT (client) DO UPDATE SET acked_below = excluded.acked_below, recent = excluded.recent`,
  forgetResults: "DELETE FROM session_result WHERE client = ? AND sequence < ?",
  result: "INSERT OR REPLACE INTO session_result VALUES (?, ?, ?, ?)",
  removeSession: "DELETE FROM session WHERE client = ?",
  removed: "INSERT OR IGNORE INTO removed_client (client) VALUES (?)",
  forgetRemoved: "DELETE FROM removed_client WHERE client = ?",
} as const;

interface Session {
  ackedBelow: number;
  /** In the order in which they came. */
  recent: KeptResult[];
  /** On their way from there to rows of their own. */
  moved: KeptResult[];
  /** It may have such rows. */
  hasRows: boolean;
}

export class SessionTables {
  readonly #sql: Record<keyof typeof statements, StateStatement>;
  readonly #sessions = new Map<string, Session>();
  /** Changed since the last COMMIT. */
  readonly #changed = new Set<string>();
  #removals: { client: string; forgotten: readonly string[] }[] = [];

  constructor(db: StateTables) {
    const prepared = Object.entries(statements).map(([name, sql]) => [name, db.prepare(sql)] as const);
    this.#sql = Object.fromEntries(prepared) as Record<keyof typeof statements, StateStatement>;
    const withRows = db.prepare("SELECT DISTINCT client FROM session_result").all() as { client: string }[];
    const hasRows = new Set(withRows.map(({ client }) => client));
    for (const { client, acked_below, recent } of sessionRows(db)) {
      this.#sessions.set(client, {
        ackedBelow: acked_below,
        recent: decodeResults(recent),
        moved: [],
        hasRows: hasRows.has(client),
      });
    }
  }

  /** Nothing is written before `save`. */
  change(change: SessionChange): void {
    const { client } = change;
    if (change.type === "removed") {
      this.#sessions.delete(client);
      this.#changed.delete(client);
      this.#removals.push(change);
      return;
    }
    this.#changed.add(client);
    let session = this.#sessions.get(client);
    if (!session) {
      session = { ackedBelow: 0, recent: [], moved: [], hasRows: false };
      this.#sessions.set(client, session);
    }
    if (change.type === "acked") session.ackedBelow = change.ackedBelow;
    else session.recent.push(change);
  }

  /** In the open transaction. What is written counts as saved with `saved`: before it, it can be written once more. */
  save(): void {
    const sql = this.#sql;
    for (const { client, forgotten } of this.#removals) {
      sql.removeSession.run(client);
      sql.forgetResults.run(client, Number.MAX_SAFE_INTEGER);
      sql.removed.run(client);
      for (const each of forgotten) sql.forgetRemoved.run(each);
    }
    for (const client of this.#changed) {
      const session = this.#sessions.get(client)!;
      const { ackedBelow } = session;
      session.recent = session.recent.filter(({ sequence }) => sequence >= ackedBelow);
      moveOlder(session);
      if (session.hasRows) sql.forgetResults.run(client, ackedBelow);
      for (const { sequence, result, index } of session.moved) {
        if (sequence >= ackedBelow) sql.result.run(client, sequence, result, index);
      }
      sql.save.run(client, ackedBelow, encodeResults(session.recent));
    }
  }

  /** The transaction was committed. */
  saved(): void {
    for (const client of this.#changed) this.#sessions.get(client)!.moved = [];
    this.#changed.clear();
    this.#removals = [];
  }
}

/** Down to half, so that it does not come with each change. */
function moveOlder(session: Session): void {
  const { recent } = session;
  let bytes = 0;
  for (const each of recent) bytes += keptBytes(each);
  if (bytes <= recentBytesMax) return;
  let count = 0;
  while (bytes > recentBytesMax / 2) bytes -= keptBytes(recent[count++]!);
  session.moved.push(...recent.splice(0, count));
  session.hasRows = true;
}

/** All of them, as the machine begins with them. */
export function readSessions(db: StateTables): SessionsState {
  const results = new Map<string, [sequence: number, result: Uint8Array, index: number][]>();
  for (const row of db.prepare("SELECT * FROM session_result ORDER BY client, sequence").iterate()) {
    const { client, sequence, result, record } = row as unknown as ResultRow;
    const list = results.get(client);
    // A copy: what SQLite gives may be a view of its memory.
    const entry: [number, Uint8Array, number] = [sequence, result.slice(), record];
    if (list) list.push(entry);
    else results.set(client, [entry]);
  }
  const sessions = sessionRows(db).map(({ client, acked_below, recent }): SessionRow => {
    const list = results.get(client) ?? [];
    for (const { sequence, result, index } of decodeResults(recent)) list.push([sequence, result, index]);
    return { client, ackedBelow: acked_below, results: list.sort(([a], [b]) => a - b) };
  });
  const removed = db.prepare("SELECT client FROM removed_client ORDER BY position").all() as {
    client: string;
  }[];
  return { sessions, removed: removed.map(({ client }) => client) };
}

interface ResultRow {
  client: string;
  sequence: number;
  result: Uint8Array;
  record: number;
}

function sessionRows(db: StateTables): { client: string; acked_below: number; recent: Uint8Array | null }[] {
  return db.prepare("SELECT client, acked_below, recent FROM session ORDER BY client").all() as never;
}
