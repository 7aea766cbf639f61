/**
 * The header fields of a message, as ranges of the bytes they came in. Nothing is decoded: a proxy copies most
 * fields and looks into few.
 *
 * Strict where two readers could disagree, since a proxy and the server behind it are two readers: CRLF only, no
 * folded lines, no space before the colon, no control bytes.
 */
import { CR, COLON, HTAB, LF, SP, ascii, equalsIgnoringCase, isToken, isValue } from "./bytes.ts";

/** Fields that the proxy itself acts on. */
export const Kind = {
  other: 0,
  connection: 1,
  contentLength: 2,
  expect: 3,
  forwarded: 4,
  host: 5,
  keepAlive: 6,
  proxyConnection: 7,
  te: 8,
  transferEncoding: 9,
  upgrade: 10,
  xForwardedFor: 11,
  xForwardedHost: 12,
  xForwardedProto: 13,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

const names: readonly (readonly [Buffer, Kind])[] = [
  [ascii("connection"), Kind.connection],
  [ascii("content-length"), Kind.contentLength],
  [ascii("expect"), Kind.expect],
  [ascii("forwarded"), Kind.forwarded],
  [ascii("host"), Kind.host],
  [ascii("keep-alive"), Kind.keepAlive],
  [ascii("proxy-connection"), Kind.proxyConnection],
  [ascii("te"), Kind.te],
  [ascii("transfer-encoding"), Kind.transferEncoding],
  [ascii("upgrade"), Kind.upgrade],
  [ascii("x-forwarded-for"), Kind.xForwardedFor],
  [ascii("x-forwarded-host"), Kind.xForwardedHost],
  [ascii("x-forwarded-proto"), Kind.xForwardedProto],
];
/** By length of the name: most names are told from all of ours by it. */
const byLength: (readonly (readonly [Buffer, Kind])[])[] = Array.from({ length: 20 }, (_, n) =>
  names.filter(([name]) => name.length === n),
);

function kindOf(bytes: Uint8Array, start: number, end: number): Kind {
  const candidates = byLength[end - start];
  if (candidates === undefined) return Kind.other;
  for (const [name, kind] of candidates) if (equalsIgnoringCase(bytes, start, end, name)) return kind;
  return Kind.other;
}

/** More fields than any client sends; with it the work of parsing a head again and again is bounded, too. */
export const fieldsMax = 100;

/** Made once and filled for each head. */
export class Fields {
  count = 0;
  readonly kind: Uint8Array = new Uint8Array(fieldsMax);
  readonly nameStart: Int32Array = new Int32Array(fieldsMax);
  readonly nameEnd: Int32Array = new Int32Array(fieldsMax);
  readonly valueStart: Int32Array = new Int32Array(fieldsMax);
  readonly valueEnd: Int32Array = new Int32Array(fieldsMax);
  /** After CRLF. */
  readonly lineEnd: Int32Array = new Int32Array(fieldsMax);
  /** What was wrong, after a negative result. */
  refusal = "";
  tooMany = false;

  refuse(reason: string): -1 {
    this.refusal = reason;
    return -1;
  }
}

/**
 * Fills `fields` from bytes[start, end) up to the empty line. Returns the position after it, 0 when the head is
 * incomplete, -1 when it is refused (`fields.refusal` says why).
 */
export function parseFields(bytes: Uint8Array, start: number, end: number, fields: Fields): number {
  let at = start;
  fields.count = 0;
  fields.tooMany = false;
  for (;;) {
    if (at >= end) return 0;
    let byte = bytes[at]!;
    if (byte === CR) {
      if (at + 1 >= end) return 0;
      return bytes[at + 1] === LF ? at + 2 : fields.refuse("a CR without LF ends the head");
    }
    const nameStart = at;
    while (isToken[byte] === 1) {
      if (++at >= end) return 0;
      byte = bytes[at]!;
    }
    if (byte !== COLON || at === nameStart) return fields.refuse(wrongName(byte, at === nameStart));
    const nameEnd = at;
    do {
      if (++at >= end) return 0;
      byte = bytes[at]!;
    } while (byte === SP || byte === HTAB);
    const valueStart = at;
    while (isValue[byte] === 1) {
      if (++at >= end) return 0;
      byte = bytes[at]!;
    }
    if (byte !== CR) return fields.refuse(wrongValue(byte));
    let valueEnd = at;
    if (++at >= end) return 0;
    if (bytes[at] !== LF) return fields.refuse("a bare CR in a field's value");
    at++;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HTAB)) valueEnd--;
    const i = fields.count;
    if (i === fieldsMax) {
      fields.tooMany = true;
      return fields.refuse(`more than ${fieldsMax} fields`);
    }
    fields.count = i + 1;
    fields.kind[i] = kindOf(bytes, nameStart, nameEnd);
    fields.nameStart[i] = nameStart;
    fields.nameEnd[i] = nameEnd;
    fields.valueStart[i] = valueStart;
    fields.valueEnd[i] = valueEnd;
    fields.lineEnd[i] = at;
  }
}

function wrongName(byte: number, first: boolean): string {
  if (byte === LF) return "a bare LF instead of CRLF";
  if (byte === SP || byte === HTAB)
    return first ? "a folded field line" : "white space before a field's colon";
  if (byte === COLON) return "a field without a name";
  return `byte ${byte} in a field's name`;
}

function wrongValue(byte: number): string {
  return byte === LF ? "a bare LF instead of CRLF" : `byte ${byte} in a field's value`;
}
