/**
 * A strict reader of DER, as far as certificates need it. What a peer's certificate says decides what the peer may
 * do, so nothing is guessed: lengths are definite and shortest, tags have one byte, and every element lies within
 * its parent. The runtimes' own text forms are not used, because Deno does not escape commas in them: one URI may
 * look like two there.
 */

/** One element: its tag and where its content lies in `bytes`. */
export interface Element {
  tag: number;
  bytes: Uint8Array;
  start: number;
  end: number;
}

export const tags = {
  boolean: 0x01,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  /** [3] of TBSCertificate. */
  extensions: 0xa3,
  /** [6] of GeneralName. */
  uri: 0x86,
} as const;

/** The bytes are not DER, or not what was expected. Callers turn it into "no identity". */
export class DerError extends Error {}

/** The only element in `bytes`. */
export function readWhole(bytes: Uint8Array, tag: number): Element {
  const e = readAt(bytes, 0, bytes.length);
  if (e.end !== bytes.length) throw new DerError(`${bytes.length - e.end} bytes after the element`);
  return expect(e, tag);
}

/** The elements inside a constructed one. */
export function children(parent: Element): Element[] {
  const all: Element[] = [];
  for (let at = parent.start; at < parent.end;) {
    const e = readAt(parent.bytes, at, parent.end);
    all.push(e);
    at = e.end;
  }
  return all;
}

/** The only element inside `parent`, as inside an OCTET STRING that wraps DER or an EXPLICIT tag. */
export function onlyChild(parent: Element, tag: number): Element {
  const e = readAt(parent.bytes, parent.start, parent.end);
  if (e.end !== parent.end) throw new DerError("more than one element where one belongs");
  return expect(e, tag);
}

export function expect(e: Element | undefined, tag: number): Element {
  if (e?.tag !== tag) throw new DerError(`tag ${e?.tag ?? "none"} where ${tag} belongs`);
  return e;
}

export function content(e: Element): Uint8Array {
  return e.bytes.subarray(e.start, e.end);
}

/** Printable ASCII only: a NUL or a byte above 126 in a name is somebody's trick. */
export function asciiText(e: Element): string {
  let text = "";
  for (const byte of content(e)) {
    if (byte < 0x20 || byte > 0x7e) throw new DerError(`byte ${byte} in a name`);
    text += String.fromCharCode(byte);
  }
  return text;
}

/** UTCTime and GeneralizedTime in the only forms that RFC 5280 allows, as milliseconds since 1970. */
export function timeMs(e: Element): number {
  const text = asciiText(e);
  const utc = e.tag === tags.utcTime;
  if (!utc) expect(e, tags.generalizedTime);
  const m = (
    utc ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/
  ).exec(text);
  if (!m) throw new DerError(`time ${text}`);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = m.slice(1).map(Number);
  const fullYear = utc ? year + (year < 50 ? 2000 : 1900) : year;
  const ms = Date.UTC(fullYear, month - 1, day, hour, minute, second);
  const back = new Date(ms);
  // Date.UTC lets the 31st of February run over into March.
  if (
    back.getUTCMonth() !== month - 1 ||
    back.getUTCDate() !== day ||
    hour > 23 ||
    minute > 59 ||
    second > 59
  ) {
    throw new DerError(`time ${text}`);
  }
  return ms;
}

function readAt(bytes: Uint8Array, at: number, limit: number): Element {
  const tag = byteAt(bytes, at, limit);
  if ((tag & 0x1f) === 0x1f) throw new DerError("tag of several bytes");
  const first = byteAt(bytes, at + 1, limit);
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    // 0x80 is the indefinite form; three bytes are 16 MiB, far above any certificate.
    if (count === 0 || count > 3) throw new DerError(`length of form ${first}`);
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + byteAt(bytes, start + i, limit);
    start += count;
    if (length < 0x80 || length < 2 ** (8 * (count - 1)))
      throw new DerError("length not in its shortest form");
  }
  if (length > limit - start) throw new DerError("element longer than its parent");
  return { tag, bytes, start, end: start + length };
}

function byteAt(bytes: Uint8Array, at: number, limit: number): number {
  const byte = at < limit ? bytes[at] : undefined;
  if (byte === undefined) throw new DerError("cut short");
  return byte;
}
