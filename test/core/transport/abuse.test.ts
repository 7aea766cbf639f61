/** Clients that mean harm or are broken: they are cut off, and nobody else notices. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { TLSSocket } from "node:tls";
import { closed, until, world } from "./link.ts";
import type { World } from "./link.ts";

let w: World;
let address: string;
let port: number;

beforeAll(async () => {
  w = await world();
  const { address: at, server } = await w.serve({
    handshakeTimeoutMs: 300,
    idleTimeoutMs: 300,
    fetch: async (request) => {
      if (new URL(request.url).pathname === "/slow") await new Promise((resolve) => setTimeout(resolve, 900));
      return new Response("well");
    },
  });
  address = at;
  port = server.port;
});
afterAll(() => w.end());

const tcp = (): Socket => connect(port, "127.0.0.1").on("error", () => {});

async function proven(): Promise<TLSSocket> {
  const socket = connectTls({
    host: "127.0.0.1",
    port,
    ca: w.ca.certificate,
    cert: w.node.certificate,
    key: w.node.key,
    checkServerIdentity: () => undefined,
  });
  socket.on("error", () => {});
  await new Promise<void>((resolve) => socket.once("secureConnect", () => resolve()));
  return socket;
}

const alive = async () => {
  const answer = await w.client(address).request({ method: "GET", path: "/" });
  return answer.text();
};

test("a client that says nothing, or half a greeting, is cut off when the handshake's time is over", async () => {
  const silent = tcp();
  const half = tcp();
  half.write(Buffer.from("160301020001", "hex"));
  await Promise.all([closed(silent), closed(half)]);
  expect(await alive()).toBe("well");
});

test("a proven client that sends nothing, or a head drop by drop, is cut off", async () => {
  const idle = await proven();
  const slow = await proven();
  slow.write("GET / HTTP/1.1\r\nHost: x\r\n");
  const drops = setInterval(() => !slow.destroyed && slow.write("X: y\r\n"), 50);
  idle.resume();
  slow.resume();
  await Promise.all([closed(idle), closed(slow)]);
  clearInterval(drops);
  expect(await alive()).toBe("well");
});

test("a request that takes longer than the idle time is not cut off", async () => {
  const answer = await w.client(address).request({ method: "GET", path: "/slow" });
  expect(await answer.text()).toBe("well");
});

test("garbage, plain HTTP and resets do not crash the server or leave sockets behind", async () => {
  await alive();
  const before = readdirSync("/proc/self/fd").length;
  const all: Promise<void>[] = [];
  for (let i = 0; i < 60; i++) {
    const socket = tcp();
    all.push(closed(socket));
    socket.once("connect", () => {
      if (i % 3 === 0) socket.write(crypto.getRandomValues(Buffer.alloc(2_000)));
      else if (i % 3 === 1) socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      else socket.resetAndDestroy();
    });
    socket.resume();
  }
  for (let i = 0; i < 10; i++) {
    const socket = await proven();
    all.push(closed(socket));
    socket.resume();
    if (i % 2 === 0) socket.write(`\0\0\0 nonsense ${"x".repeat(100)}\r\n\r\n`);
    else socket.destroy();
  }
  await Promise.all(all);
  expect(await alive()).toBe("well");
  // The last one may be kept for a while, by a client of this test.
  await until(() => readdirSync("/proc/self/fd").length <= before + 4);
});

test("an oversized head is refused", async () => {
  const socket = await proven();
  let answer = "";
  socket.on("data", (bytes: Buffer) => (answer += bytes.toString()));
  const before = w.seen.length;
  socket.write(`GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(200_000)}\r\n\r\n`);
  await closed(socket);
  expect(w.seen.length).toBe(before);
  expect(answer).not.toContain("200 OK");
});
