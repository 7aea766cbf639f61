/** Messages between replicas as they come in: each field checked by its kind, so that the machine sees nothing else. */
import { Malformed } from "../kernel/proxy/malformed.ts";
import {
  type FieldKind,
  type ForwardedAnswer,
  type ForwardedWrite,
  messageNames,
  messageTable,
  type MessageRow,
  type ReplicaMessage,
} from "../replica/messages.ts";
import { recordBytesMax } from "../replica/record.ts";
import { appendBytesMax, clientBytesMax, moduleBytesMax } from "../replica/timings.ts";
import type { Fields } from "./link/frames.ts";
import { ConfigurationSchema } from "./replica-set.ts";

const uintMax = 2 ** 48 - 1;
const levelsMax = 256;
const manyMax = 65_536;
const incarnationForm = /^[A-Za-z0-9-]{0,64}$/;
const wordForm = /^[a-z-]{1,32}$/;

/** Throws Malformed. */
export function readReplicaMessage(fields: Fields): ReplicaMessage {
  const name = messageNames.get(fields[0] as number);
  if (!name) throw new Malformed(`message ${String(fields[0])} of a replica`);
  const row: MessageRow = messageTable[name];
  if (fields.length !== row.fields.length + 1) throw new Malformed(`${fields.length - 1} fields in ${name}`);
  for (const [i, [field, kind]] of row.fields.entries()) {
    if (!checks[kind](fields[i + 1])) throw new Malformed(`${name}: its ${field}`);
  }
  return fields as unknown as ReplicaMessage;
}

const checks: Record<FieldKind, (value: unknown) => boolean> = {
  uint,
  timeMs: (value) => typeof value === "number" && Number.isFinite(value) && value >= 0,
  flag: (value) => value === 0 || value === 1,
  incarnation: (value) => typeof value === "string" && incarnationForm.test(value),
  // One record may be larger than a batch is made.
  records: (value) => value instanceof Uint8Array && value.length <= appendBytesMax + recordBytesMax,
  configuration: (value) => ConfigurationSchema.safeParse(value).success,
  levels: (value) =>
    Array.isArray(value) &&
    value.length <= levelsMax &&
    value.every(
      (row) => Array.isArray(row) && row.length === 2 && text(row[0], moduleBytesMax) && uint(row[1]),
    ),
  writes: (value) => Array.isArray(value) && value.length <= manyMax && value.every(isWrite),
  answers: (value) => Array.isArray(value) && value.length <= manyMax && value.every(isAnswer),
};

function isWrite(value: unknown): value is ForwardedWrite {
  if (!Array.isArray(value) || value.length !== 7) return false;
  const [ticket, client, sequence, ackedBelow, kind, module, operation] = value as unknown[];
  return (
    uint(ticket) &&
    text(client, clientBytesMax) &&
    uint(sequence) &&
    uint(ackedBelow) &&
    uint(kind) &&
    text(module, moduleBytesMax) &&
    operation instanceof Uint8Array
  );
}

function isAnswer(value: unknown): value is ForwardedAnswer {
  if (!Array.isArray(value) || value.length !== 4) return false;
  const [ticket, outcome, result, index] = value as unknown[];
  return (
    uint(ticket) &&
    typeof outcome === "string" &&
    wordForm.test(outcome) &&
    result instanceof Uint8Array &&
    uint(index)
  );
}

function uint(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= uintMax;
}

function text(value: unknown, charsMax: number): boolean {
  return typeof value === "string" && value.length <= charsMax;
}
