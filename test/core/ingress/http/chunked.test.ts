import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { ChunkedScanner } from "../../../../core/ingress/http/chunked.ts";

/** Feeds the pieces; says what was content, where the body ended, or why it was refused. */
function scan(pieces: Buffer[]) {
  const scanner = new ChunkedScanner();
  let content = "";
  let consumed = 0;
  for (const piece of pieces) {
    const at = scanner.scan(piece, 0, piece.length, (a, b) => {
      content += piece.toString("latin1", a, b);
    });
    if (at < 0) return { refusal: scanner.refusal };
    consumed += at;
    if (scanner.done) break;
  }
  return { content, consumed, done: scanner.done };
}

const whole = (text: string) => scan([Buffer.from(text, "latin1")]);

const refused: [string, string][] = [
  ["an extension", "3;a=b\r\nabc\r\n0\r\n\r\n"],
  ["a bare LF after the size", "3\nabc\r\n0\r\n\r\n"],
  ["a bare CR after the size", "3\rXabc\r\n0\r\n\r\n"],
  ["a blank after the size", "3 \r\nabc\r\n0\r\n\r\n"],
  ["a blank before the size", " 3\r\nabc\r\n0\r\n\r\n"],
  ["a sign", "+3\r\nabc\r\n0\r\n\r\n"],
  ["0x", "0x3\r\nabc\r\n0\r\n\r\n"],
  ["no size", "\r\nabc"],
  ["a size beyond exact numbers", `${"1".repeat(14)}\r\n`],
  ["a chunk longer than its size", "3\r\nabcd\r\n0\r\n\r\n"],
  ["a bare LF after a chunk", "3\r\nabc\n0\r\n\r\n"],
  ["a bare LF at the end", "0\r\n\n"],
  ["Content-Length in the trailer", "0\r\nContent-Length: 5\r\n\r\n"],
  ["Host in the trailer", "0\r\nhOsT: x\r\n\r\n"],
  ["NUL in the trailer", "0\r\nA: \0\r\n\r\n"],
  ["a folded trailer", "0\r\nA: b\r\n c\r\n\r\n"],
  ["a bare LF in the trailer", "0\r\nA: b\n\r\n"],
  ["a long trailer", `0\r\nA: ${"b".repeat(9_000)}\r\n\r\n`],
];

describe("refuses", () => {
  for (const [name, text] of refused) test(name, () => expect(whole(text).refusal).toBeString());
});

test("content, trailer, and bytes of the next message behind it", () => {
  const body = "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
  expect(whole(`${body}GET /`)).toEqual({ content: "abc0123456789", consumed: body.length, done: true });
});

test("a body that is cut anywhere is not done", () => {
  const body = "3\r\nabc\r\n0\r\nA: b\r\n\r\n";
  for (let cut = 0; cut < body.length; cut++) expect(whole(body.slice(0, cut)).done).toBe(false);
});

test("any content survives any chunks and any cuts", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ minLength: 1, maxLength: 40, unit: "binary-ascii" })),
      fc.array(fc.nat()),
      (chunks, cuts) => {
        const framed = `${chunks.map((c) => `${c.length.toString(16)}\r\n${c}\r\n`).join("")}0\r\n\r\n`;
        const bytes = Buffer.from(framed, "latin1");
        const at = [0, ...cuts.map((c) => c % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
        const pieces = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
        expect(scan(pieces)).toEqual({ content: chunks.join(""), consumed: bytes.length, done: true });
      },
    ),
  );
});

test("a verdict does not depend on the cuts", () => {
  for (const [, text] of refused) {
    const bytes = Buffer.from(text, "latin1");
    const byByte = Array.from(bytes, (_, i) => bytes.subarray(i, i + 1));
    expect(scan(byByte)).toEqual(whole(text));
  }
});
