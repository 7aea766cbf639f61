/** What a client on a machine is asked, and how it answers: a line of JSON each, over its standard input and output. */
import type { KvEvent, KvResult } from "../../../core/state/modules/kv-messages.ts";

export type Asked = { id: number } & (
  | { what: "get"; key: string; timeoutMs: number }
  | { what: "put"; key: string; value: string; ifRevision: number | null; timeoutMs: number }
  | { what: "delete"; key: string; timeoutMs: number }
  | { what: "watch"; prefix: string; after: number }
  | { what: "end" }
);

export type Answered = { id: number } & (
  | { entry: { value: string; revision: number } | null }
  | { result: KvResult }
  | { event: { revision: number; changes: { key: string; value: string | null }[] } }
  | { error: { code: string; message: string } }
);

export function encoded(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}
export function decoded(value: Uint8Array): string {
  return new TextDecoder().decode(value);
}

export function toEvent({ revision, changes }: Extract<Answered, { event: unknown }>["event"]): KvEvent {
  return {
    revision,
    changes: changes.map(({ key, value }) => ({ key, value: value === null ? null : encoded(value) })),
  };
}
