/** Who counts as a living part of the store before another part goes on alone. */
import { expect, test } from "bun:test";
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { whoLives } from "../../../core/coordinator/ha/who-lives.ts";
import { freePort } from "../../tools/free-port.ts";

const signal = new AbortController().signal;

test("one that takes connections and never answers lives: it may only be slow", async () => {
  const taken: Socket[] = [];
  const server = createServer((socket) => void taken.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const gone = `https://127.0.0.1:${await freePort()}`;
  expect(await whoLives([gone, url], signal)).toEqual([url]);
  for (const socket of taken) socket.destroy();
  server.close();
});

test("one that is being started again lives, though it refuses connections at first", async () => {
  const port = await freePort();
  const asked = whoLives([`https://127.0.0.1:${port}`], signal);
  const server = createServer((socket) => socket.destroy());
  setTimeout(() => server.listen(port, "127.0.0.1"), 300);
  expect(await asked).toHaveLength(1);
  server.close();
});

test("where nobody listens nobody lives", async () => {
  expect(await whoLives([`https://127.0.0.1:${await freePort()}`], signal)).toEqual([]);
});

test("it can be given up", async () => {
  const stop = new AbortController();
  const asked = whoLives([`https://127.0.0.1:${await freePort()}`], stop.signal);
  stop.abort(new Error("enough"));
  expect(await asked.catch((e: Error) => e.message)).toBe("enough");
});
