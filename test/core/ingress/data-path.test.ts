import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Client,
  type Seen,
  type TestIngress,
  type TestUpstream,
  ask,
  eventually,
  ok,
  startIngress,
  startUpstream,
  statusOf,
} from "./harness.ts";
import { closedAfterEach } from "./to-close.ts";

const open = closedAfterEach();

async function withUpstream(answer?: ((seen: Seen) => void) | null): Promise<[TestIngress, TestUpstream]> {
  const upstream = await startUpstream("a", answer);
  const ingress = await startIngress([upstream.at]);
  open.push(upstream, ingress);
  return [ingress, upstream];
}

function client(port: number, keepText = true): Client {
  const it = new Client(port, keepText);
  open.push(it);
  return it;
}

const get = (path = "/", fields = "") => `GET ${path} HTTP/1.1\r\nHost: h\r\n${fields}\r\n`;

test("a request reaches the upstream and its response the client, on kept connections", async () => {
  const [{ port }, upstream] = await withUpstream();
  const c = client(port);
  for (let i = 1; i <= 3; i++) {
    c.send(get(`/${i}`));
    expect((await c.responses(i)).at(-1)).toBe(ok("a"));
  }
  expect(upstream.seen.map((s) => s.head.split("\r\n")[0])).toEqual([
    "GET /1 HTTP/1.1",
    "GET /2 HTTP/1.1",
    "GET /3 HTTP/1.1",
  ]);
  expect(upstream.seen.map((s) => s.nth)).toEqual([0, 1, 2]);
  expect(upstream.seen[0]!.head).toContain("\r\nX-Forwarded-For: 127.0.0.1\r\n");
});

test("pipelined requests are answered in order", async () => {
  // The first answer is late: the others must not overtake it.
  const [{ port }] = await withUpstream((seen) => {
    const path = seen.head.split(" ")[1]!;
    setTimeout(() => seen.socket.write(ok(path)), path === "/0" ? 60 : 0);
  });
  const c = client(port);
  c.send(Array.from({ length: 20 }, (_, i) => get(`/${i}`)).join(""));
  const bodies = (await c.responses(20)).map((r) => r.split("\r\n\r\n")[1]);
  expect(bodies).toEqual(Array.from({ length: 20 }, (_, i) => `/${i}`));
});

test("a head in single bytes, and a body behind it", async () => {
  const [{ port }, upstream] = await withUpstream();
  const c = client(port);
  c.socket.setNoDelay(true);
  for (const byte of "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello") {
    c.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await c.responses(1);
  expect(upstream.seen[0]!.body).toBe("hello");
});

test("HEAD, 204 and 304 have no body, whatever their fields say", async () => {
  const [{ port }] = await withUpstream((seen) => {
    const path = seen.head.split(" ")[1];
    if (path === "/head") seen.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    else if (path === "/304") seen.socket.write("HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n");
    else if (path === "/204") seen.socket.write("HTTP/1.1 204 N\r\n\r\n");
    else seen.socket.write(ok("end"));
  });
  const c = client(port);
  c.send(`HEAD /head HTTP/1.1\r\nHost: h\r\n\r\n${get("/304")}${get("/204")}${get("/x")}`);
  await c.until((text) => text.endsWith("end"));
  expect(c.text.match(/HTTP\/1\.1 \d+/g)).toEqual([
    "HTTP/1.1 200",
    "HTTP/1.1 304",
    "HTTP/1.1 204",
    "HTTP/1.1 200",
  ]);
});

describe("bodies", () => {
  test("chunked requests pass with their framing, and trailers", async () => {
    const [{ port }, upstream] = await withUpstream();
    const c = client(port);
    const body = "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
    c.send(`POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${body}${get("/next")}`);
    await c.responses(2);
    expect(upstream.seen.map((s) => s.body)).toEqual([body, ""]);
  });

  test("a malformed chunk is refused with 400 before anything of it is whole upstream", async () => {
    const [{ port }, upstream] = await withUpstream();
    const text = await ask(
      port,
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n",
    );
    expect(statusOf(text)).toBe(400);
    expect(text).toContain("Dvs-Reason: a chunk extension");
    expect(upstream.seen).toEqual([]);
  });

  test("chunked responses pass with their framing", async () => {
    const body = "5\r\nhello\r\n0\r\n\r\n";
    const [{ port }] = await withUpstream((seen) => {
      seen.socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body.slice(0, 7)}`);
      setTimeout(() => seen.socket.write(body.slice(7)), 20);
    });
    const c = client(port);
    c.send(get());
    const text = await c.until((t) => t.endsWith("0\r\n\r\n"));
    expect(text).toBe(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body}`);
    c.send(get());
    await c.until((t) => t.length === 2 * text.length);
  });

  test("an HTTP/1.0 client gets chunked content without the framing, and then the end", async () => {
    const [{ port }] = await withUpstream((seen) => {
      seen.socket.write(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
      );
    });
    const text = await ask(port, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(text).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello!");
  });

  test("an HTTP/1.0 client may keep its connection", async () => {
    const [{ port }, upstream] = await withUpstream();
    const c = client(port);
    const request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    c.send(request);
    expect((await c.responses(1))[0]).toContain("Connection: keep-alive");
    c.send(request);
    await c.responses(2);
    expect(upstream.seen[0]!.head).toContain(`Host: 127.0.0.1:${port}`);
    expect(statusOf(await ask(port, "GET / HTTP/1.0\r\n\r\n"))).toBe(200);
  });

  test("a response that ends with its connection ends the client's, too", async () => {
    const [{ port }] = await withUpstream((seen) => {
      seen.socket.write("HTTP/1.1 200 OK\r\n\r\nall of it");
      setTimeout(() => seen.socket.end(), 20);
    });
    const text = await ask(port, get());
    expect(text).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it");
  });

  test("64 MB in both directions arrive unchanged", async () => {
    const size = 64 << 20;
    const echo = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      maxRequestBodySize: 2 * size,
      fetch: async (request) => {
        const hash = new Bun.CryptoHasher("sha256");
        for await (const chunk of request.body ?? []) hash.update(chunk);
        return new Response(request.method === "PUT" ? hash.digest("hex") : new Uint8Array(size).fill(7));
      },
    });
    const ingress = await startIngress([
      { node: "a", host: "127.0.0.1", port: echo.port!, incarnation: "1" },
    ]);
    open.push(ingress, { close: () => echo.stop(true) });
    const body = new Uint8Array(size).map((_, i) => (i * 31) >> 3);
    const url = `http://127.0.0.1:${ingress.port}/`;
    const answer = await fetch(url, { method: "PUT", body });
    expect(await answer.text()).toBe(new Bun.CryptoHasher("sha256").update(body).digest("hex"));
    const down = new Uint8Array(await (await fetch(url)).arrayBuffer());
    expect(down.length).toBe(size);
    expect(down.every((b) => b === 7)).toBe(true);
  });
});

