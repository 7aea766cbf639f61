/** Requests, answers and streams over one link. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { failure } from "../trust/lab.ts";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { connect as connectHttp2 } from "node:http2";
import { DvsError } from "../../../core/errors.ts";
import { parseNdjson, readLines, toLine } from "../../../core/transport/ndjson.ts";
import { proxy, refusal, until, world } from "./link.ts";
import type { Proxy, World } from "./link.ts";

let w: World;
let address: string;
let port: number;
const cancelled: string[] = [];
const aborted: string[] = [];
const uploads: string[] = [];
const bytes = (text: string) => new TextEncoder().encode(text);

beforeAll(async () => {
  w = await world();
  const { address: at, server } = await w.serve({ fetch: handle });
  address = at;
  port = server.port;
});
afterAll(() => w.end());

async function handle(request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  if (pathname === "/echo") return new Response(request.body);
  if (pathname === "/head") {
    return Response.json({ method: request.method, search, x: request.headers.get("x-test") });
  }
  if (pathname === "/empty") return new Response(null, { status: 204 });
  if (pathname === "/refuse") throw new DvsError("CONFLICT", "the name is taken");
  if (pathname === "/defect") throw new Error("a defect");
  if (pathname === "/hang") {
    request.signal.addEventListener("abort", () => aborted.push(pathname));
    return new Promise(() => {});
  }
  if (pathname === "/early") return new Response("enough", { status: 413 });
  if (pathname === "/upload") {
    let size = 0;
    try {
      for await (const part of request.body!) size += part.length;
      uploads.push("whole");
    } catch {
      uploads.push("cut");
    }
    return Response.json({ size });
  }
  if (pathname === "/watch" || pathname === "/quiet") {
    let n = 0;
    let timer: ReturnType<typeof setInterval>;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(bytes(toLine({ n: n++ })));
        if (pathname === "/watch")
          timer = setInterval(() => controller.enqueue(bytes(toLine({ n: n++ }))), 5);
      },
      cancel() {
        clearInterval(timer);
        cancelled.push(pathname);
      },
    });
    return new Response(body, { headers: { "content-type": "application/x-ndjson" } });
  }
  if (pathname === "/break") {
    let n = 0;
    return new Response(
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          if (n++ === 0) return controller.enqueue(bytes("first half, "));
          await new Promise((resolve) => setTimeout(resolve, 20));
          throw new Error("the disk failed");
        },
      }),
    );
  }
  return new Response("not here", { status: 404 });
}

test("method, query, headers and status arrive; statuses are not errors", async () => {
  const c = w.client(address, { headers: { "x-test": "1" } });
  const answer = await c.request({ method: "PUT", path: "/head?a=%20b", body: "x" });
  expect(await answer.json()).toEqual({ method: "PUT", search: "?a=%20b", x: "1" });
  expect((await c.request({ method: "GET", path: "/nowhere" })).status).toBe(404);
  const empty = await c.request({ method: "DELETE", path: "/empty" });
  expect([empty.status, empty.body]).toEqual([204, null]);
  const head = await c.request({ method: "HEAD", path: "/head" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
});

test("a DvsError of the handler arrives with its code; a defect is reported and hides nothing but its stack", async () => {
  const c = w.client(address);
  const refused = await c.request({ method: "POST", path: "/refuse" });
  expect(refused.status).toBe(409);
  expect(DvsError.fromBody(await refused.json()).message).toBe("the name is taken");
  const before = w.faults.length;
  const defect = await c.request({ method: "POST", path: "/defect" });
  expect(defect.status).toBe(500);
  expect(DvsError.fromBody(await defect.json()).code).toBe("INTERNAL");
  expect(w.faults.length).toBe(before + 1);
});

test("one connection carries one request after the other", async () => {
  const between = await proxy(() => port);
  const c = w.client(between.address);
  for (let i = 0; i < 20; i++)
    await (await c.request({ method: "POST", path: "/echo", body: `${i}` })).text();
  expect(between.count).toBe(1);
  await between.close();
});

describe("a body of any form and size comes back as it was sent", () => {
  for (const size of [0, 1, 16_384, 16_385, 3_000_000]) {
    test(`${size} bytes`, async () => {
      const body = new Uint8Array(size).map((_, i) => (i * 31) % 251);
      const c = w.client(address);
      const whole = await c.request({ method: "POST", path: "/echo", body });
      expect(Buffer.from(await whole.arrayBuffer()).equals(body)).toBe(true);
      const stream = () => new Blob([body]).stream() as ReadableStream<Uint8Array>;
      const chunked = await c.request({ method: "POST", path: "/echo", body: stream() });
      expect(Buffer.from(await chunked.arrayBuffer()).equals(body)).toBe(true);
      const headers = { "content-length": `${size}` };
      const counted = await c.request({ method: "POST", path: "/echo", body: stream(), headers });
      expect(Buffer.from(await counted.arrayBuffer()).equals(body)).toBe(true);
    });
  }
});

test("a request body of another length than declared, or that fails, breaks the request and is no whole upload", async () => {
  const c = w.client(address);
  const short = new Blob(["abc"]).stream() as ReadableStream<Uint8Array>;
  const headers = { "content-length": "5" };
  expect(await refusal(c.request({ method: "PUT", path: "/upload", body: short, headers }))).toMatch(
    /^INTERNAL/,
  );
  let n = 0;
  const failing = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (n++ === 0) controller.enqueue(bytes("part"));
      else throw new Error("file vanished");
    },
  });
  expect(await refusal(c.request({ method: "PUT", path: "/upload", body: failing }))).toContain(
    "file vanished",
  );
  await until(() => uploads.length >= 2);
  expect(uploads).toEqual(["cut", "cut"]);
});

test("an answer may come before the upload has ended", async () => {
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
  });
  const answer = await w.client(address).request({ method: "POST", path: "/early", body: endless });
  expect([answer.status, await answer.text()]).toEqual([413, "enough"]);
});

describe("a watch", () => {
  test("delivers its lines as they come, and leaving the loop cancels it at the server", async () => {
    const answer = await w.client(address).request({ method: "GET", path: "/watch" });
    const got: unknown[] = [];
    for await (const value of parseNdjson(answer.body, (v) => v)) {
      got.push(value);
      if (got.length === 3) break;
    }
    expect(got).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }]);
    await until(() => cancelled.includes("/watch"));
  });

  test("that is silent is cancelled as well, by the signal", async () => {
    const stop = new AbortController();
    const answer = await w.client(address).request({ method: "GET", path: "/quiet", signal: stop.signal });
    const lines = readLines(answer.body);
    expect((await lines.next()).value).toBe(toLine({ n: 0 }).trim());
    stop.abort(new Error("enough"));
    expect(await failure(lines.next())).toContain("enough");
    await until(() => cancelled.includes("/quiet"));
  });
});

test("a handler learns from its signal that the client has left", async () => {
  const stop = new AbortController();
  const hanging = w.client(address).request({ method: "GET", path: "/hang", signal: stop.signal });
  await until(() => w.seen.some((r) => r.path === "/hang"));
  stop.abort(new Error("left"));
  expect(await failure(hanging)).toContain("left");
  await until(() => aborted.includes("/hang"));
});

describe("an answer that is cut is an error", () => {
  const cutShort = "in the middle of its answer";

  test("when the server's stream fails", async () => {
    const answer = await w.client(address).request({ method: "GET", path: "/break" });
    expect(await failure(answer.text())).toContain(cutShort);
  });

  for (const how of ["end", "destroy"] as const) {
    test(`when the connection is cut by ${how === "end" ? "a clean FIN without TLS's own goodbye" : "force"}`, async () => {
      const between: Proxy = await proxy(() => port);
      const answer = await w.client(between.address).request({ method: "GET", path: "/quiet" });
      const lines = readLines(answer.body);
      await lines.next();
      between.cut(how);
      expect(await failure(lines.next())).toContain(cutShort);
      await between.close();
    });
  }

  test("when a stream ends inside a line", async () => {
    const body = new Blob(['{"a":1}\n{"b"']).stream() as ReadableStream<Uint8Array>;
    const read = async () => {
      for await (const line of readLines(body)) expect(line).toBe('{"a":1}');
    };
    expect(await failure(read())).toContain("in the middle of a line");
  });
});

describe("what a lost request means", () => {
  /** Cuts the connection each time the request has arrived. */
  async function lose(request: {
    method: string;
    idempotent?: boolean;
  }): Promise<{ text: string; times: number }> {
    const between = await proxy(() => port);
    const before = w.seen.length;
    const lost = refusal(w.client(between.address).request({ path: "/hang", ...request }));
    let arrived = before;
    const stop = setInterval(() => {
      if (w.seen.length > arrived) between.cut("destroy");
      arrived = w.seen.length;
    }, 5);
    const text = await lost;
    clearInterval(stop);
    await between.close();
    return { text, times: w.seen.length - before };
  }

  test("a POST may have been done: the outcome is unknown, and it is not sent again", async () => {
    const { text, times } = await lose({ method: "POST" });
    expect(text).toMatch(/^OUTCOME_UNKNOWN: POST \/hang: .*may or may not have been done/);
    expect(times).toBe(1);
  });

  test("a GET is sent again once, then it is unavailable", async () => {
    const { text, times } = await lose({ method: "GET" });
    expect(text).toMatch(/^UNAVAILABLE: GET \/hang/);
    expect(times).toBe(2);
  });

  test("the caller may say that a POST can be repeated", async () => {
    expect((await lose({ method: "POST", idempotent: true })).text).toMatch(/^UNAVAILABLE/);
  });

  test("no answer in time: TIMEOUT when harmless, OUTCOME_UNKNOWN when not", async () => {
    const c = w.client(address);
    expect(await refusal(c.request({ method: "GET", path: "/hang", timeoutMs: 100 }))).toMatch(/^TIMEOUT/);
    expect(await refusal(c.request({ method: "POST", path: "/hang", timeoutMs: 100 }))).toMatch(
      /^OUTCOME_UNKNOWN/,
    );
  });
});

