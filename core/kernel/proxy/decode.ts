/**
 * A frame as a kernel's message: each field is checked by its kind while it is read, so that inside the kernel types
 * are trusted. What comes out is at most some dozen times as large as the frame (skim.ts).
 */
import { auditCallsMax, copyFrameBytes, groupsMax } from "../../limits.ts";
import { isEndpoint } from "../endpoint.ts";
import { callStates, type KernelMessage } from "../messages.ts";
import { outcomes } from "../outcome.ts";
import { readBody } from "./body.ts";
import { ByteReader } from "./byte-reader.ts";
import { Malformed } from "./malformed.ts";
import { kindCodes, type WireRow, wireRows } from "./rows.ts";

const reader = new ByteReader();

/**
 * `bytes` from `start` to `end` are the frame without its head. Bodies are copies; the `bytes` of a copy are a view of
 * the frame. Throws Malformed.
 */
export function decodeMessage(bytes: Uint8Array, start: number, end: number): KernelMessage {
  const r = reader;
  r.open(bytes, start, end);
  try {
    const length = r.arrayHead();
    const number = r.uint();
    const row = wireRows[number];
    if (!row) throw new Malformed(`message ${number}`);
    const { kinds } = row;
    if (length !== kinds.length + 1) throw new Malformed(`${length - 1} fields in ${row.name}`);
    const message: unknown[] = [number];
    for (let i = 0; i < kinds.length; i++) message.push(readField(r, kinds[i]!, row));
    if (r.at !== end) throw new Malformed(`${end - r.at} bytes after ${row.name}`);
    return message as unknown as KernelMessage;
  } finally {
    r.close();
  }
}

function readField(r: ByteReader, code: number, row: WireRow): unknown {
  switch (code) {
    case kindCodes.endpoint: {
      const value = r.uint();
      if (isEndpoint(value)) return value;
      throw new Malformed(`no endpoint in ${row.name}`);
    }
    case kindCodes.uint:
      return r.uint();
    case kindCodes.kernel: {
      const value = r.uint();
      if (value === 0) throw new Malformed(`kernel 0 in ${row.name}`);
      return value;
    }
    case kindCodes.group: {
      const value = r.uint();
      if (value >= groupsMax) throw new Malformed(`group ${value} in ${row.name}`);
      return value;
    }
    case kindCodes.flag: {
      const value = r.uint();
      if (value > 1) throw new Malformed(`flag ${value} in ${row.name}`);
      return value;
    }
    case kindCodes.timeMs:
      return r.number();
    case kindCodes.outcome: {
      const value = r.ascii(32);
      if (!Object.hasOwn(outcomes, value)) throw new Malformed(`outcome ${value} in ${row.name}`);
      return value;
    }
    case kindCodes.body:
      return readBody(r);
    case kindCodes.bytes:
      return r.bin(copyFrameBytes);
    case kindCodes.calls:
      return calls(readBody(r), row);
    default:
      return states(readBody(r), row);
  }
}

function calls(value: unknown, row: WireRow): readonly number[] {
  const good =
    Array.isArray(value) &&
    value.length % 2 === 0 &&
    value.length <= 2 * auditCallsMax &&
    value.every((n, i) => (i % 2 === 0 ? isEndpoint(n) : Number.isSafeInteger(n) && n >= 0));
  if (!good) throw new Malformed(`names of calls in ${row.name}`);
  return value as number[];
}

const stateMax = Math.max(...Object.values(callStates));

function states(value: unknown, row: WireRow): readonly number[] {
  const good =
    Array.isArray(value) &&
    value.length <= auditCallsMax &&
    value.every((n) => Number.isSafeInteger(n) && n >= 0 && n <= stateMax);
  if (!good) throw new Malformed(`states of calls in ${row.name}`);
  return value as number[];
}