describe("back-pressure", () => {
  test("a slow client stops the upstream, not our memory", async () => {
    const total = 256 << 20;
    let produced = 0;
    const [{ port }] = await withUpstream(({ socket }) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
      const chunk = Buffer.alloc(1 << 20);
      const pump = () => {
        while (produced < total) {
          produced += chunk.length;
          if (!socket.write(chunk)) return void socket.once("drain", pump);
        }
      };
      pump();
    });
    const c = client(port, false);
    c.socket.pause();
    c.send(get());
    await eventually(() => produced > 0, "the response begins");
    let before = -1;
    while (before !== produced) {
      before = produced;
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    // Kernel buffers on both sides and one chunk of ours; all of it would be 256 MB.
    expect(produced).toBeLessThan(64 << 20);
    c.socket.resume();
    await eventually(() => c.bytes > total, "the whole response");
  });

  test("a slow upstream stops the client", async () => {
    const upstream = await startUpstream("a", null);
    upstream.server.on("connection", (socket) => socket.pause());
    const ingress = await startIngress([upstream.at]);
    open.push(upstream, ingress);
    const c = client(ingress.port);
    c.send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${256 << 20}\r\n\r\n`);
    let sent = 0;
    const chunk = Buffer.alloc(1 << 20);
    const pump = () => {
      while (sent < 256 << 20) {
        sent += chunk.length;
        if (!c.socket.write(chunk)) return void c.socket.once("drain", pump);
      }
    };
    pump();
    let before = -1;
    while (before !== sent) {
      before = sent;
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    expect(sent).toBeLessThan(64 << 20);
  });

  test("a client that pipelines and reads nothing is not served for ever", async () => {
    const body = "x".repeat(100_000);
    const [{ port }, upstream] = await withUpstream((seen) => seen.socket.write(ok(body)));
    const c = client(port, false);
    c.socket.pause();
    c.send(get().repeat(2_000));
    let before = -1;
    while (before !== upstream.seen.length) {
      before = upstream.seen.length;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(upstream.seen.length).toBeLessThan(300);
    c.socket.resume();
    await eventually(() => upstream.seen.length === 2_000, "the rest, once it reads");
  });
});

describe("expectations", () => {
  test("100 Continue comes before the body is sent", async () => {
    const [{ port }, upstream] = await withUpstream();
    const c = client(port);
    c.send("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    await c.until((text) => text === "HTTP/1.1 100 Continue\r\n\r\n");
    c.send("ok");
    await c.until((text) => text.endsWith(ok("a")));
    expect(upstream.seen[0]!.body).toBe("ok");
    expect(upstream.seen[0]!.head.toLowerCase()).not.toContain("expect:");
  });

  test("early hints pass, a stray 100 does not", async () => {
    const [{ port }] = await withUpstream((seen) => {
      seen.socket.write(
        `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok("x")}`,
      );
    });
    const c = client(port);
    c.send(get());
    expect(await c.until((text) => text.endsWith(ok("x")))).toBe(
      `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok("x")}`,
    );
  });
});

describe("ends", () => {
  test("an early response closes the connection behind it and stops the upload", async () => {
    const upstream = await startUpstream("a", null);
    upstream.server.on("connection", (socket) =>
      socket.on("data", (bytes: Buffer) => {
        if (bytes.toString("latin1").startsWith("POST")) {
          socket.write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
        }
      }),
    );
    const ingress = await startIngress([upstream.at]);
    open.push(upstream, ingress);
    const text = await ask(
      ingress.port,
      `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n${"x".repeat(200_000)}`,
    );
    expect(text).toBe("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
  });

  test("a client that closed its side after the request still gets the answer", async () => {
    const [{ port }] = await withUpstream((seen) => setTimeout(() => seen.socket.write(ok("late")), 50));
    const c = client(port);
    c.socket.end(get() + get());
    expect(await c.end()).toBe(ok("late") + ok("late"));
  });

  test("also when its long request was still on the way", async () => {
    const [{ port }, upstream] = await withUpstream();
    const c = client(port);
    const body = "x".repeat(1_000_000);
    c.socket.end(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    expect(await c.end()).toBe(ok("a"));
    expect(upstream.seen[0]!.body.length).toBe(body.length);
  });

  test("Connection: close is obeyed and announced", async () => {
    const [{ port }] = await withUpstream();
    expect(await ask(port, get("/", "Connection: close\r\n"))).toBe(
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\na",
    );
  });

  test("a client that goes away takes its upstream request along", async () => {
    const [{ port }, upstream] = await withUpstream(null);
    const c = client(port);
    c.send(get());
    await eventually(() => upstream.seen.length === 1, "the request");
    const { socket } = upstream.seen[0]!;
    c.socket.resetAndDestroy();
    await eventually(() => socket.destroyed, "the upstream's connection ends");
  });

  test("a request that is cut short never becomes whole upstream", async () => {
    const [{ port }, upstream] = await withUpstream();
    const c = client(port);
    c.socket.end("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    await c.end();
    expect(upstream.seen).toEqual([]);
  });

  test("an upstream that closes idle connections costs no error", async () => {
    const [{ port, ingress }, upstream] = await withUpstream();
    const c = client(port);
    for (let i = 1; i <= 20; i++) {
      c.send(get());
      expect(statusOf((await c.responses(i)).at(-1)!)).toBe(200);
      for (const socket of upstream.connections) socket.end();
      if (i % 2 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(ingress.counters.failures).toBe(0);
  });

  test("a response that breaks off is not taken for a whole one", async () => {
    const [{ port, ingress }] = await withUpstream((seen) => {
      seen.socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
      setTimeout(() => seen.socket.resetAndDestroy(), 20);
    });
    const text = await ask(port, get());
    expect(text.endsWith("hello\r\n")).toBe(true);
    expect(ingress.counters.failures).toBe(1);
  });
});

describe("refusals", () => {
  test("a malformed head gets 400 with its reason, and the connection closes", async () => {
    const [{ port }, upstream] = await withUpstream();
    const text = await ask(port, "GET / HTTP/1.1\nHost: h\r\n\r\n");
    expect(statusOf(text)).toBe(400);
    expect(text).toContain("Dvs-Reason: a bare LF instead of CRLF\r\n");
    expect(text).toContain("Connection: close\r\n");
    expect(upstream.seen).toEqual([]);
  });

  test("requests before a malformed one are answered first, those behind it never", async () => {
    const [{ port }, upstream] = await withUpstream();
    const text = await ask(port, `${get("/good")}GET / HTTP/1.1\r\nHost : h\r\n\r\n${get("/smuggled")}`);
    expect(text.startsWith(ok("a"))).toBe(true);
    expect(statusOf(text.slice(ok("a").length))).toBe(400);
    expect(upstream.seen).toHaveLength(1);
  });

  test("a head that is too large gets 431", async () => {
    const [{ port }] = await withUpstream();
    expect(statusOf(await ask(port, get("/", `A: ${"x".repeat(20_000)}\r\n`)))).toBe(431);
  });

  const malformed: [string, string][] = [
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"],
    ["a bare LF", "HTTP/1.1 200 OK\nContent-Length: 1\r\n\r\nx"],
    ["another protocol", "220 smtp ready\r\n"],
    ["a malformed chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
    ["101 that nobody asked for", "HTTP/1.1 101 Switching\r\n\r\n"],
  ];
  for (const [name, bytes] of malformed) {
    test(`a response with ${name} becomes 502, and the connection goes on`, async () => {
      const [{ port }] = await withUpstream((seen) => seen.socket.write(bytes));
      const c = client(port);
      c.send(get());
      const [response] = await c.responses(1);
      expect(statusOf(response!)).toBe(502);
      expect(response).toMatch(/Dvs-Reason: the container of "web" on node a sent a malformed response: /);
      c.send(get());
      await c.responses(2);
    });
  }

  test("bytes behind a response are not taken for the next one", async () => {
    const [{ port }, upstream] = await withUpstream((seen) =>
      seen.socket.write(`${ok("mine")}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`),
    );
    const c = client(port);
    for (let i = 1; i <= 5; i++) {
      c.send(get());
      expect((await c.responses(i)).at(-1)).toBe(ok("mine"));
    }
    // Nothing else is ever sent on such a connection.
    expect(upstream.seen.map((s) => s.nth)).toEqual([0, 0, 0, 0, 0]);
  });

  test("without any upstream there is 503 with Retry-After and the reason", async () => {
    const ingress = await startIngress([]);
    open.push(ingress);
    const c = client(ingress.port);
    c.send(get());
    const [response] = await c.responses(1);
    expect(statusOf(response!)).toBe(503);
    expect(response).toContain("Retry-After: 1\r\n");
    expect(response).toContain('Dvs-Reason: instance "web" has no container that was ever ready\r\n');
    c.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    await c.until((text) => text.split("HTTP/1.1 503").length === 3);
    expect(c.text.endsWith("\r\n\r\n")).toBe(true);
  });
});

describe("websocket", () => {
  test("is tunnelled both ways, and ends on both sides", async () => {
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: (request, it) => (it.upgrade(request) ? undefined : new Response("plain")),
      websocket: { message: (ws, message) => void ws.send(message) },
    });
    const ingress = await startIngress([
      { node: "a", host: "127.0.0.1", port: server.port!, incarnation: "1" },
    ]);
    open.push(ingress, { close: () => server.stop(true) });
    const ws = new WebSocket(`ws://127.0.0.1:${ingress.port}/`);
    const got: string[] = [];
    const big = "b".repeat(300_000);
    ws.addEventListener("message", (e) => got.push(String(e.data)));
    await new Promise((resolve) => {
      ws.addEventListener("open", resolve);
    });
    ws.send("one");
    ws.send(big);
    await eventually(() => got.length === 2, "both echoes");
    expect(got).toEqual(["one", big]);
    const closed = new Promise((resolve) => {
      ws.addEventListener("close", resolve);
    });
    ws.close();
    await closed;
  });

  test("bytes on the heels of the upgrade are not parsed as a request", async () => {
    const [{ port }, upstream] = await withUpstream((seen) => {
      if (!seen.head.includes("Upgrade")) return;
      seen.socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst",
      );
    });
    const c = client(port);
    c.send(`${get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n")}\0\0raw\r\n\r\n`);
    await c.until((text) => text.endsWith("\r\n\r\nfirst"));
    await eventually(() => upstream.seen.length === 2, "the raw bytes");
    expect(upstream.seen[1]!.head).toBe("\0\0raw");
  });

  test("an upgrade that is declined leaves an ordinary connection", async () => {
    const [{ port }] = await withUpstream();
    const c = client(port);
    c.send(get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n") + get("/2"));
    await c.responses(2);
  });
});

test("a local container is reached by its Unix socket, and preferred", async () => {
  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  const socket = join(dir, "http.sock");
  const local = Bun.serve({ unix: socket, fetch: () => new Response("local") });
  const remote = await startUpstream("b");
  const ingress = await startIngress([remote.at], { local: { socket, incarnation: "l1" } });
  open.push(
    remote,
    { close: () => local.stop(true) },
    { close: () => rmSync(dir, { recursive: true }) },
    ingress,
  );
  const c = client(ingress.port);
  for (let i = 1; i <= 4; i++) {
    c.send(get());
    expect((await c.responses(i)).at(-1)).toEndWith("local");
  }
  expect(ingress.ingress.upstreams.map((u) => [u.node, u.requests])).toEqual([
    ["self", 4],
    ["b", 0],
  ]);
});
