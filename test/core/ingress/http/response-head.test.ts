import { describe, expect, test } from "bun:test";
import { ResponseHead, parseResponseHead } from "../../../../core/ingress/http/response-head.ts";

function parse(text: string) {
  const bytes = Buffer.from(text, "latin1");
  const head = new ResponseHead();
  const at = parseResponseHead(bytes, 0, bytes.length, head, 1024);
  if (at <= 0) return { at, reason: at < 0 ? head.reason : "" };
  return {
    at,
    status: head.status,
    length: head.framing.length,
    chunked: head.framing.chunked,
    keepAlive: head.keepAlive,
  };
}

const accepted: [string, string, Record<string, unknown>][] = [
  ["a length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", { status: 200, length: 3, keepAlive: true }],
  ["chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", { chunked: true }],
  ["an empty reason", "HTTP/1.1 404 \r\n\r\n", { status: 404 }],
  ["neither", "HTTP/1.0 200 OK\r\n\r\n", { length: -1, chunked: false, keepAlive: false }],
  ["close", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", { keepAlive: false }],
  ["HTTP/1.0 with keep-alive", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", { keepAlive: true }],
];

const refused: [string, string][] = [
  ["another protocol", "HTTP/2 200 OK\r\n\r\n"],
  ["no protocol", "SSH-2.0-OpenSSH\r\n"],
  ["no blank after the status", "HTTP/1.1 200\r\n\r\n"],
  ["a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"],
  ["a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"],
  ["status 600", "HTTP/1.1 600 OK\r\n\r\n"],
  ["status 099", "HTTP/1.1 099 OK\r\n\r\n"],
  ["a bare LF", "HTTP/1.1 200 OK\nA: b\r\n\r\n"],
  ["a bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n"],
  ["NUL in the reason", "HTTP/1.1 200 \0\r\n\r\n"],
  ["a folded field", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n"],
  ["length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
  ["chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["an interim response with a body", "HTTP/1.1 103 X\r\nContent-Length: 3\r\n\r\n"],
  ["a long head", `HTTP/1.1 200 OK\r\nA: ${"b".repeat(1024)}\r\n\r\n`],
];

describe("accepts", () => {
  for (const [name, text, wanted] of accepted) test(name, () => expect(parse(text)).toMatchObject(wanted));
});

describe("refuses", () => {
  for (const [name, text] of refused) test(name, () => expect(parse(text).at).toBe(-1));
});

test("a head that is cut anywhere is incomplete, or refused as the whole is", () => {
  for (const [, text] of [...accepted, ...refused]) {
    const whole = parse(text);
    for (let cut = 0; cut < text.length; cut++) {
      const part = parse(text.slice(0, cut));
      expect([0, whole.at]).toContain(part.at);
      if (part.at < 0) expect(part).toEqual(whole);
    }
  }
});
