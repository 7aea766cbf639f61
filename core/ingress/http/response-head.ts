/**
 * The head of a response: as strict as that of a request. A container may be broken or foreign, and what it sends
 * must not make a client see two responses where there is one.
 */
import { CR, LF, SP, ascii, equalsIgnoringCase, forEachElement, isValue } from "./bytes.ts";
import { Fields, Kind, parseFields } from "./fields.ts";
import { Framing } from "./framing.ts";

const tokens = { close: ascii("close"), keepAlive: ascii("keep-alive"), upgrade: ascii("upgrade") };
const httpSlash = ascii("HTTP/1.");

export class ResponseHead {
  readonly fields: Fields = new Fields();
  readonly framing: Framing = new Framing();
  status = 0;
  /** Where the status code starts: the line is sent on from here, under our own version. */
  statusStart = 0;
  /** After the status line's CRLF. */
  fieldsStart = 0;
  keepAlive = true;
  /** Connection names fields other than the ones known here. */
  namesFields = false;
  /** There are fields that the next hop must not see. */
  hasHopByHop = false;
  reason = "";

  refuse(reason: string): -1 {
    this.reason = reason;
    return -1;
  }
}

/** As parseRequestHead; a refusal has no status, since it is always a 502. */
export function parseResponseHead(
  bytes: Uint8Array,
  start: number,
  end: number,
  head: ResponseHead,
  bytesMax: number,
): number {
  const limit = Math.min(end, start + bytesMax);
  const at = parse(bytes, start, limit, head);
  if (at === 0 && end - start >= bytesMax) return head.refuse(`a head of more than ${bytesMax} bytes`);
  return at;
}

function parse(bytes: Uint8Array, start: number, end: number, head: ResponseHead): number {
  for (let i = 0; i < httpSlash.length; i++) {
    if (start + i >= end) return 0;
    if (bytes[start + i] !== httpSlash[i]) return head.refuse("a malformed protocol version");
  }
  let at = start + httpSlash.length;
  if (at + 5 > end) return 0;
  const minor = bytes[at]! - 48;
  if (minor !== 0 && minor !== 1) return head.refuse("a protocol version other than HTTP/1.0 and HTTP/1.1");
  if (bytes[at + 1] !== SP) return head.refuse("a malformed status line");
  at += 2;
  const hundreds = bytes[at]! - 48;
  const tens = bytes[at + 1]! - 48;
  const ones = bytes[at + 2]! - 48;
  if (!(hundreds >= 1 && hundreds <= 5 && tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9)) {
    return head.refuse("a malformed status code");
  }
  head.status = hundreds * 100 + tens * 10 + ones;
  head.statusStart = at;
  at += 3;
  if (at >= end) return 0;
  if (bytes[at] !== SP) return head.refuse("a malformed status line");
  do {
    if (++at >= end) return 0;
  } while (isValue[bytes[at]!] === 1);
  if (bytes[at] !== CR) return head.refuse("a control byte in the status line");
  if (++at >= end) return 0;
  if (bytes[at] !== LF) return head.refuse("a bare CR in the status line");
  head.fieldsStart = ++at;
  const bodyStart = parseFields(bytes, at, end, head.fields);
  if (bodyStart === 0) return 0;
  if (bodyStart < 0) return head.refuse(head.fields.refusal);
  if (!head.framing.read(bytes, head.fields)) return head.refuse(head.framing.refusal);
  readConnection(bytes, head, minor);
  if (head.status < 200 && (head.framing.chunked || head.framing.length > 0)) {
    return head.refuse("an interim response with a body");
  }
  if (head.framing.chunked && minor === 0) return head.refuse("Transfer-Encoding in HTTP/1.0");
  return bodyStart;
}

function readConnection(bytes: Uint8Array, head: ResponseHead, minor: number): void {
  const { fields } = head;
  let close = false;
  let keepAlive = minor === 1;
  head.namesFields = false;
  head.hasHopByHop = false;
  for (let i = 0; i < fields.count; i++) {
    const kind = fields.kind[i];
    if (kind === Kind.other || kind === Kind.contentLength) continue;
    head.hasHopByHop = true;
    if (kind !== Kind.connection) continue;
    forEachElement(bytes, fields.valueStart[i]!, fields.valueEnd[i]!, (a, b) => {
      if (equalsIgnoringCase(bytes, a, b, tokens.close)) close = true;
      else if (equalsIgnoringCase(bytes, a, b, tokens.keepAlive)) keepAlive = true;
      else if (!equalsIgnoringCase(bytes, a, b, tokens.upgrade)) head.namesFields = true;
      return true;
    });
  }
  head.keepAlive = keepAlive && !close;
}
