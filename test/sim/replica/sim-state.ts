/**
 * The state machine behind a simulated replica, with the semantics of the module key-value, and what becomes of it: an
 * open database that loses its last transactions when the process dies and is worthless after a power cut, and
 * snapshots, which last once they have been fsynced.
 */
import { crc32 } from "node:zlib";
import { type LogRecord, recordKinds } from "../../../core/replica/record.ts";
import type { AppliedState, SessionChange, SessionsState } from "../../../core/replica/sink.ts";
import { keyBuckets } from "../../../core/replica/timings.ts";
import type { Value } from "./history.ts";
import type { Operation } from "./sim-client.ts";

export interface Entry {
  value: Value;
  revision: number;
  /** That the module had when it was written: it does something else in each. */
  level?: number;
}

/** Of a write; bytes in the log and in sessions. */
export interface Result {
  done: boolean;
  revision: number;
  /** What the key held where it was not done. */
  value: Value;
}

interface Session {
  ackedBelow: number;
  results: Map<number, readonly [sequence: number, result: Uint8Array, index: number]>;
}

export const moduleName = "kv";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class SimState {
  index = 0;
  /** Of the last record. */
  epoch = 0;
  timeMs = 0;
  readonly keys = new Map<string, Entry>();
  readonly sessions = new Map<string, Session>();
  removed: string[] = [];
  readonly levels = new Map<string, number>();

  clone(): SimState {
    const copy = new SimState();
    copy.index = this.index;
    copy.epoch = this.epoch;
    copy.timeMs = this.timeMs;
    for (const [key, entry] of this.keys) copy.keys.set(key, entry);
    for (const [client, { ackedBelow, results }] of this.sessions)
      copy.sessions.set(client, { ackedBelow, results: new Map(results) });
    copy.removed = [...this.removed];
    for (const [module, level] of this.levels) copy.levels.set(module, level);
    return copy;
  }

  execute({ operation, index }: LogRecord): Uint8Array {
    return encodeResult(this.#execute(decodeOperation(operation), index));
  }

  #execute(operation: Operation, revision: number): Result {
    const { key } = operation;
    const entry = this.read(key);
    if (operation.op === "put") {
      if (operation.ifRevision !== undefined && operation.ifRevision !== entry.revision)
        return { done: false, ...entry };
      const level = this.levels.get(moduleName) ?? 0;
      this.keys.set(key, { value: operation.value, revision, level });
      return { done: true, revision, value: null };
    }
    return { done: this.keys.delete(key), revision, value: null };
  }

  get values(): Map<string, Value> {
    return new Map([...this.keys].map(([key, { value }]) => [key, value]));
  }

  /** A key that is not there has revision 0. */
  read(key: string): Entry {
    return this.keys.get(key) ?? { value: null, revision: 0 };
  }

  sessionChanged(change: SessionChange): void {
    const { client } = change;
    if (change.type === "removed") {
      this.sessions.delete(client);
      this.removed = [...this.removed.filter((each) => !change.forgotten.includes(each)), client];
      return;
    }
    const session = this.sessions.get(client) ?? { ackedBelow: 0, results: new Map() };
    this.sessions.set(client, session);
    if (change.type === "result") {
      const { sequence, result, index } = change;
      session.results.set(sequence, [sequence, result, index]);
    } else {
      session.ackedBelow = change.ackedBelow;
      for (const sequence of session.results.keys())
        if (sequence < change.ackedBelow) session.results.delete(sequence);
    }
  }

  applied(): AppliedState {
    const sessions: SessionsState = {
      sessions: [...this.sessions].map(([client, { ackedBelow, results }]) => {
        return { client, ackedBelow, results: [...results.values()] };
      }),
      removed: [...this.removed],
    };
    return { index: this.index, timeMs: this.timeMs, sessions, levels: new Map(this.levels) };
  }

  /** Equal for equal states, however they came about. */
  digest(): string {
    const keys = [...this.keys].sort(([a], [b]) => (a < b ? -1 : 1));
    const sessions = [...this.sessions]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([client, { ackedBelow, results }]) => {
        const sorted = [...results.values()].sort(([a], [b]) => a - b);
        return [
          client,
          ackedBelow,
          sorted.map(([sequence, bytes, index]) => [sequence, crc32(bytes), index]),
        ];
      });
    const levels = [...this.levels].sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify([this.index, keys, sessions, this.removed, levels]);
  }
}

/** Of a record that executes something. */
export function keyOf(record: LogRecord): string | null {
  return record.kind === recordKinds.operation ? decodeOperation(record.operation).key : null;
}

export function bucketOf(key: string): number {
  return crc32(key) % keyBuckets;
}

export function encodeOperation(operation: Operation): Uint8Array {
  return encoder.encode(JSON.stringify(operation));
}
export function decodeOperation(bytes: Uint8Array): Operation {
  return JSON.parse(decoder.decode(bytes)) as Operation;
}
function encodeResult(result: Result): Uint8Array {
  return encoder.encode(JSON.stringify(result));
}
export function decodeResult(bytes: Uint8Array): Result {
  return JSON.parse(decoder.decode(bytes)) as Result;
}
