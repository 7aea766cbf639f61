/** Sessions of clients, as the database keeps them. */
import type { SessionRow, SessionsState } from "../replica/sink.ts";
import type { StateTables } from "./module.ts";

export function readSessions(db: StateTables): SessionsState {
  const rows = db.prepare("SELECT client, acked_below FROM session ORDER BY client").all();
  const results = new Map<string, [sequence: number, result: Uint8Array, index: number][]>();
  for (const row of db.prepare("SELECT * FROM session_result ORDER BY client, sequence").iterate()) {
    const { client, sequence, result, record } = row as unknown as ResultRow;
    const list = results.get(client);
    // A copy: what SQLite gives may be a view of its memory.
    const entry: [number, Uint8Array, number] = [sequence, result.slice(), record];
    if (list) list.push(entry);
    else results.set(client, [entry]);
  }
  const sessions = (rows as { client: string; acked_below: number }[]).map(
    ({ client, acked_below }): SessionRow => ({
      client,
      ackedBelow: acked_below,
      results: results.get(client) ?? [],
    }),
  );
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
