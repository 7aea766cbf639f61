import { describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { once } from "node:events";
import {
  Client,
  type Seen,
  type TestIngress,
  type TestUpstream,
  eventually,
  ok,
  startIngress,
  startUpstream,
  statusOf,
} from "./harness.ts";
import { closedAfterEach } from "./to-close.ts";

const open = closedAfterEach();

/** Two upstreams, the first of which gets the first request. */
async function pair(
  first: ((seen: Seen) => void) | null,
  second?: ((seen: Seen) => void) | null,
): Promise<[TestIngress, TestUpstream, TestUpstream]> {
  const a = await startUpstream("a", first);
  const b = await startUpstream("b", second);
  const ingress = await startIngress([a.at, b.at]);
  open.push(a, b, ingress);
  return [ingress, a, b];
}

async function answer(port: number, request: string): Promise<string> {
  const c = new Client(port);
  open.push(c);
  c.send(request);
  return (await c.responses(1))[0]!;
}

const request = (method: string, body = "") =>
  `${method} /x HTTP/1.1\r\nHost: h\r\n${body ? `Content-Length: ${body.length}\r\n` : ""}\r\n${body}`;

const reset = (seen: Seen) => void seen.socket.resetAndDestroy();
const close = (seen: Seen) => void seen.socket.end();

describe("an upstream that dies after it has read the request", () => {
  for (const [how, die] of [
    ["reset", reset],
    ["close", close],
  ] as const) {
    for (const [method, body] of [
      ["GET", ""],
      ["OPTIONS", ""],
      ["DELETE", ""],
      ["PUT", "the whole body"],
    ] as const) {
      test(`${method} is answered by the other (${how})`, async () => {
        const [{ port, ingress }, a, b] = await pair(die);
        expect(await answer(port, request(method, body))).toBe(ok("b"));
        expect(a.seen.map((s) => s.body)).toEqual([body]);
        expect(b.seen.map((s) => s.body)).toEqual([body]);
        expect(ingress.counters).toEqual({ requests: 1, failures: 0, retries: 1 });
      });
    }

    for (const method of ["POST", "PATCH", "PURGE"]) {
      test(`${method} is not sent again, and told so (${how})`, async () => {
        const [{ port, ingress }, , b] = await pair(die);
        const text = await answer(port, request(method, "body"));
        expect(statusOf(text)).toBe(502);
        expect(text).toMatch(/Dvs-Reason: .* on node a failed: .*; it may or may not have been carried out/);
        expect(b.seen).toEqual([]);
        expect(ingress.counters).toEqual({ requests: 1, failures: 1, retries: 0 });
      });
    }
  }

  test("a chunked PUT that is kept is sent again as it was", async () => {
    const [{ port }, , b] = await pair(reset);
    const body = "4\r\nabcd\r\n0\r\n\r\n";
    const text = await answer(port, `PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${body}`);
    expect(text).toBe(ok("b"));
    expect(b.seen[0]!.body).toBe(body);
  });

  test("a PUT that is still being sent goes on at the other", async () => {
    const a = await startUpstream("a", null);
    a.server.on("connection", (socket) =>
      socket.on("data", (bytes: Buffer) => {
        if (bytes.toString("latin1").startsWith("PUT")) socket.resetAndDestroy();
      }),
    );
    const b = await startUpstream("b");
    const ingress = await startIngress([a.at, b.at]);
    open.push(a, b, ingress);
    const c = new Client(ingress.port);
    open.push(c);
    c.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n01234");
    await eventually(() => ingress.ingress.counters.retries === 1, "the retry");
    c.send("56789");
    expect((await c.responses(1))[0]).toBe(ok("b"));
    expect(b.seen[0]!.body).toBe("0123456789");
  });

  test("a PUT too large to keep is not sent again", async () => {
    const [{ port }, , b] = await pair(reset);
    const text = await answer(port, request("PUT", "x".repeat(100_000)));
    expect(statusOf(text)).toBe(502);
    expect(text).toContain("too large to keep");
    expect(b.seen).toEqual([]);
  });

  test("there is one retry, not two", async () => {
    const [{ port, ingress }, a, b] = await pair(reset, reset);
    expect(statusOf(await answer(port, request("GET")))).toBe(502);
    expect(a.seen.length + b.seen.length).toBe(2);
    expect(ingress.counters).toEqual({ requests: 1, failures: 1, retries: 1 });
  });
});

test("an upstream that dies in the middle of its response breaks the client's connection, too", async () => {
  const [{ port, ingress }, , b] = await pair((seen) => {
    seen.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
    setTimeout(() => seen.socket.resetAndDestroy(), 30);
  });
  const c = new Client(port);
  open.push(c);
  c.send(request("GET"));
  expect(await c.end()).toEndWith("part");
  await eventually(() => c.closed, "the client's connection closes");
  expect(b.seen).toEqual([]);
  expect(ingress.counters.failures).toBe(1);
});

describe("an upstream that was never reached", () => {
  /** A port that refuses connections. */
  async function refusing() {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    server.close();
    await once(server, "close");
    return { node: "dead", host: "127.0.0.1", port: (address as { port: number }).port, incarnation: "1" };
  }

  for (const method of ["GET", "POST", "PATCH"]) {
    test(`${method} goes to another`, async () => {
      const b = await startUpstream("b");
      const ingress = await startIngress([await refusing(), b.at]);
      open.push(b, ingress);
      expect(await answer(ingress.port, request(method, method === "GET" ? "" : "body"))).toBe(ok("b"));
      expect(ingress.ingress.counters.failures).toBe(0);
    });
  }

  test("is not chosen again before a probe has found it good", async () => {
    const b = await startUpstream("b");
    const ingress = await startIngress([await refusing(), b.at]);
    open.push(b, ingress);
    for (let i = 0; i < 10; i++) await answer(ingress.port, request("GET"));
    const dead = ingress.ingress.upstreams.find((u) => u.node === "dead")!;
    expect(dead.healthy).toBe(false);
    expect(dead.reason).toBe("ECONNREFUSED");
    expect(dead.requests).toBeLessThanOrEqual(1);
  });

  test("and there is no other: 503 with the reason, and Retry-After", async () => {
    const ingress = await startIngress([await refusing()]);
    open.push(ingress);
    const text = await answer(ingress.port, request("POST", "body"));
    expect(statusOf(text)).toBe(503);
    expect(text).toContain("ECONNREFUSED");
    expect(text).toContain("Retry-After: 1\r\n");
  });
});

test("an upstream that is only slow is waited for", async () => {
  const [{ port, ingress }, a, b] = await pair((seen) =>
    setTimeout(() => seen.socket.write(ok("slow")), 1_200),
  );
  expect(await answer(port, request("GET"))).toBe(ok("slow"));
  expect([a.seen.length, b.seen.length]).toEqual([1, 0]);
  expect(ingress.counters.retries).toBe(0);
});

test("an old connection that had died is replaced by a new one to the same upstream, for what may be sent again", async () => {
  // Each connection serves one request and is reset by the second.
  const a = await startUpstream("a", (seen) => {
    if (seen.nth === 0) seen.socket.write(ok("a"));
    else seen.socket.resetAndDestroy();
  });
  const ingress = await startIngress([a.at]);
  open.push(a, ingress);
  expect(await answer(ingress.port, request("GET"))).toBe(ok("a"));
  expect(await answer(ingress.port, request("GET"))).toBe(ok("a"));
  expect(ingress.ingress.counters).toEqual({ requests: 2, failures: 0, retries: 1 });
});

test("POST does not go on a connection that was idle for more than a second", async () => {
  const a = await startUpstream("a");
  const ingress = await startIngress([a.at]);
  open.push(a, ingress);
  await answer(ingress.port, request("GET"));
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await answer(ingress.port, request("POST", "x"));
  await answer(ingress.port, request("POST", "x"));
  expect(a.seen.map((s) => s.nth)).toEqual([0, 0, 1]);
});

describe("an upstream that probes find stopped", () => {
  test("GET and PUT under way are tried elsewhere, POST waits and is answered when it goes on", async () => {
    const waiting: Seen[] = [];
    const [{ port, ingress }, a, b] = await pair(
      (seen) => void waiting.push(seen),
      (seen) => seen.socket.write(ok("b")),
    );
    await eventually(() => ingress.upstreams.every((u) => u.healthy), "both are healthy");
    const ask = (method: string, body: string) => {
      const c = new Client(port);
      open.push(c);
      return { c, sent: c.send(request(method, body)) };
    };
    // Turns alternate: every second request goes to a.
    const clients = ["GET", "PUT", "POST"].flatMap((method) => [
      ask(method, method === "GET" ? "" : "body").c,
      ask("GET", "").c,
    ]);
    await eventually(() => waiting.length === 3 && b.seen.length >= 3, "half of them wait");
    const held = waiting.find((seen) => seen.head.startsWith("POST"));
    a.answersProbes = false;
    const stuck = waiting.length;
    const safe = waiting.filter((seen) => !seen.head.startsWith("POST")).length;
    await eventually(() => ingress.counters.retries === safe, "what is safe is retried");
    held?.socket.write(ok("late"));
    for (const c of clients) expect(statusOf((await c.responses(1))[0]!)).toBe(200);
    expect(stuck).toBe(3);
    expect(ingress.counters.failures).toBe(0);
  });

  test("with no other upstream nothing is cancelled", async () => {
    const waiting: Seen[] = [];
    const a = await startUpstream("a", (seen) => void waiting.push(seen));
    const ingress = await startIngress([a.at]);
    open.push(a, ingress);
    const c = new Client(ingress.port);
    open.push(c);
    c.send(request("GET"));
    await eventually(() => waiting.length === 1, "the request waits");
    a.answersProbes = false;
    await eventually(() => !ingress.ingress.upstreams[0]!.healthy, "it is suspect");
    await new Promise((resolve) => setTimeout(resolve, 600));
    waiting[0]!.socket.write(ok("late"));
    expect((await c.responses(1))[0]).toBe(ok("late"));
  });

  test("it gets requests again after one good probe", async () => {
    const [{ port, ingress }, a] = await pair((seen) => seen.socket.write(ok("a")));
    a.answersProbes = false;
    await eventually(() => ingress.upstreams.some((u) => !u.healthy), "it is suspect");
    a.answersProbes = true;
    await eventually(() => ingress.upstreams.every((u) => u.healthy), "it is healthy again");
    const bodies = [await answer(port, request("GET")), await answer(port, request("GET"))];
    expect(bodies.toSorted()).toEqual([ok("a"), ok("b")]);
  });
});
