/** Link messages as bytes and back. Few and rare, so this is written to be read, not to be fast. */
import { strangerFrameBytesMax } from "../../limits.ts";
import { ByteReader } from "./byte-reader.ts";
import { ByteWriter } from "./byte-writer.ts";
import { frameHeadBytes, frameKinds, writeFrameHead } from "./frame.ts";
import {
  channelNames,
  farewellNames,
  type LinkFieldKind,
  type LinkMessage,
  type LinkMessageName,
  linkMessageTable,
  type LinkRow,
  nonceBytes,
  proofBytesMax,
  refusalNames,
  textCharsMax,
} from "./link-messages.ts";
import { Malformed } from "./malformed.ts";

const rows: readonly (readonly [LinkMessageName, LinkRow] | undefined)[] = (() => {
  const all: (readonly [LinkMessageName, LinkRow] | undefined)[] = [];
  for (const name of Object.keys(linkMessageTable) as LinkMessageName[]) {
    const row: LinkRow = linkMessageTable[name];
    all[row.number] = [name, row];
  }
  return all;
})();

/** A whole frame of kind `link`. */
export function encodeLink(message: LinkMessage): Uint8Array {
  const row: LinkRow = linkMessageTable[message.name];
  const w = new ByteWriter(new Uint8Array(strangerFrameBytesMax + frameHeadBytes));
  w.at = frameHeadBytes;
  w.arrayHead(row.fields.length + 1);
  w.uint(row.number);
  const values = message as unknown as Record<string, unknown>;
  for (const [field, kind] of row.fields) write(w, kind, values[field]);
  writeFrameHead(w.bytes, 0, frameKinds.link, w.at - frameHeadBytes);
  return w.bytes.slice(0, w.at);
}

/** `bytes` from `start` to `end` are the frame without its head. Throws Malformed. */
export function decodeLink(bytes: Uint8Array, start: number, end: number): LinkMessage {
  const r = new ByteReader();
  r.open(bytes, start, end);
  const length = r.arrayHead();
  const number = r.uint();
  const found = rows[number];
  if (!found) throw new Malformed(`link message ${number}`);
  const [name, row] = found;
  if (length !== row.fields.length + 1) throw new Malformed(`${length - 1} fields in ${name}`);
  const values: Record<string, unknown> = { name };
  for (const [field, kind] of row.fields) values[field] = read(r, kind);
  if (r.at !== end) throw new Malformed(`${end - r.at} bytes after ${name}`);
  return values as unknown as LinkMessage;
}

function write(w: ByteWriter, kind: LinkFieldKind, value: unknown): void {
  switch (kind) {
    case "kernel":
    case "uint":
    case "channel":
    case "refusal":
    case "farewell":
      w.uint(value as number);
      return;
    case "text":
      w.ascii(plain(value as string));
      return;
    case "nonce":
    case "proof":
      w.binHead((value as Uint8Array).length);
      w.raw(value as Uint8Array);
  }
}

function read(r: ByteReader, kind: LinkFieldKind): number | string | Uint8Array {
  switch (kind) {
    case "uint":
      return r.uint();
    case "kernel":
      return within(r.uint(), 1, Number.MAX_SAFE_INTEGER, kind);
    case "channel":
      return within(r.uint(), 0, channelNames.length - 1, kind);
    case "refusal":
      return within(r.uint(), 0, refusalNames.length - 1, kind);
    case "farewell":
      return within(r.uint(), 0, farewellNames.length - 1, kind);
    case "text":
      return r.ascii(textCharsMax);
    case "proof":
      return r.binCopy(proofBytesMax);
    case "nonce": {
      const nonce = r.binCopy(nonceBytes);
      within(nonce.length, nonceBytes, nonceBytes, "bytes of a nonce");
      return nonce;
    }
  }
}

function within(value: number, least: number, most: number, what: string): number {
  if (value < least || value > most) throw new Malformed(`${what} ${value}`);
  return value;
}

/** Words for people may have anything in them. */
function plain(text: string): string {
  return text.replace(/[^ -~]/g, "?").slice(0, textCharsMax);
}
