/** The message table in the form in which a codec walks it: by number, with small integers for kinds. */
import { type FieldKind, messageNames, messageTable, type MessageRow } from "../messages.ts";

/** How a kind is written: what is checked on the way in differs more (decode.ts). */
export const kindCodes = {
  endpoint: 0,
  kernel: 1,
  uint: 2,
  group: 3,
  flag: 4,
  timeMs: 5,
  outcome: 6,
  /** These may be long, and are the last field of their row. */
  body: 7,
  bytes: 8,
  calls: 9,
  states: 10,
} as const satisfies Record<FieldKind, number>;
export const longKindsFrom = 7;

export interface WireRow {
  name: string;
  number: number;
  lossy: boolean;
  bulk: boolean;
  kinds: Uint8Array;
}

/** Number → row. Undefined: no message of kernels. */
export const wireRows: readonly (WireRow | undefined)[] = messageNames.map((name) => {
  if (name === undefined) return undefined;
  const row: MessageRow = messageTable[name];
  const kinds = Uint8Array.from(row.fields, ([, kind]) => kindCodes[kind]);
  if (kinds.length > 14) throw new Error(`message ${name} has more fields than a short array`);
  if (kinds.slice(0, -1).some((code) => code >= longKindsFrom)) {
    throw new Error(`message ${name} has a long field that is not its last`);
  }
  return { name, number: row.number, lossy: row.lossy === true, bulk: row.channel === "bulk", kinds };
});
