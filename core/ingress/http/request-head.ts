/**
 * The head of a request: parsed strictly, as ranges of the bytes it came in. One RequestHead is filled again and
 * again; what is kept longer than the call must be copied.
 */
import { CR, LF, SP, ascii, equalsIgnoringCase, forEachElement, isHost, isTarget, isToken } from "./bytes.ts";
import { Fields, Kind, parseFields } from "./fields.ts";
import { Framing } from "./framing.ts";

export type Method = "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "POST" | "PATCH" | "other";

const methods = (["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH"] as const).map(
  (name) => [ascii(name), name] as const,
);
const methodBytesMax = 32;
const hostBytesMax = 255 + 6;

const tokens = {
  close: ascii("close"),
  keepAlive: ascii("keep-alive"),
  upgrade: ascii("upgrade"),
  websocket: ascii("websocket"),
  continue: ascii("100-continue"),
};
/** Fields that no sender may declare to be of one connection only: dropping them would change the message. */
const endToEnd = ["host", "content-length", "transfer-encoding"].map(ascii);

export class RequestHead {
  readonly fields: Fields = new Fields();
  readonly framing: Framing = new Framing();
  method: Method = "other";
  methodStart = 0;
  methodEnd = 0;
  /** In origin-form, or `*`; empty for `http://host` without a path, which means `/` (or `*` for OPTIONS). */
  targetStart = 0;
  targetEnd = 0;
  minorVersion = 1;
  /** Of Host or of an absolute target; empty when an HTTP/1.0 client sent none. */
  hostStart = 0;
  hostEnd = 0;
  /** The target was absolute: its authority replaces Host. */
  absolute = false;
  keepAlive = true;
  /** Connection names fields other than the ones known here. */
  namesFields = false;
  websocket = false;
  expectsContinue = false;
  /** After a refusal: the status to answer with, and why. */
  status = 0;
  reason = "";

  get hasBody(): boolean {
    return this.framing.chunked || this.framing.length > 0;
  }

  refuse(status: number, reason: string): -1 {
    this.status = status;
    this.reason = reason;
    return -1;
  }

  deny(status: number, reason: string): false {
    this.refuse(status, reason);
    return false;
  }
}

/**
 * Parses bytes[start, end). Returns the position after the head, 0 when it is incomplete, -1 when it is refused
 * (head.status, head.reason). The verdict does not depend on how the bytes were cut into pieces.
 */
export function parseRequestHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  head: RequestHead,
  bytesMax: number,
): number {
  const limit = Math.min(end, start + bytesMax);
  const at = parse(bytes, start, limit, head);
  if (at === 0 && end - start >= bytesMax) return head.refuse(431, `a head of more than ${bytesMax} bytes`);
  return at;
}

function parse(bytes: Uint8Array, start: number, end: number, head: RequestHead): number {
  const fieldsStart = parseRequestLine(bytes, start, end, head);
  if (fieldsStart <= 0) return fieldsStart;
  const { fields, framing } = head;
  const bodyStart = parseFields(bytes, fieldsStart, end, fields);
  if (bodyStart === 0) return 0;
  if (bodyStart < 0) return head.refuse(fields.tooMany ? 431 : 400, fields.refusal);
  if (!framing.read(bytes, fields)) return head.refuse(framing.unknownCoding ? 501 : 400, framing.refusal);
  if (framing.chunked && head.minorVersion === 0) return head.refuse(400, "Transfer-Encoding in HTTP/1.0");
  return readFields(bytes, head) ? bodyStart : -1;
}

function parseRequestLine(bytes: Uint8Array, start: number, end: number, head: RequestHead): number {
  let at = start;
  // One empty line before a request is some clients' habit after a body (RFC 9112 section 2.2).
  if (at < end && bytes[at] === CR) {
    if (at + 1 >= end) return 0;
    if (bytes[at + 1] !== LF) return head.refuse(400, "a bare CR before the request");
    at += 2;
  }
  head.methodStart = at;
  for (;;) {
    if (at >= end) return 0;
    if (isToken[bytes[at]!] !== 1) break;
    if (++at - head.methodStart > methodBytesMax) return head.refuse(400, "a method of more than 32 bytes");
  }
  if (bytes[at] !== SP || at === head.methodStart) {
    return head.refuse(400, bytes[at] === LF ? "a bare LF instead of CRLF" : "a malformed method");
  }
  head.methodEnd = at;
  const targetStart = ++at;
  for (;;) {
    if (at >= end) return 0;
    if (isTarget[bytes[at]!] !== 1) break;
    at++;
  }
  if (bytes[at] !== SP || at === targetStart) return head.refuse(400, "a malformed request target");
  const targetEnd = at++;
  const line = parseVersion(bytes, at, end, head);
  if (line <= 0) return line;
  head.method = methodOf(bytes, head.methodStart, head.methodEnd);
  return readTarget(bytes, targetStart, targetEnd, head) ? line : -1;
}

const httpSlash = ascii("HTTP/");

