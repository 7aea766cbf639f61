import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { RequestHead, parseRequestHead } from "../../../../core/ingress/http/request-head.ts";

const bytesMax = 1024;

/** What one parse says, with nothing that refers to the bytes' place. */
function parse(text: string | Buffer, prefix = 0) {
  const bytes = Buffer.concat([Buffer.alloc(prefix, "x"), Buffer.from(text as string, "latin1")]);
  const head = new RequestHead();
  const at = parseRequestHead(bytes, prefix, bytes.length, head, bytesMax);
  if (at < 0) return { at, status: head.status, reason: head.reason };
  if (at === 0) return { at };
  const cut = (a: number, b: number) => bytes.toString("latin1", a, b);
  return {
    at: at - prefix,
    method: head.method,
    target: cut(head.targetStart, head.targetEnd),
    host: cut(head.hostStart, head.hostEnd),
    minor: head.minorVersion,
    length: head.framing.length,
    chunked: head.framing.chunked,
    keepAlive: head.keepAlive,
    websocket: head.websocket,
    expects: head.expectsContinue,
    fields: Array.from({ length: head.fields.count }, (_, i) => [
      cut(head.fields.nameStart[i]!, head.fields.nameEnd[i]!),
      cut(head.fields.valueStart[i]!, head.fields.valueEnd[i]!),
    ]),
  };
}

const get = (fields: string) => `GET /a HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;
const post = (fields: string) => `POST /a HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;

const accepted: [string, string, Record<string, unknown>][] = [
  ["a plain request", get(""), { method: "GET", target: "/a", host: "h", keepAlive: true, length: -1 }],
  ["an empty line before it", `\r\n${get("")}`, { method: "GET" }],
  ["names in any case", get("cOnNeCtIoN: CLOSE\r\n"), { keepAlive: false }],
  [
    "white space around values",
    get("A: \t b c \t\r\n"),
    {
      fields: [
        ["Host", "h"],
        ["A", "b c"],
      ],
    },
  ],
  [
    "empty values",
    get("A:\r\n"),
    {
      fields: [
        ["Host", "h"],
        ["A", ""],
      ],
    },
  ],
  [
    "bytes above 127 in values",
    get("A: \xff\r\n"),
    {
      fields: [
        ["Host", "h"],
        ["A", "\xff"],
      ],
    },
  ],
  ["a length", post("Content-Length: 42\r\n"), { method: "POST", length: 42 }],
  ["chunked", post("Transfer-Encoding: Chunked\r\n"), { chunked: true }],
  ["HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\n", { minor: 0, keepAlive: false, host: "" }],
  ["HTTP/1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", { keepAlive: true }],
  ["close wins over keep-alive", get("Connection: close, keep-alive\r\n"), { keepAlive: false }],
  [
    "close wins in another line",
    get("Connection: close\r\nConnection: keep-alive\r\n"),
    { keepAlive: false },
  ],
  [
    "an absolute target",
    "GET http://x.y:81/p?q HTTP/1.1\r\nHost: h\r\n\r\n",
    { target: "/p?q", host: "x.y:81" },
  ],
  ["an absolute target without path", "GET http://x HTTP/1.1\r\nHost: h\r\n\r\n", { target: "", host: "x" }],
  ["OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", { method: "OPTIONS", target: "*" }],
  ["an unknown method", "PURGE /x HTTP/1.1\r\nHost: h\r\n\r\n", { method: "other" }],
  ["methods are case-sensitive", "get /x HTTP/1.1\r\nHost: h\r\n\r\n", { method: "other" }],
  ["an IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", { host: "[::1]:80" }],
  ["websocket", get("Connection: x, Upgrade\r\nUpgrade: WebSocket\r\n"), { websocket: true }],
  ["an upgrade to h2c is not offered", get("Connection: Upgrade\r\nUpgrade: h2c\r\n"), { websocket: false }],
  ["an upgrade that Connection does not name", get("Upgrade: websocket\r\n"), { websocket: false }],
  ["Expect", post("Content-Length: 1\r\nExpect: 100-Continue\r\n"), { expects: true }],
];

