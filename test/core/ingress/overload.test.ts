import { describe, expect, test } from "bun:test";
import { type Socket, connect, createServer } from "node:net";
import { once } from "node:events";
import type { LoadLimits } from "../../../core/ingress/load-limits.ts";
import {
  Client,
  type Seen,
  type TestIngress,
  type TestUpstream,
  type UpstreamAt,
  eventually,
  ok,
  startIngress,
  startUpstream,
  statusOf,
} from "./harness.ts";
import { closedAfterEach } from "./to-close.ts";

const open = closedAfterEach();

async function upstream(name: string, answer?: ((seen: Seen) => void) | null): Promise<TestUpstream> {
  const it = await startUpstream(name, answer);
  open.push(it);
  return it;
}

async function ingressTo(upstreams: UpstreamAt[], limits?: Partial<LoadLimits>): Promise<TestIngress> {
  const it = await startIngress(upstreams, {}, limits);
  open.push(it);
  return it;
}

function client(port: number): Client {
  const it = new Client(port);
  open.push(it);
  return it;
}

const get = (n: number | string) => `GET /${n} HTTP/1.1\r\nHost: h\r\n\r\n`;
const post = (n: number | string) => `POST /${n} HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody`;
const nameOf = (seen: Seen) => /^\w+ \/(\S*)/.exec(seen.head)![1]!;

/** Most connections that carried a request at once; answers each after `ms`. */
function slowAnswers(ms: number) {
  const state = { now: 0, max: 0, seen: [] as string[] };
  const answer = (seen: Seen) => {
    state.max = Math.max(state.max, ++state.now);
    state.seen.push(nameOf(seen));
    setTimeout(() => {
      state.now--;
      seen.socket.write(ok(nameOf(seen)));
    }, ms);
  };
  return { state, answer };
}

describe("500 clients at once and 16 connections", () => {
  // On a loaded machine they may take their time.
  const limits = { upstreamConnectionsMax: 16, connectingMax: 4, waitingMs: 30_000, standingMs: 30_000 };

  test("all are served, in the order in which they came, POST included", async () => {
    const { state, answer } = slowAnswers(2);
    const a = await upstream("a", answer);
    const { port, ingress } = await ingressTo([a.at], limits);
    const clients = Array.from({ length: 500 }, () => client(port));
    await Promise.all(clients.map((c) => once(c.socket, "connect")));
    // Sent one after the other, so that there is an order.
    for (const [n, c] of clients.entries()) {
      c.send(n % 2 === 0 ? get(n) : post(n));
      if (n % 25 === 24) await new Promise((resolve) => setImmediate(resolve));
    }
    for (const [n, c] of clients.entries()) expect((await c.responses(1))[0]).toBe(ok(String(n)));
    expect(state.max).toBeLessThanOrEqual(16);
    // One of them is the probe's.
    expect(a.connections.size).toBeLessThanOrEqual(17);
    // A batch that is read together is in the order of its sockets in the kernel: within it anything goes.
    const late = state.seen.map((name, at) => Math.abs(Number(name) - at));
    expect(Math.max(...late)).toBeLessThan(50);
    expect(ingress.counters).toEqual({ requests: 500, failures: 0, retries: 0 });
  });

  test("those whose clients go are never sent", async () => {
    const held: Seen[] = [];
    const a = await upstream("a", (seen) => void held.push(seen));
    const { port } = await ingressTo([a.at], { upstreamConnectionsMax: 1 });
    const first = client(port).send(get("first"));
    await eventually(() => held.length === 1, "the first is under way");
    const gone = client(port).send(get("gone"));
    await once(gone.socket, "connect");
    const last = client(port).send(get("last"));
    await new Promise((resolve) => setTimeout(resolve, 50));
    gone.socket.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    held[0]!.socket.write(ok("1"));
    await first.responses(1);
    await eventually(() => held.length === 2, "the last is under way");
    held[1]!.socket.write(ok("2"));
    expect((await last.responses(1))[0]).toBe(ok("2"));
    expect(held.map(nameOf)).toEqual(["first", "last"]);
  });
});

