import { beforeEach, describe, expect, test } from "bun:test";
import { Admission } from "../../../core/ingress/admission-machine.ts";
import { ClientConnection } from "../../../core/ingress/client-connection.ts";
import { clientIdleMs, clientStallMs, lingerMs } from "../../../core/ingress/ingress-limits.ts";
import { hopOf } from "../../../core/ingress/http/rewrite.ts";
import { loadLimits } from "../../../core/ingress/load-limits.ts";
import { RetryBudget } from "../../../core/ingress/retry-machine.ts";
import type { RoutedPort } from "../../../core/ingress/routed-port.ts";
import { Upstream } from "../../../core/ingress/upstream.ts";
import { headReadTimeoutMs } from "../../../core/limits.ts";
import type { Stream, StreamUser } from "../../../core/platform/tcp.ts";

/** A stream that only remembers; `takes` false: the peer reads nothing. */
class FakeStream implements Stream {
  user!: StreamUser;
  queued = 0;
  remoteAddress = "10.0.0.9";
  text = "";
  log: string[] = [];
  takes = true;

  write(bytes: Buffer, start: number, end: number): boolean {
    this.text += bytes.toString("latin1", start, end);
    if (!this.takes) this.queued += end - start;
    return this.takes;
  }
  end(): void {
    this.log.push("end");
  }
  close(): void {
    this.log.push("close");
  }
  destroy(): void {
    this.log.push("destroy");
  }
  keepAlive(): void {}
  pause(): void {
    this.log.push("pause");
  }
  resume(): void {
    this.log.push("resume");
  }
}

let now = 0;
let port: RoutedPort;
let stream: FakeStream;
let client: ClientConnection;
beforeEach(() => {
  now = 1_000;
  port = {
    port: 80,
    open: true,
    admission: new Admission(loadLimits),
    nothingReason: "nothing here",
    budget: new RetryBudget({ share: 0.1, perSecond: 1, stockMax: 1 }, 0),
    counters: { requests: 0, failures: 0, retries: 0 },
    now: () => now,
  };
  stream = new FakeStream();
  client = new ClientConnection(stream, port, hopOf("10.0.0.9", "n1", "127.0.0.1", 80), {
    surplus: false,
    onGone() {},
  });
  stream.user = client;
});

/** An upstream whose connection does not come about within a test. */
function unreachable(): Upstream {
  const target = { address: { socket: "/nowhere.sock" }, tls: null };
  return new Upstream({
    key: "k",
    identity: { uid: "u1", node: "n2", incarnation: "1", local: false, instance: "web" },
    target: () => target,
    admission: port.admission,
    limits: loadLimits,
    now: () => now,
    onFailed() {},
    onIdleClosed() {},
  });
}

const send = (text: string) => client.onData(Buffer.from(text, "latin1"));
const after = (ms: number) => {
  now += ms;
  client.sweep(now);
};

describe("a head that comes slowly", () => {
  test("is refused with 408, counted from its first byte", () => {
    after(5_000);
    send("GET / HT");
    for (let i = 0; i < 9; i++) {
      after((headReadTimeoutMs - 100) / 9);
      send("x");
    }
    expect(stream.text).toBe("");
    after(200);
    expect(stream.text).toStartWith("HTTP/1.1 408 ");
    expect(stream.text).toContain("Connection: close\r\n");
    expect(stream.log).toContain("end");
  });

  test("also when it follows another request", () => {
    send("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /");
    expect(stream.text).toStartWith("HTTP/1.1 503 ");
    after(headReadTimeoutMs + 100);
    expect(stream.text).toContain("HTTP/1.1 408 ");
  });
});

describe("a connection without a request", () => {
  test("is closed when it was idle for long, not before", () => {
    send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    after(clientIdleMs - 100);
    expect(stream.log).toEqual([]);
    after(200);
    expect(stream.log).toEqual(["close"]);
  });

  test("is closed, too, when it never had one", () => {
    after(clientIdleMs + 1);
    expect(stream.log).toEqual(["close"]);
  });
});

test("a client that takes nothing is cut off", () => {
  stream.takes = false;
  send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  after(1);
  after(clientStallMs - 100);
  expect(stream.log).not.toContain("destroy");
  after(200);
  expect(stream.log).toContain("destroy");
});

test("a client that does not take answers gets no further ones", () => {
  stream.takes = false;
  send("GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(10));
  expect(stream.text.split("HTTP/1.1 503").length - 1).toBe(1);
  stream.takes = true;
  stream.queued = 0;
  client.onDrain();
  expect(stream.text.split("HTTP/1.1 503").length - 1).toBe(10);
});

test("after a refusal the rest is thrown away for a while, then the connection closes", () => {
  send("GET / HTTP/1.1\nHost: h\r\n\r\n");
  const { text } = stream;
  send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  expect(stream.text).toBe(text);
  after(lingerMs - 1);
  expect(stream.log).not.toContain("close");
  after(2);
  expect(stream.log).toContain("close");
});

test("a client that has sent all and closed its side waits, also for what could not be passed on yet", () => {
  port.admission.setUpstreams([unreachable()], now);
  const body = "x".repeat(200_000);
  send(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  client.onEnd();
  expect(stream.log).toEqual(["pause"]);
});

test("a client that closed its side in the middle of a request is cut off", () => {
  port.admission.setUpstreams([unreachable()], now);
  send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
  client.onEnd();
  expect(stream.log).toEqual(["destroy"]);
});

test("what does not end with a line end is not parsed byte by byte", () => {
  // 16 KiB in single bytes; quadratic work would take minutes.
  send("GET / HTTP/1.1\r\n");
  for (let i = 0; i < 17_000 && stream.text === ""; i++) send("x");
  expect(stream.text).toStartWith("HTTP/1.1 431 ");
});