describe("addresses", () => {
  test("that nobody listens on are passed over, and the one that works is remembered", async () => {
    const dead = await proxy(() => port);
    await dead.close();
    const c = w.client([dead.address, address]);
    for (let i = 0; i < 3; i++) expect((await c.request({ method: "GET", path: "/head" })).status).toBe(200);
  });

  test("that all fail are all named, with advice", async () => {
    const dead = await proxy(() => port);
    await dead.close();
    const text = await refusal(w.client([dead.address]).request({ method: "POST", path: "/head" }));
    expect(text).toContain(
      `UNAVAILABLE: Cannot reach ${dead.address}: nothing listens there. Check that the coordinator runs`,
    );
    expect(() => w.client(["10.0.0.1"])).toThrow("Write host:port");
    expect(() => w.client([])).toThrow("no coordinator's address");
  });

  test("that accept and stay silent cost the connect time-out, not for ever", async () => {
    const silent = createServer((socket) => void socket.on("error", () => {}));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const at = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const c = w.client([at, address], { connectTimeoutMs: 200 });
    expect((await c.request({ method: "GET", path: "/head" })).status).toBe(200);
    const alone = w.client(at, { connectTimeoutMs: 100 });
    expect(await refusal(alone.request({ method: "POST", path: "/head" }))).toMatch(
      /^UNAVAILABLE: Cannot reach/,
    );
    silent.close();
  });
});

test("HTTP/2 clients have their identity read from their certificate too, and stream", async () => {
  const session = connectHttp2(`https://${address}`, {
    ca: w.ca.certificate,
    cert: w.node.certificate,
    key: w.node.key,
    checkServerIdentity: () => undefined,
  });
  session.on("error", () => {});
  const before = w.seen.length;
  const stream = session.request({ ":path": "/echo", ":method": "POST" });
  stream.end("over two");
  let text = "";
  for await (const part of stream) text += String(part);
  session.destroy();
  expect(text).toBe("over two");
  expect(w.seen[before]?.identity).toEqual({ kind: "node", clusterId: "c1", nodeId: "n1" });
});

test("what would break a request's framing is refused before anything is sent", async () => {
  const c = w.client(address);
  for (const path of ["head", "/a b", "/a\r\nX: y", "/é"]) {
    expect(await refusal(c.request({ method: "GET", path }))).toMatch(/^INVALID/);
  }
  expect(await refusal(c.request({ method: "GET /x", path: "/" }))).toMatch(/^INVALID/);
  expect(await failure(c.request({ method: "GET", path: "/", headers: { "x-a": "1\r\nx-b: 2" } }))).toContain(
    "",
  );
});