/** A container that accepts connections, and reads none of them before `goOn()`. */
async function stalled() {
  const back = await startUpstream("back");
  const waiting: Socket[] = [];
  let slow = true;
  const through = (socket: Socket) => {
    const target = connect({ host: "127.0.0.1", port: back.at.port });
    socket.pipe(target);
    target.pipe(socket);
    socket.on("error", () => target.destroy());
    target.on("error", () => socket.destroy());
  };
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on("error", () => {});
    if (slow) waiting.push(socket);
    else through(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(back, { close: () => (server.close(), waiting.forEach((s) => s.destroy())) });
  const { port } = server.address() as { port: number };
  return {
    back,
    at: { node: "s", host: "127.0.0.1", port, incarnation: "1" },
    goOn() {
      slow = false;
      for (const socket of waiting.splice(0)) through(socket);
    },
  };
}

test("an upstream that stalls for a second and goes on costs no request, POST included", async () => {
  const s = await stalled();
  const { port, ingress } = await ingressTo([s.at], { upstreamConnectionsMax: 16 });
  const clients = Array.from({ length: 200 }, (_, n) => client(port).send(n % 2 === 0 ? get(n) : post(n)));
  await eventually(() => ingress.counters.requests === 200, "all are there");
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  s.goOn();
  for (const c of clients) expect((await c.responses(1))[0]).toBe(ok("back"));
  expect(ingress.counters.failures).toBe(0);
  await eventually(() => ingress.upstreams[0]!.healthy, "probes find it good");
});

test("a stall of ingress's own loop costs no request and no upstream its good name", async () => {
  const child = Bun.spawn(
    [process.execPath, "--no-install", `${import.meta.dir}/upstream-process.ts`, "child"],
    { stdout: "pipe" },
  );
  open.push({ close: () => (child.kill("SIGKILL"), child.exited) });
  const { value } = await child.stdout.getReader().read();
  const at = {
    node: "c",
    host: "127.0.0.1",
    port: Number(new TextDecoder().decode(value)),
    incarnation: "1",
  };
  const limits = { waitingMs: 400, connectTimeoutMs: 400, connectingMax: 2, upstreamConnectionsMax: 4 };
  const { port, ingress } = await ingressTo([at], limits);
  const clients = Array.from({ length: 50 }, (_, n) => client(port).send(get(n)));
  await eventually(() => ingress.counters.requests > 0, "they come");
  const until = performance.now() + 1_200;
  while (performance.now() < until);
  for (const c of clients) expect(statusOf((await c.responses(1))[0]!)).toBe(200);
  expect(ingress.counters.failures).toBe(0);
  expect(ingress.upstreams[0]!.healthy).toBe(true);
});

test("the table changes while requests wait: they go where it says then", async () => {
  const a = await upstream("a", null);
  const b = await upstream("b");
  const it = await ingressTo([a.at], { upstreamConnectionsMax: 1 });
  const first = client(it.port).send(get("first"));
  await eventually(() => a.seen.length === 1, "the first is under way");
  const waiting = ["x", "y", "z"].map((n) => client(it.port).send(post(n)));
  await eventually(() => it.ingress.counters.requests === 4, "they wait");
  await it.apply([b.at]);
  for (const c of waiting) expect((await c.responses(1))[0]).toBe(ok("b"));
  expect(a.seen.length).toBe(1);
  a.seen[0]!.socket.write(ok("a"));
  expect((await first.responses(1))[0]).toBe(ok("a"));
  expect(it.ingress.counters.failures).toBe(0);
});

describe("503 with a reason and Retry-After, and the connection goes on,", () => {
  async function full(limits: Partial<LoadLimits>) {
    const a = await upstream("a", null);
    const it = await ingressTo([a.at], { upstreamConnectionsMax: 1, ...limits });
    const first = client(it.port).send(get("first"));
    await eventually(() => a.seen.length === 1, "the first is under way");
    return { a, port: it.port, ingress: it.ingress, first };
  }

  test("for who waits too long", async () => {
    const { a, port, first } = await full({ waitingMs: 200 });
    const c = client(port).send(post("late"));
    const [refused] = await c.responses(1);
    expect(statusOf(refused!)).toBe(503);
    expect(refused).toContain("Retry-After: 1\r\n");
    expect(refused).toContain("no connection to the instance became free within 200 ms");
    c.send(get("again"));
    a.seen[0]!.socket.write(ok("a"));
    await first.responses(1);
    await eventually(() => a.seen.length === 2, "the second is under way");
    a.seen[1]!.socket.write(ok("again"));
    expect((await c.responses(2))[1]).toBe(ok("again"));
    expect(a.seen.map(nameOf)).toEqual(["first", "again"]);
  });

  test("for who finds the line full", async () => {
    const { port, ingress } = await full({ waitingMax: 2 });
    const waiting = [client(port).send(get(1)), client(port).send(get(2))];
    await eventually(() => ingress.counters.requests === 3, "two wait");
    const [refused] = await client(port).send(post(3)).responses(1);
    expect(statusOf(refused!)).toBe(503);
    expect(refused).toContain("too many requests wait");
    expect(waiting.map((c) => c.text)).toEqual(["", ""]);
  });
});

test("a dead upstream costs no request: what was opened for it is opened elsewhere", async () => {
  const a = await upstream("a", (seen) => void setTimeout(() => seen.socket.write(ok("a")), 5));
  const b = await upstream("b", (seen) => void setTimeout(() => seen.socket.write(ok("b")), 5));
  const { port, ingress } = await ingressTo([a.at, b.at], { upstreamConnectionsMax: 4 });
  const clients = Array.from({ length: 100 }, (_, n) => client(port).send(get(n)));
  await eventually(() => a.seen.length > 10, "both serve");
  a.close();
  for (const c of clients) expect(statusOf((await c.responses(1))[0]!)).toBe(200);
  expect(ingress.counters.failures).toBe(0);
});

test("a busy instance has connections to its other upstreams before it needs them", async () => {
  const dir = await upstream("a");
  const b = await upstream("b");
  const { port } = await ingressTo([dir.at, b.at], { warmConnections: 3 });
  const c = client(port);
  for (let n = 1; n <= 40; n++) await c.send(get(n)).responses(n);
  // And the probe's.
  await eventually(() => b.connections.size === 4, "three are open");
});

test("tunnels do not count as connections", async () => {
  const a = await upstream("a", (seen) => {
    if (!seen.head.includes("websocket")) seen.socket.write(ok("plain"));
    else seen.socket.write("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  });
  const { port } = await ingressTo([a.at], { upstreamConnectionsMax: 1 });
  for (let n = 0; n < 5; n++) {
    const c = client(port);
    c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    await c.until((text) => text.includes("101"));
  }
  expect((await client(port).send(get(1)).responses(1))[0]).toBe(ok("plain"));
});

describe("when there are as many clients as may be", () => {
  test("the one that was idle longest makes room", async () => {
    const a = await upstream("a");
    const { port } = await ingressTo([a.at], { clientsMax: 3, clientIdleMinMs: 20 });
    const all = [client(port), client(port), client(port)];
    for (const c of all) await c.send(get(1)).responses(1);
    await all[0]!.send(get(2)).responses(2);
    await new Promise((resolve) => setTimeout(resolve, 60));
    const fourth = client(port);
    expect((await fourth.send(get(4)).responses(1))[0]).toBe(ok("a"));
    await eventually(() => all[1]!.ended, "the second is closed");
  });

  test("and all are busy: a new one gets 503 and its end, not a reset", async () => {
    const held: Seen[] = [];
    const a = await upstream("a", (seen) => void held.push(seen));
    const { port, ingress } = await ingressTo([a.at], { clientsMax: 2 });
    const busy = [client(port).send(get(1)), client(port).send(get(2))];
    await eventually(() => held.length === 2, "both are busy");
    const third = client(port).send(post(3));
    const text = await third.end();
    expect(statusOf(text)).toBe(503);
    expect(text).toContain("Retry-After: 1\r\n");
    expect(text).toContain("Connection: close\r\n");
    expect(held.length).toBe(2);
    for (const seen of held) seen.socket.write(ok("x"));
    for (const c of busy) expect((await c.responses(1))[0]).toBe(ok("x"));
    busy[0]!.close();
    await eventually(() => third.closed || third.ended, "the third has gone");
    third.close();
    expect(ingress.counters).toEqual({ requests: 3, failures: 1, retries: 0 });
    const fourth = client(port).send(get(4));
    await eventually(() => held.length === 3, "there is room again");
    held[2]!.socket.write(ok("4"));
    expect((await fourth.responses(1))[0]).toBe(ok("4"));
  });
});
