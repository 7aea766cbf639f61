/**
 * What one client sends must be as many requests to the server behind as it is to ingress. The reader behind is a
 * foreign HTTP server; each case says how many requests it may see, and that none of them is the smuggled one.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { type TestIngress, Client, startIngress } from "./harness.ts";

let seen: string[] = [];
let server: ReturnType<typeof Bun.serve>;
let ingress: TestIngress;
beforeAll(async () => {
  server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (!pathname.startsWith("/.well-known/")) seen.push(`${pathname} ${await request.text()}`);
      return new Response("ok");
    },
  });
  ingress = await startIngress([{ node: "a", host: "127.0.0.1", port: server.port!, incarnation: "1" }]);
});
afterAll(async () => {
  await ingress.close();
  await server.stop(true);
});

async function send(text: string): Promise<string[]> {
  seen = [];
  const c = new Client(ingress.port);
  c.socket.end(Buffer.from(text, "latin1"));
  await c.end();
  c.close();
  return seen;
}

const smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
const post = (fields: string, body: string) => `POST /a HTTP/1.1\r\nHost: h\r\n${fields}\r\n\r\n${body}`;

const cases: [string, string, string[]][] = [
  ["CL.TE", post("Content-Length: 44\r\nTransfer-Encoding: chunked", `0\r\n\r\n${smuggled}`), []],
  ["TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 3", `0\r\n\r\n${smuggled}`), []],
  [
    "TE.TE, the second one garbled",
    post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", `0\r\n\r\n${smuggled}`),
    [],
  ],
  ["a coding behind a tab", post("Transfer-Encoding:\tchunked", `0\r\n\r\n`), ["/a "]],
  ["a coding behind a vertical tab", post("Transfer-Encoding: \x0bchunked", `0\r\n\r\n${smuggled}`), []],
  ["a coding in a folded line", post("Transfer-Encoding:\r\n chunked", `0\r\n\r\n${smuggled}`), []],
  ["a coding before a blank and colon", post("Transfer-Encoding : chunked", `0\r\n\r\n${smuggled}`), []],
  ["a coding behind a bare LF", post("A: b\nTransfer-Encoding: chunked", `0\r\n\r\n${smuggled}`), []],
  ["a coding behind a bare CR", post("A: b\rTransfer-Encoding: chunked", `0\r\n\r\n${smuggled}`), []],
  ["Content-Length: 0 twice", post("Content-Length: 0\r\nContent-Length: 37", smuggled), []],
  [
    "a chunk extension with a bare LF",
    post("Transfer-Encoding: chunked", `1;\n\r\nx\r\n0\r\n\r\n${smuggled}`),
    [],
  ],
  ["an overflowing chunk size", post("Transfer-Encoding: chunked", `10000000000000000\r\n${smuggled}`), []],
  [
    "Connection removes Content-Length",
    post("Connection: content-length\r\nContent-Length: 37", smuggled),
    [],
  ],
  [
    "the smuggled request is the body",
    post(`Content-Length: ${smuggled.length}`, smuggled),
    [`/a ${smuggled}`],
  ],
  [
    "GET with a body",
    `GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    ["/a "],
  ],
  [
    "Upgrade that is declined",
    `GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n${smuggled}`,
    ["/a ", "/smuggled "],
  ],
  [
    "h2c",
    `GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n`,
    ["/a "],
  ],
];

describe("smuggling", () => {
  for (const [name, text, wanted] of cases) {
    test(name, async () => {
      const got = await send(text);
      expect(got.map((s) => (s.startsWith("/a") && text.startsWith("GET") ? "/a " : s))).toEqual(wanted);
    });
  }
});

/** What the server behind may see: a second reading of the rules, on text. */
function expected(lines: string[], content: string): string[] {
  const next = "GET /b HTTP/1.1\r\nHost: h\r\n\r\n";
  const values = (name: string) =>
    lines
      .filter((l) => l.toLowerCase().startsWith(`${name}:`))
      .map((l) =>
        l
          .slice(name.length + 1)
          .trim()
          .toLowerCase(),
      );
  const lengths = values("content-length");
  const codings = values("transfer-encoding");
  if (lengths.length + codings.length > 1 || values("connection").includes("transfer-encoding")) return [];
  if (codings.length === 1) {
    if (codings[0] !== "chunked") return [];
    if (content === "0\r\n\r\n") return ["/a ", "/b "];
    return content.startsWith("5") ? ["/a hello", "/b "] : [];
  }
  if (lengths.length === 1 && !/^\d+$/.test(lengths[0]!)) return [];
  const length = Number(lengths[0] ?? 0);
  const all = content + next;
  const rest = all.slice(length);
  return [`/a ${all.slice(0, length)}`, ...(rest === next ? ["/b "] : [])];
}

test("however fields that frame are spelled, both sides count the same requests", async () => {
  const line = fc.constantFrom(
    "Content-Length: 5",
    "Content-Length: 05",
    "content-length:5 ",
    "Content-Length: 5,5",
    "Content-Length: +5",
    "Transfer-Encoding: chunked",
    "transfer-encoding:chunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding: x, chunked",
    "Transfer-Encoding: chunked;q=1",
    "TE: chunked",
    "Connection: keep-alive",
    "Connection: transfer-encoding",
    "X: y",
  );
  const body = fc.constantFrom("0\r\n\r\n", "hello", "5\r\nhello\r\n0\r\n\r\n", "");
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 3 }), body, async (lines, content) => {
      const text = `POST /a HTTP/1.1\r\nHost: h\r\n${lines.map((l) => `${l}\r\n`).join("")}\r\n${content}GET /b HTTP/1.1\r\nHost: h\r\n\r\n`;
      expect(await send(text)).toEqual(expected(lines, content));
    }),
    { numRuns: 300 },
  );
}, 15_000);
