/**
 * Heads as they leave: the sender's fields in their order and spelling, without those that concern one connection
 * only (RFC 9110 section 7.6.1), with what the next hop must know added.
 */
import { BACKSLASH, QUOTE, ascii, equalsIgnoringCase, forEachElement } from "./bytes.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { type Fields, Kind } from "./fields.ts";
import type { RequestHead } from "./request-head.ts";
import type { ResponseHead } from "./response-head.ts";

/** What ingress adds to each request of one client connection. */
export interface Hop {
  /** The client's address, as in X-Forwarded-For. */
  client: Buffer;
  /** `Forwarded: for=…;by=…;proto=http;host="` */
  forwarded: Buffer;
  /** `Via: 1.1 <node>` with CRLF. */
  via: Buffer;
  /** The host for clients that name none (HTTP/1.0): address and port that they reached. */
  host: Buffer;
}

export function hopOf(client: string, node: string, address: string, port: number): Hop {
  // Addresses of version 6 that only wrap one of version 4 are shown as that.
  const ip = client.startsWith("::ffff:") ? client.slice(7) : client;
  const quoted = ip.includes(":") ? `"[${ip}]"` : ip || "unknown";
  return {
    client: ascii(ip || "unknown"),
    forwarded: ascii(`Forwarded: for=${quoted};by=_${node};proto=http;host="`),
    via: ascii(`Via: 1.1 ${node}\r\n`),
    host: ascii(address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`),
  };
}

const text = {
  space: ascii(" "),
  slash: ascii("/"),
  star: ascii("*"),
  version: ascii(" HTTP/1.1\r\n"),
  crlf: ascii("\r\n"),
  quoteCrlf: ascii('"\r\n'),
  comma: ascii(", "),
  host: ascii("Host: "),
  xForwardedFor: ascii("X-Forwarded-For: "),
  xForwardedProtoHost: ascii("X-Forwarded-Proto: http\r\nX-Forwarded-Host: "),
  chunked: ascii("Transfer-Encoding: chunked\r\n"),
  upgradeWebsocket: ascii("Connection: Upgrade\r\nUpgrade: websocket\r\n"),
  http11: ascii("HTTP/1.1 "),
  close: ascii("Connection: close\r\n"),
  keepAlive: ascii("Connection: keep-alive\r\n"),
};

function kindsToDrop(kinds: Kind[]): Uint8Array {
  const drop = new Uint8Array(16);
  for (const kind of kinds) drop[kind] = 1;
  return drop;
}

const hopByHop = [
  Kind.connection,
  Kind.keepAlive,
  Kind.proxyConnection,
  Kind.te,
  Kind.transferEncoding,
  Kind.upgrade,
];
const dropFromRequest = kindsToDrop([
  ...hopByHop,
  Kind.expect,
  Kind.xForwardedFor,
  Kind.xForwardedHost,
  Kind.xForwardedProto,
]);
const dropFromResponse = kindsToDrop(hopByHop);

/** Appends the head of the request as the upstream gets it. */
export function writeRequestHead(out: ByteWriter, bytes: Buffer, head: RequestHead, hop: Hop): void {
  const { fields } = head;
  out.append(bytes, head.methodStart, head.methodEnd);
  out.add(text.space);
  if (head.targetStart === head.targetEnd) out.add(head.method === "OPTIONS" ? text.star : text.slash);
  else out.append(bytes, head.targetStart, head.targetEnd);
  out.add(text.version);

  const hostBytes = head.hostEnd > head.hostStart ? bytes : hop.host;
  const hostStart = head.hostEnd > head.hostStart ? head.hostStart : 0;
  const hostEnd = head.hostEnd > head.hostStart ? head.hostEnd : hop.host.length;
  if (head.absolute || hostBytes === hop.host) {
    out.add(text.host);
    out.append(hostBytes, hostStart, hostEnd);
    out.add(text.crlf);
  }

  const named = head.namesFields ? namedFields(bytes, fields) : null;
  let forwardedFor = false;
  let runStart = -1;
  let runEnd = -1;
  for (let i = 0; i < fields.count; i++) {
    const kind = fields.kind[i]!;
    if (kind === Kind.xForwardedFor) forwardedFor = true;
    const drop =
      dropFromRequest[kind] === 1 ||
      (kind === Kind.host && head.absolute) ||
      (kind === Kind.forwarded && hasOpenQuote(bytes, fields.valueStart[i]!, fields.valueEnd[i]!)) ||
      (named !== null && isNamed(bytes, fields, i, named));
    if (drop) continue;
    const start = fields.nameStart[i]!;
    if (start !== runEnd) {
      if (runStart >= 0) out.append(bytes, runStart, runEnd);
      runStart = start;
    }
    runEnd = fields.lineEnd[i]!;
  }
  if (runStart >= 0) out.append(bytes, runStart, runEnd);

  if (head.framing.chunked) out.add(text.chunked);
  if (head.websocket) out.add(text.upgradeWebsocket);
  out.add(text.xForwardedFor);
  if (forwardedFor) appendForwardedFor(out, bytes, fields);
  out.add(hop.client);
  out.add(text.crlf);
  out.add(text.xForwardedProtoHost);
  out.append(hostBytes, hostStart, hostEnd);
  out.add(text.crlf);
  out.add(hop.forwarded);
  out.append(hostBytes, hostStart, hostEnd);
  out.add(text.quoteCrlf);
  out.add(hop.via);
  out.add(text.crlf);
}

export type ConnectionOption = "" | "close" | "keepAlive" | "upgrade";

/** Appends the head of a response as the client gets it. `chunked`: its body follows in that coding. */
export function writeResponseHead(
  out: ByteWriter,
  bytes: Buffer,
  bodyStart: number,
  head: ResponseHead,
  chunked: boolean,
  connection: ConnectionOption,
): void {
  out.add(text.http11);
  const lengthForbidden = head.status === 204 || head.status < 200;
  if (!head.hasHopByHop && !lengthForbidden) {
    out.append(bytes, head.statusStart, bodyStart - 2);
  } else {
    out.append(bytes, head.statusStart, head.fieldsStart);
    copyKeptFields(out, bytes, head, lengthForbidden);
  }
  if (chunked) out.add(text.chunked);
  if (connection === "close") out.add(text.close);
  else if (connection === "keepAlive") out.add(text.keepAlive);
  else if (connection === "upgrade") out.add(text.upgradeWebsocket);
  out.add(text.crlf);
}

function copyKeptFields(out: ByteWriter, bytes: Buffer, head: ResponseHead, lengthForbidden: boolean): void {
  const { fields } = head;
  const named = head.namesFields ? namedFields(bytes, fields) : null;
  let runStart = -1;
  let runEnd = -1;
  for (let i = 0; i < fields.count; i++) {
    const kind = fields.kind[i]!;
    if (dropFromResponse[kind] === 1 || (lengthForbidden && kind === Kind.contentLength)) continue;
    if (named !== null && isNamed(bytes, fields, i, named)) continue;
    const start = fields.nameStart[i]!;
    if (start !== runEnd) {
      if (runStart >= 0) out.append(bytes, runStart, runEnd);
      runStart = start;
    }
    runEnd = fields.lineEnd[i]!;
  }
  if (runStart >= 0) out.append(bytes, runStart, runEnd);
}

/** The names in Connection, in lower case. */
function namedFields(bytes: Buffer, fields: Fields): Buffer[] {
  const named: Buffer[] = [];
  for (let i = 0; i < fields.count; i++) {
    if (fields.kind[i] !== Kind.connection) continue;
    forEachElement(bytes, fields.valueStart[i]!, fields.valueEnd[i]!, (start, end) => {
      named.push(ascii(bytes.toString("latin1", start, end).toLowerCase()));
      return true;
    });
  }
  return named;
}

function isNamed(bytes: Buffer, fields: Fields, i: number, named: Buffer[]): boolean {
  // What frames the message stays, whatever Connection says.
  const kind = fields.kind[i];
  if (kind === Kind.contentLength || kind === Kind.host) return false;
  return named.some((name) => equalsIgnoringCase(bytes, fields.nameStart[i]!, fields.nameEnd[i]!, name));
}

function appendForwardedFor(out: ByteWriter, bytes: Buffer, fields: Fields): void {
  for (let i = 0; i < fields.count; i++) {
    if (fields.kind[i] !== Kind.xForwardedFor || fields.valueStart[i] === fields.valueEnd[i]) continue;
    out.append(bytes, fields.valueStart[i]!, fields.valueEnd[i]!);
    out.add(text.comma);
  }
}

/** A quoted string that does not end would swallow the element that we append (RFC 7239 section 4). */
function hasOpenQuote(bytes: Buffer, start: number, end: number): boolean {
  let open = false;
  for (let at = start; at < end; at++) {
    if (open && bytes[at] === BACKSLASH) at++;
    else if (bytes[at] === QUOTE) open = !open;
  }
  return open;
}