function parseVersion(bytes: Uint8Array, start: number, end: number, head: RequestHead): number {
  for (let i = 0; i < 10; i++) {
    const at = start + i;
    if (at >= end) return 0;
    const byte = bytes[at]!;
    const good =
      i < 5
        ? byte === httpSlash[i]
        : i === 6
          ? byte === 46
          : i === 8
            ? byte === CR
            : i === 9
              ? byte === LF
              : byte >= 48 && byte <= 57;
    if (!good)
      return head.refuse(400, byte === LF ? "a bare LF instead of CRLF" : "a malformed protocol version");
  }
  const minor = bytes[start + 7]! - 48;
  if (bytes[start + 5] !== 49 || minor > 1)
    return head.refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  head.minorVersion = minor;
  return start + 10;
}

function methodOf(bytes: Uint8Array, start: number, end: number): Method {
  // Methods are case-sensitive.
  next: for (const [name, method] of methods) {
    if (name.length !== end - start) continue;
    for (let i = 0; i < name.length; i++) if (bytes[start + i] !== name[i]) continue next;
    return method;
  }
  return "other";
}

function readTarget(bytes: Uint8Array, start: number, end: number, head: RequestHead): boolean {
  head.absolute = false;
  head.targetStart = start;
  head.targetEnd = end;
  if (head.method === "other") {
    const method = Buffer.from(bytes.subarray(head.methodStart, head.methodEnd)).toString("latin1");
    // A tunnel to anywhere, and an echo of what other proxies added: neither is for a reverse proxy.
    if (method === "CONNECT" || method === "TRACE") {
      return head.deny(405, `${method} is not for a reverse proxy`);
    }
  }
  if (bytes[start] === 47) return true;
  if (end - start === 1 && bytes[start] === 42) {
    return head.method === "OPTIONS" || head.deny(400, "target * with a method other than OPTIONS");
  }
  return readAbsoluteTarget(bytes, start, end, head);
}

const scheme = ascii("http://");

function readAbsoluteTarget(bytes: Uint8Array, start: number, end: number, head: RequestHead): boolean {
  if (end - start <= scheme.length || !equalsIgnoringCase(bytes, start, start + scheme.length, scheme)) {
    return head.deny(400, "a request target that is neither a path nor an http URL");
  }
  let at = start + scheme.length;
  head.hostStart = at;
  while (at < end && isHost[bytes[at]!] === 1) at++;
  head.hostEnd = at;
  if (at === head.hostStart || (at < end && bytes[at] !== 47 && bytes[at] !== 63)) {
    return head.deny(400, "a malformed authority in the request target");
  }
  if (at < end && bytes[at] === 63) return head.deny(400, "a request target without a path");
  head.absolute = true;
  head.targetStart = at;
  return true;
}

function readFields(bytes: Uint8Array, head: RequestHead): boolean {
  const { fields } = head;
  let hosts = 0;
  let upgrade = false;
  let connectionUpgrade = false;
  let close = false;
  let keepAlive = head.minorVersion === 1;
  head.namesFields = false;
  head.expectsContinue = false;
  if (!head.absolute) head.hostStart = head.hostEnd = 0;
  for (let i = 0; i < fields.count; i++) {
    const kind = fields.kind[i];
    if (kind === Kind.other) continue;
    const start = fields.valueStart[i]!;
    const end = fields.valueEnd[i]!;
    if (kind === Kind.host) {
      if (++hosts > 1) return head.deny(400, "more than one Host");
      if (start === end) return head.deny(400, "an empty Host");
      if (end - start > hostBytesMax) return head.deny(400, "a Host of more than 261 bytes");
      for (let at = start; at < end; at++) {
        if (isHost[bytes[at]!] !== 1) return head.deny(400, "a malformed Host");
      }
      if (!head.absolute) {
        head.hostStart = start;
        head.hostEnd = end;
      }
    } else if (kind === Kind.connection) {
      const good = forEachElement(bytes, start, end, (a, b) => {
        if (equalsIgnoringCase(bytes, a, b, tokens.close)) close = true;
        else if (equalsIgnoringCase(bytes, a, b, tokens.keepAlive)) keepAlive = true;
        else if (equalsIgnoringCase(bytes, a, b, tokens.upgrade)) connectionUpgrade = true;
        else {
          if (endToEnd.some((name) => equalsIgnoringCase(bytes, a, b, name))) return false;
          head.namesFields = true;
        }
        return true;
      });
      if (!good) return head.deny(400, "a Connection that names a field which every hop needs");
    } else if (kind === Kind.upgrade) {
      upgrade ||= equalsIgnoringCase(bytes, start, end, tokens.websocket);
    } else if (kind === Kind.expect) {
      if (!equalsIgnoringCase(bytes, start, end, tokens.continue)) {
        return head.deny(417, "an expectation other than 100-continue");
      }
      head.expectsContinue = head.minorVersion === 1;
    }
  }
  head.keepAlive = keepAlive && !close;
  if (hosts === 0 && head.minorVersion === 1) return head.deny(400, "no Host");
  // Any other protocol (h2c above all) would take the connection out of our sight: not offered.
  head.websocket =
    upgrade && connectionUpgrade && head.minorVersion === 1 && head.method === "GET" && !head.hasBody;
  return true;
}
