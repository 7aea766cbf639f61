/** What became of an operation, in the bytes that sessions keep: `[0, value]`, or `[1, why it was refused]`. */
import { Decoder, Encoder } from "@msgpack/msgpack";
import { resultBytesMax } from "../replica/timings.ts";
import { decodeQuickly } from "./link/quick-decoder.ts";
import { ModuleRefusal } from "./module.ts";

export type Result = { ok: true; value: unknown } | { ok: false; message: string };

const encoder = new Encoder();
const decoder = new Decoder();
const messageCharsMax = 500;

/** Throws ModuleRefusal when it is too large. */
export function encodeResult(value: unknown): Uint8Array {
  const bytes = encoder.encode([0, value]);
  if (bytes.length <= resultBytesMax) return bytes;
  throw new ModuleRefusal(`the result has ${bytes.length} bytes, and ${resultBytesMax} are kept`);
}

export function encodeRefusal(message: string): Uint8Array {
  return encoder.encode([1, message.slice(0, messageCharsMax)]);
}

/** Bytes that a replica made. */
export function decodeResult(bytes: Uint8Array): Result {
  const [kind, value] = (decodeQuickly(bytes) ?? decoder.decode(bytes)) as [number, unknown];
  return kind === 0 ? { ok: true, value } : { ok: false, message: String(value) };
}
