/** Answers as bytes: every way to cut them into pieces, and every way to get them wrong. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { createServer } from "node:tls";
import type { Server } from "node:tls";
import type { AddressInfo } from "node:net";
import { chunkedBody, countedBody } from "../../../core/transport/body-reader.ts";
import { formatAddress, parseAddress } from "../../../core/transport/address.ts";
import { parseResponseHead } from "../../../core/transport/response-head.ts";
import { failure } from "../trust/lab.ts";
import { refusal, world } from "./link.ts";
import type { World } from "./link.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("a chunked body", () => {
  test("is the same however the network cuts it, and says where it ends", () => {
    const chunks = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 6 });
    fc.assert(
      fc.property(chunks, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }), (parts, cuts) => {
        const frames = parts.map((p) =>
          Buffer.concat([Buffer.from(`${p.length.toString(16)};x=1\r\n`), p, Buffer.from("\r\n")]),
        );
        const wire = Buffer.concat([...frames, Buffer.from("0\r\nTrailer: x\r\n\r\nNEXT")]);
        const reader = chunkedBody();
        const got: Uint8Array[] = [];
        let used = -1;
        let at = 0;
        for (let i = 0; used < 0; i++) {
          const piece = wire.subarray(at, at + cuts[i % cuts.length]!);
          used = reader.push(piece, (p) => void got.push(p.slice()));
          at += used < 0 ? piece.length : used;
        }
        expect(wire.subarray(at).toString()).toBe("NEXT");
        expect(Buffer.concat(got).equals(Buffer.concat(parts))).toBe(true);
      }),
    );
  });

  test("of broken framing is refused", () => {
    for (const wire of [
      "x\r\n",
      "-1\r\n",
      "0x5\r\n",
      "5\n",
      "2\r\nabc\r\n",
      "\r\n",
      " 5\r\n",
      "1000000000000\r\n",
    ]) {
      expect(() => chunkedBody().push(bytes(wire), () => {})).toThrow("Unreadable HTTP answer");
    }
    expect(() => chunkedBody().push(bytes(`1;${"x".repeat(5_000)}`), () => {})).toThrow("too long");
    expect(() => chunkedBody().push(bytes(`0\r\n${"a: b\r\n".repeat(100)}`), () => {})).toThrow("trailers");
  });
});

test("a counted body takes its own bytes and no more", () => {
  const got: string[] = [];
  const reader = countedBody(5);
  expect(reader.push(bytes("abc"), (p) => void got.push(Buffer.from(p).toString()))).toBe(-1);
  expect(reader.push(bytes("defgh"), (p) => void got.push(Buffer.from(p).toString()))).toBe(2);
  expect(got).toEqual(["abc", "de"]);
});

describe("a head", () => {
  test("says how long its body is", () => {
    const body = (head: string, method = "GET") => parseResponseHead(head, method).body;
    expect(body("HTTP/1.1 200 OK\r\nContent-Length: 12")).toBe(12);
    expect(body("HTTP/1.1 200 \r\ntransfer-encoding: Chunked")).toBe("chunked");
    expect(body("HTTP/1.1 200\r\nContent-Length: 12", "HEAD")).toBe(0);
    expect(body("HTTP/1.1 204 No Content")).toBe(0);
    expect(parseResponseHead("HTTP/1.1 204 x\r\nConnection: Close", "GET").keepAlive).toBe(false);
  });

  test("that leaves the end of its body open, or names two, is refused", () => {
    for (const fields of [
      "X: y",
      "Content-Length: 5\r\nTransfer-Encoding: chunked",
      "Content-Length: 5\r\nContent-Length: 6",
      "Content-Length: +5",
      "Content-Length: -5",
      "Content-Length: 5 5",
      "Transfer-Encoding: gzip, chunked",
      "Content-Length : 5",
      " Content-Length: 5",
      "Content-Length: 5\nX: y",
    ]) {
      expect(() => parseResponseHead(`HTTP/1.1 200 OK\r\n${fields}`, "GET")).toThrow(
        "Unreadable HTTP answer",
      );
    }
    for (const status of ["HTTP/1.0 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 999 X", "ICY 200 OK", ""]) {
      expect(() => parseResponseHead(`${status}\r\nContent-Length: 0`, "GET")).toThrow("status line");
    }
  });
});

test("addresses of both families are read and written", () => {
  for (const text of ["10.0.0.1:7070", "[fd00::1]:7070", "host.lan:1"]) {
    expect(formatAddress(parseAddress(text))).toBe(text);
  }
  for (const text of [
    "",
    "host",
    "host:",
    "host:0",
    "host:65536",
    "::1:7070",
    "[host]:1",
    "a b:1",
    "u@h:1",
    "h:1/x",
  ]) {
    expect(() => parseAddress(text)).toThrow("Write host:port");
  }
});

describe("a proven server that talks nonsense", () => {
  let w: World;
  let server: Server;
  let answer = "";
  beforeAll(async () => {
    w = await world();
    server = createServer({ key: w.coordinator.key, cert: w.coordinator.certificate }, (socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.write(answer));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterAll(async () => {
    await w.end();
    server.close();
  });
  const ask = (text: string) => {
    answer = text;
    const { port } = server.address() as AddressInfo;
    return w.client(`127.0.0.1:${port}`).request({ method: "GET", path: "/", timeoutMs: 5_000 });
  };

  test("is an error, never a hang or an answer", async () => {
    expect(await refusal(ask("nonsense\r\n\r\n"))).toContain("status line");
    expect(await refusal(ask(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}`))).toContain("a head above");
    expect(await refusal(ask("HTTP/1.1 101 Switching\r\n\r\n"))).toContain("switch of protocols");
    expect(await refusal(ask("HTTP/1.1 200 OK\r\nX: endless\r\n\r\nbody"))).toContain(
      "neither Content-Length",
    );
    const bad = await ask("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n");
    expect(await failure(bad.text())).toContain("a chunk is longer");
  });

  test("may send interim answers before the real one", async () => {
    const real = await ask(
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    expect([real.status, await real.text()]).toEqual([200, "ok"]);
  });
});
