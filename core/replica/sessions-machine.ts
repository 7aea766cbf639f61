/**
 * Which operations clients have had carried out, and with which results: part of the replicated state, the same on
 * each replica at each index. Carries rule 6 of DESIGN.md section 5:
 *
 *   results are kept until the client has acknowledged them (`ackedBelow`) or its removal is applied, never by time;
 *   a retry gets the kept result; one whose result is gone is not carried out, and its outcome is unknown
 *
 * A session begins with the first operation of a client that is carried out. A client whose removal was applied begins
 * none any more: the last removedClientsKept of them are remembered, far more than go while a request is under way.
 */
import type { LogRecord } from "./record.ts";
import type { Replica } from "./replica.ts";
import type { SessionRow, SessionsState } from "./sink.ts";
import { clientWindowMax, removedClientsKept } from "./timings.ts";

interface Session {
  ackedBelow: number;
  results: Map<number, { result: Uint8Array; index: number }>;
}

export type Known =
  | { type: "new" }
  | { type: "done"; result: Uint8Array; index: number }
  /** It was carried out, or never will be. */
  | { type: "gone" }
  /** So far above what the client has acknowledged that its results would not be kept. */
  | { type: "beyond" };

const fresh: Known = { type: "new" };
const gone: Known = { type: "gone" };
const beyond: Known = { type: "beyond" };

export class SessionsMachine {
  readonly #replica: Replica;
  #sessions = new Map<string, Session>();
  #removed = new Set<string>();

  constructor(replica: Replica, state: SessionsState) {
    this.#replica = replica;
    this.restore(state);
  }

  restore({ sessions, removed }: SessionsState): void {
    this.#sessions = new Map(
      sessions.map(({ client, ackedBelow, results }) => [
        client,
        {
          ackedBelow,
          results: new Map(results.map(([sequence, result, index]) => [sequence, { result, index }])),
        },
      ]),
    );
    this.#removed = new Set(removed);
  }

  /** As a snapshot holds it. */
  state(): SessionsState {
    const sessions: SessionRow[] = [...this.#sessions].map(([client, { ackedBelow, results }]) => ({
      client,
      ackedBelow,
      results: [...results].map(([sequence, { result, index }]) => [sequence, result, index] as const),
    }));
    return { sessions, removed: [...this.#removed] };
  }

  /** What became of an operation, as of what is applied. */
  look(client: string, sequence: number, ackedBelow: number): Known {
    if (this.#removed.has(client)) return gone;
    const session = this.#sessions.get(client);
    if (!session) return sequence >= Math.max(1, ackedBelow) + clientWindowMax ? beyond : fresh;
    if (sequence < session.ackedBelow) return gone;
    const done = session.results.get(sequence);
    if (done) return { type: "done", ...done };
    return sequence >= Math.max(session.ackedBelow, ackedBelow) + clientWindowMax ? beyond : fresh;
  }

  /** Carries a committed operation out, unless it has been. The result; null: its outcome is unknown. */
  apply(record: LogRecord): { result: Uint8Array; index: number } | null {
    const { sink } = this.#replica;
    const { client, index } = record;
    if (client === "") return { result: sink.execute(record), index };
    const { sequence, ackedBelow } = record;
    const known = this.look(client, sequence, ackedBelow);
    if (known.type === "done") return known;
    if (known.type === "gone") return null;
    let session = this.#sessions.get(client);
    if (!session) {
      session = { ackedBelow: 0, results: new Map() };
      this.#sessions.set(client, session);
    }
    this.#acknowledged(client, session, Math.max(1, ackedBelow));
    const result = sink.execute(record);
    session.results.set(sequence, { result, index });
    sink.sessionChanged({ type: "result", client, sequence, result, index });
    return { result, index };
  }

  /** Of each client that has a session: a number that rises with each operation of its. */
  *progress(): Iterable<readonly [client: string, progress: number]> {
    for (const [client, { ackedBelow, results }] of this.#sessions) yield [client, ackedBelow + results.size];
  }

  hasRemoved(client: string): boolean {
    return this.#removed.has(client);
  }

  /** A committed removal. */
  remove(client: string): void {
    if (this.#removed.has(client)) return;
    this.#sessions.delete(client);
    this.#removed.add(client);
    const forgotten: string[] = [];
    for (const oldest of this.#removed) {
      if (this.#removed.size <= removedClientsKept) break;
      this.#removed.delete(oldest);
      forgotten.push(oldest);
    }
    this.#replica.sink.sessionChanged({ type: "removed", client, forgotten });
  }

  #acknowledged(client: string, session: Session, ackedBelow: number): void {
    if (ackedBelow <= session.ackedBelow) return;
    session.ackedBelow = ackedBelow;
    for (const sequence of session.results.keys())
      if (sequence < ackedBelow) session.results.delete(sequence);
    this.#replica.sink.sessionChanged({ type: "acked", client, ackedBelow });
  }
}