const refused: [string, string, number][] = [
  ["two equal lengths", post("Content-Length: 4\r\nContent-Length: 4\r\n"), 400],
  ["two different lengths", post("Content-Length: 4\r\nContent-Length: 5\r\n"), 400],
  ["a list of lengths", post("Content-Length: 4, 4\r\n"), 400],
  ["a signed length", post("Content-Length: +4\r\n"), 400],
  ["a negative length", post("Content-Length: -4\r\n"), 400],
  ["a hexadecimal length", post("Content-Length: 0x4\r\n"), 400],
  ["a length with a blank", post("Content-Length: 4 4\r\n"), 400],
  ["an empty length", post("Content-Length:\r\n"), 400],
  ["a length beyond exact numbers", post("Content-Length: 9999999999999999\r\n"), 400],
  ["length and chunked", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400],
  ["chunked and length", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"), 400],
  ["two Transfer-Encodings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400],
  ["chunked twice", post("Transfer-Encoding: chunked, chunked\r\n"), 400],
  ["chunked not last", post("Transfer-Encoding: chunked, gzip\r\n"), 400],
  ["identity", post("Transfer-Encoding: identity\r\n"), 400],
  ["quoted chunked", post('Transfer-Encoding: "chunked"\r\n'), 400],
  ["a vertical tab after chunked", post("Transfer-Encoding: chunked\x0b\r\n"), 400],
  ["gzip under chunked", post("Transfer-Encoding: gzip, chunked\r\n"), 501],
  ["Transfer-Encoding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400],
  ["a bare LF after the request line", "GET / HTTP/1.1\nHost: h\r\n\r\n", 400],
  ["a bare LF after a field", "GET / HTTP/1.1\r\nHost: h\n\r\n", 400],
  ["a bare LF as the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\n", 400],
  ["a bare CR in a value", get("A: b\rc\r\n"), 400],
  ["a bare CR instead of the empty line", "GET / HTTP/1.1\r\nHost: h\r\n\rX", 400],
  ["a folded line", get("A: b\r\n c\r\n"), 400],
  ["a folded first line", "GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400],
  ["a blank before the colon", get("A : b\r\n"), 400],
  ["a tab before the colon", get("Content-Length\t: 3\r\n"), 400],
  ["a field without a name", get(": b\r\n"), 400],
  ["a field without a colon", get("abc\r\n"), 400],
  ["NUL in a name", get("A\0: b\r\n"), 400],
  ["NUL in a value", get("A: \0b\r\n"), 400],
  ["DEL in a value", get("A: \x7fb\r\n"), 400],
  ["NUL in the target", "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a target beyond ASCII", "GET /\xe4 HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a relative target", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["another scheme", "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["user information in the target", "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["* with GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["no target", "GET HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["two blanks", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a blank after the version", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400],
  ["a lower-case protocol", "GET / http/1.1\r\nHost: h\r\n\r\n", 400],
  ["HTTP/0.9", "GET /\r\n\r\n", 400],
  ["HTTP/2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505],
  ["a version of two digits", "GET / HTTP/1.10\r\nHost: h\r\n\r\n", 400],
  ["a separator in the method", "GE(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400],
  ["a method that never ends", `${"M".repeat(40)} / HTTP/1.1\r\nHost: h\r\n\r\n`, 400],
  ["TLS on the plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400],
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400],
  ["an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400],
  ["two Hosts", "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400],
  ["two Hosts in HTTP/1.0", "GET / HTTP/1.0\r\nHost: h\r\nhost: i\r\n\r\n", 400],
  ["a Host with a path", "GET / HTTP/1.1\r\nHost: h/x\r\n\r\n", 400],
  ["a Host with a user", "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", 400],
  ["two Hosts in one", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400],
  ["a quote in Host", 'GET / HTTP/1.1\r\nHost: a"b\r\n\r\n', 400],
  ["CONNECT", "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", 405],
  ["TRACE", "TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 405],
  ["another expectation", post("Expect: 200-ok\r\n"), 417],
  ["Connection that names Host", get("Connection: host\r\n"), 400],
  ["Connection that names Content-Length", get("Connection: close, content-length\r\n"), 400],
  ["a long head", get(`A: ${"b".repeat(bytesMax)}\r\n`), 431],
  ["a long head without a line end", `GET /${"b".repeat(bytesMax)}`, 431],
  ["too many fields", get("A: b\r\n".repeat(120)), 431],
];

const every = [...accepted, ...refused].map(([name, text]) => [name, text] as const);

describe("accepts", () => {
  for (const [name, text, wanted] of accepted) test(name, () => expect(parse(text)).toMatchObject(wanted));
});

describe("refuses", () => {
  for (const [name, text, status] of refused) {
    test(name, () => expect(parse(text)).toMatchObject({ at: -1, status }));
  }
});

/** The verdict of a reader that gets `bytes` piece by piece and stops at the first verdict. */
function parseInPieces(bytes: Buffer, cuts: number[]) {
  for (const cut of [...cuts, bytes.length]) {
    const verdict = parse(bytes.subarray(0, cut));
    if (verdict.at !== 0) return verdict;
  }
  return { at: 0 };
}

test("the verdict does not depend on how the bytes were cut", () => {
  for (const [, text] of every) {
    const bytes = Buffer.from(text, "latin1");
    const whole = parse(bytes);
    for (let cut = 1; cut < bytes.length; cut++) {
      const pieces = parseInPieces(bytes, [cut]);
      if (!Bun.deepEquals(pieces, whole))
        throw new Error(`cut at ${cut}: ${JSON.stringify({ text, pieces, whole })}`);
    }
    const everyByte = Array.from({ length: Math.min(bytes.length, 200) }, (_, i) => i + 1);
    expect(parseInPieces(bytes, everyByte)).toEqual(whole);
  }
});

test("the verdict does not depend on where the head lies in the buffer", () => {
  for (const [, text] of every) {
    expect(parse(text, 77)).toEqual(parse(text));
  }
});

/** Heads that are nearly right: pieces that mean something, now and then any byte. */
const nearlyHead = fc
  .array(
    fc.oneof(
      {
        weight: 3,
        arbitrary: fc.constantFrom("\r\n", "\r\n", "\n", "\r", " ", ":", ": ", "\t", "\0", ",", "\x7f"),
      },
      {
        weight: 5,
        arbitrary: fc.constantFrom(
          "GET / HTTP/1.1\r\n",
          "POST /x HTTP/1.0\r\n",
          "Host: h\r\n",
          "Host",
          "Content-Length: 3\r\n",
          "Content-Length",
          "Transfer-Encoding: chunked\r\n",
          "Transfer-Encoding: ",
          "chunked",
          "Connection: close\r\n",
          "\r\n\r\n",
          "abc",
        ),
      },
      { weight: 1, arbitrary: fc.string({ unit: "binary-ascii", maxLength: 4 }) },
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(""));

test("any bytes get a verdict, the same one for each cut, and accepted heads obey the rules", () => {
  fc.assert(
    fc.property(nearlyHead, fc.nat(), (tail, where) => {
      const text = `GET / HTTP/1.1\r\n${tail}`;
      const bytes = Buffer.from(text, "latin1");
      const whole = parse(bytes);
      expect(parseInPieces(bytes, [where % (bytes.length + 1)])).toEqual(whole);
      if (whole.at <= 0) return;
      const head = text.slice(0, whole.at);
      expect(head.endsWith("\r\n\r\n")).toBe(true);
      // An independent reading of the same rules.
      expect(/[^\r]\n|\r(?!\n)|\0|\r\n[ \t]/.test(head)).toBe(false);
      const lines = head.slice(0, -4).split("\r\n").slice(1);
      const names = lines.map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
      expect(names.every((name) => /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name))).toBe(true);
      expect(names.filter((name) => name === "host")).toHaveLength(1);
      const framing = names.filter((name) => name === "content-length" || name === "transfer-encoding");
      expect(framing.length).toBeLessThanOrEqual(1);
    }),
    { numRuns: 3_000 },
  );
});

test("arbitrary bytes never throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const verdict = parse(Buffer.from(bytes));
      expect(verdict.at <= bytes.length).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
