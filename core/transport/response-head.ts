/**
 * The head of an HTTP/1.1 response, and how long its body is. Strict, because a proven peer may still be broken:
 * an answer whose end cannot be known is refused. A body that ends with the connection is one of those, since a
 * TLS connection that was cut looks like one that was closed.
 */
import { DvsError } from "../errors.ts";

export interface ResponseHead {
  status: number;
  headers: Headers;
  /** Bytes of the body; "chunked" when it says itself where it ends. */
  body: number | "chunked";
  keepAlive: boolean;
}

/** `text` is everything before the empty line. `method` decides with the status whether there can be a body. */
export function parseResponseHead(text: string, method: string): ResponseHead {
  const [first = "", ...lines] = text.split("\r\n");
  const m = /^HTTP\/1\.1 ([1-5]\d\d)(?: [^\r\n]*)?$/.exec(first);
  if (!m) throw malformed(`status line ${JSON.stringify(first.slice(0, 60))}`);
  const status = Number(m[1]);
  const headers = new Headers();
  for (const line of lines) {
    const field = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/.exec(line);
    if (!field) throw malformed(`header ${JSON.stringify(line.slice(0, 60))}`);
    headers.append(field[1]!, field[2]!);
  }
  const keepAlive = !/\bclose\b/i.test(headers.get("connection") ?? "");
  return { status, headers, keepAlive, body: bodyLength(status, headers, method) };
}

function bodyLength(status: number, headers: Headers, method: string): number | "chunked" {
  if (status < 200 || status === 204 || status === 304 || method === "HEAD") return 0;
  const length = headers.get("content-length");
  const coding = headers.get("transfer-encoding");
  if (coding !== null) {
    if (length !== null) throw malformed("both Content-Length and Transfer-Encoding");
    if (coding.toLowerCase() !== "chunked") throw malformed(`Transfer-Encoding ${coding}`);
    return "chunked";
  }
  if (length === null) throw malformed("neither Content-Length nor Transfer-Encoding");
  if (!/^\d{1,15}$/.test(length)) throw malformed(`Content-Length ${length}`);
  return Number(length);
}

export function malformed(what: string): DvsError {
  return new DvsError("UNAVAILABLE", `Unreadable HTTP answer: ${what}.`);
}
