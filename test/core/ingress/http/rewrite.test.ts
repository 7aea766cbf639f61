import { describe, expect, test } from "bun:test";
import { ByteWriter } from "../../../../core/ingress/http/byte-writer.ts";
import { RequestHead, parseRequestHead } from "../../../../core/ingress/http/request-head.ts";
import { ResponseHead, parseResponseHead } from "../../../../core/ingress/http/response-head.ts";
import {
  type ConnectionOption,
  hopOf,
  writeRequestHead,
  writeResponseHead,
} from "../../../../core/ingress/http/rewrite.ts";

function request(text: string, client = "10.0.0.9"): string[] {
  const bytes = Buffer.from(text, "latin1");
  const head = new RequestHead();
  if (parseRequestHead(bytes, 0, bytes.length, head, 4096) <= 0) throw new Error(head.reason);
  // Small on purpose: it has to grow.
  const out = new ByteWriter(8);
  writeRequestHead(out, bytes, head, hopOf(client, "n1", "127.0.0.2", 8080));
  const lines = out.buffer.toString("latin1", 0, out.length).split("\r\n");
  expect(lines.splice(-2)).toEqual(["", ""]);
  return lines;
}

const added = (host: string) => [
  "X-Forwarded-Proto: http",
  `X-Forwarded-Host: ${host}`,
  `Forwarded: for=10.0.0.9;by=_n1;proto=http;host="${host}"`,
  "Via: 1.1 n1",
];

test("a request keeps its fields, order and spelling, and says where it came from", () => {
  expect(request("GET /a?b HTTP/1.1\r\nhOst: x:1\r\nAccept:  */*\r\n\r\n")).toEqual([
    "GET /a?b HTTP/1.1",
    "hOst: x:1",
    "Accept:  */*",
    "X-Forwarded-For: 10.0.0.9",
    ...added("x:1"),
  ]);
});

test("fields of one connection go, also those that Connection names", () => {
  const text =
    "GET / HTTP/1.1\r\nConnection: close, X-Secret\r\nHost: h\r\nKeep-Alive: 5\r\nA: 1\r\nx-secret: 2\r\nTE: trailers\r\n" +
    "Proxy-Connection: x\r\nUpgrade: h2c\r\nExpect: 100-continue\r\nB: 3\r\n\r\n";
  expect(request(text)).toEqual([
    "GET / HTTP/1.1",
    "Host: h",
    "A: 1",
    "B: 3",
    "X-Forwarded-For: 10.0.0.9",
    ...added("h"),
  ]);
});

test("X-Forwarded-For is appended to, X-Forwarded-Host and -Proto are ours, Forwarded is kept", () => {
  const text =
    "GET / HTTP/1.1\r\nX-Forwarded-For: 1.1.1.1\r\nHost: h\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\n" +
    "x-forwarded-for: 2.2.2.2, 3.3.3.3\r\nForwarded: for=1.1.1.1\r\n\r\n";
  expect(request(text)).toEqual([
    "GET / HTTP/1.1",
    "Host: h",
    "Forwarded: for=1.1.1.1",
    "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9",
    ...added("h"),
  ]);
});

test("a Forwarded whose quote would swallow our element goes", () => {
  expect(request('GET / HTTP/1.1\r\nHost: h\r\nForwarded: for="evil\r\n\r\n').join("\n")).not.toContain(
    "evil",
  );
  expect(request('GET / HTTP/1.1\r\nHost: h\r\nForwarded: for="a\\"b"\r\n\r\n').join("\n")).toContain(
    'a\\"b',
  );
});

test("IPv6 clients are quoted in Forwarded, wrapped IPv4 ones unwrapped", () => {
  const text = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
  expect(request(text, "2001:db8::1")).toContain('Forwarded: for="[2001:db8::1]";by=_n1;proto=http;host="h"');
  expect(request(text, "::ffff:10.0.0.9")).toContain("X-Forwarded-For: 10.0.0.9");
});

test("an absolute target replaces Host", () => {
  const lines = request("GET http://real/p HTTP/1.1\r\nHost: other\r\n\r\n");
  expect(lines.slice(0, 2)).toEqual(["GET /p HTTP/1.1", "Host: real"]);
  expect(lines.join("\n")).not.toContain("other");
  expect(request("GET http://real HTTP/1.1\r\nHost: o\r\n\r\n")[0]).toBe("GET / HTTP/1.1");
  expect(request("OPTIONS http://real HTTP/1.1\r\nHost: o\r\n\r\n")[0]).toBe("OPTIONS * HTTP/1.1");
});

test("an HTTP/1.0 request without Host gets the address that it came to", () => {
  expect(request("GET / HTTP/1.0\r\n\r\n").slice(0, 2)).toEqual(["GET / HTTP/1.1", "Host: 127.0.0.2:8080"]);
});

test("a chunked body is announced again, a websocket passed on", () => {
  const chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  expect(request(chunked).filter((l) => l.startsWith("Transfer"))).toEqual(["Transfer-Encoding: chunked"]);
  const websocket =
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
  expect(request(websocket)).toEqual(expect.arrayContaining(["Connection: Upgrade", "Upgrade: websocket"]));
});

function response(text: string, chunked = false, connection: ConnectionOption = ""): string {
  const bytes = Buffer.from(text, "latin1");
  const head = new ResponseHead();
  const bodyStart = parseResponseHead(bytes, 0, bytes.length, head, 4096);
  if (bodyStart <= 0) throw new Error(head.reason);
  const out = new ByteWriter(8);
  writeResponseHead(out, bytes, bodyStart, head, chunked, connection);
  return out.buffer.toString("latin1", 0, out.length);
}

describe("a response", () => {
  const cases: [string, string, string][] = [
    [
      "without fields of one connection is copied",
      "HTTP/1.1 200 Fine\r\nA: b\r\nContent-Length: 1\r\n\r\nx",
      "HTTP/1.1 200 Fine\r\nA: b\r\nContent-Length: 1\r\n\r\n",
    ],
    [
      "loses fields of one connection, and those that Connection names",
      "HTTP/1.0 200 OK\r\nA: b\r\nConnection: keep-alive, X-A\r\nX-A: c\r\nKeep-Alive: 3\r\nUpgrade: h2c\r\nB: d\r\n\r\n",
      "HTTP/1.1 200 OK\r\nA: b\r\nB: d\r\n\r\n",
    ],
    [
      "keeps its length, whatever Connection names",
      "HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
    ],
    ["of 204 has no length", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n"],
  ];
  for (const [name, from, to] of cases) test(name, () => expect(response(from)).toBe(to));

  test("says what follows on its connection", () => {
    const from = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    expect(response(from, true, "close")).toBe(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    );
    expect(response(from, false, "keepAlive")).toBe("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n");
  });
});
