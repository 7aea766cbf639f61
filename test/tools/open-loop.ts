/**
 * An open-loop HTTP load generator in a host process of its own: requests start when they are due, whether or not
 * earlier ones were answered, and latency counts from the moment a request was due — so a stall is not hidden by
 * the generator waiting for it (coordinated omission).
 *
 * It speaks HTTP/1.1 over raw sockets, one request at a time on each connection, and retries nothing: what fails
 * here is what a client would have seen.
 *
 *   bun test/tools/open-loop.ts '{"host":"127.0.0.4","port":8080,"rate":2000,"seconds":10,"paths":["/"],"echo":"/echo"}'
 *
 * A line `mark NAME` on stdin is a moment that the report's phases are divided at; `stop` ends the run early.
 * Prints one JSON document (LoadReport).
 */
import { connect, type Socket } from "node:net";

export interface LoadOptions {
  host: string;
  port: number;
  /** Requests per second. */
  rate: number;
  seconds: number;
  /** GET in turn. */
  paths: string[];
  /** Where given, every second request is a PUT of a distinct body to this path, and the answer must be that body. */
  echo?: string;
  timeoutMs?: number;
  /** With so many under way, what is due is left out: a crowd, however large, has its size. */
  openMax?: number;
}

export interface LoadPhase {
  /** "start", then the names of the marks. */
  name: string;
  seconds: number;
  sent: number;
  ok: number;
  failed: number;
  /** Answers by the node in `x-dvs-node`. */
  perNode: Record<string, number>;
  /** Longest time without a correct answer, in milliseconds. */
  longestGapMs: number;
  latencyMs: { p50: number; p99: number; max: number };
}

export interface LoadReport {
  sent: number;
  ok: number;
  failed: number;
  longestGapMs: number;
  phases: LoadPhase[];
  /** The first failures, in words. */
  failures: string[];
  /** Answers per node in the last second before the first mark. */
  lastSecondBeforeMark: Record<string, number>;
}

interface Sample {
  dueMs: number;
  doneMs: number;
  node: string;
  error: string | null;
}

interface Pending {
  dueMs: number;
  bytes: Uint8Array;
  /** Bytes that the body must be equal to, or null for any with status 200. */
  expect: Uint8Array | null;
  what: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export async function runLoad(options: LoadOptions, commands: AsyncIterable<string>): Promise<LoadReport> {
  const samples: Sample[] = [];
  const marks: { name: string; atMs: number }[] = [];
  const idle: Connection[] = [];
  const timeoutMs = options.timeoutMs ?? 10_000;
  const openMax = options.openMax ?? Infinity;
  const state = { open: 0, sent: 0, stopped: false };

  void (async () => {
    for await (const line of commands) {
      if (line.startsWith("mark ")) marks.push({ name: line.slice(5), atMs: performance.now() });
      if (line === "stop") state.stopped = true;
    }
  })();

  const finish = (pending: Pending, node: string, error: string | null) => {
    state.open -= 1;
    samples.push({
      dueMs: pending.dueMs,
      doneMs: performance.now(),
      node,
      error: error && `${pending.what}: ${error}`,
    });
  };
  const send = (index: number, dueMs: number) => {
    state.sent += 1;
    state.open += 1;
    const put = options.echo !== undefined && index % 2 === 1;
    const body = put ? encoder.encode(`body ${index} ${"x".repeat(index % 200)}`) : null;
    const path = put ? options.echo! : options.paths[index % options.paths.length]!;
    const head =
      `${put ? "PUT" : "GET"} ${path} HTTP/1.1\r\nHost: ${options.host}:${options.port}\r\n` +
      (body ? `Content-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n` : "\r\n");
    const bytes = body ? Buffer.concat([encoder.encode(head), body]) : encoder.encode(head);
    const pending: Pending = { dueMs, bytes, expect: body, what: `${put ? "PUT" : "GET"} ${path}` };
    const connection = idle.pop() ?? new Connection(options.host, options.port);
    connection.exchange(pending, timeoutMs, (node, error) => {
      finish(pending, node, error);
      if (connection.usable) idle.push(connection);
    });
  };

  const startMs = performance.now();
  const intervalMs = 1000 / options.rate;
  const total = Math.round(options.rate * options.seconds);
  await new Promise<void>((resolve) => {
    let index = 0;
    const pump = () => {
      const nowMs = performance.now();
      while (!state.stopped && index < total && startMs + index * intervalMs <= nowMs) {
        if (state.open < openMax) send(index, startMs + index * intervalMs);
        index += 1;
      }
      if (state.stopped || index >= total) resolve();
      else setTimeout(pump, 1);
    };
    pump();
  });
  const lastMs = performance.now() + timeoutMs + 500;
  while (state.open > 0 && performance.now() < lastMs) await new Promise((r) => setTimeout(r, 5));
  for (const c of idle) c.destroy();
  return report(samples, state.sent, marks, startMs);
}

function report(
  samples: Sample[],
  sent: number,
  marks: { name: string; atMs: number }[],
  startMs: number,
): LoadReport {
  samples.sort((a, b) => a.doneMs - b.doneMs);
  const endMs = samples.at(-1)?.doneMs ?? startMs;
  const bounds = [{ name: "start", atMs: startMs }, ...marks, { name: "", atMs: Infinity }];
  const phases: LoadPhase[] = [];
  for (let i = 0; i + 1 < bounds.length; i++) {
    const { name, atMs } = bounds[i]!;
    const untilMs = bounds[i + 1]!.atMs;
    const inside = samples.filter((s) => s.doneMs >= atMs && s.doneMs < untilMs);
    const good = inside.filter((s) => s.error === null);
    const latencies = good.map((s) => s.doneMs - s.dueMs).sort((a, b) => a - b);
    const at = (q: number) =>
      round(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * q))] ?? 0);
    phases.push({
      name,
      seconds: round((Math.min(untilMs, endMs) - atMs) / 1000),
      sent: samples.filter((s) => s.dueMs >= atMs && s.dueMs < untilMs).length,
      ok: good.length,
      failed: inside.length - good.length,
      perNode: countBy(good),
      longestGapMs: longestGap(good, atMs),
      latencyMs: { p50: at(0.5), p99: at(0.99), max: at(1) },
    });
  }
  const failed = samples.filter((s) => s.error !== null);
  const markMs = marks[0]?.atMs ?? endMs;
  return {
    sent,
    ok: samples.length - failed.length,
    failed: failed.length + (sent - samples.length),
    longestGapMs: longestGap(
      samples.filter((s) => s.error === null),
      startMs,
    ),
    phases,
    failures: [...new Set(failed.map((s) => s.error!))].slice(0, 10),
    lastSecondBeforeMark: countBy(
      samples.filter((s) => s.error === null && s.doneMs < markMs && s.doneMs >= markMs - 1000),
    ),
  };
}

function longestGap(good: Sample[], fromMs: number): number {
  let gap = 0;
  let last = fromMs;
  for (const s of good) {
    gap = Math.max(gap, s.doneMs - last);
    last = s.doneMs;
  }
  return round(gap);
}

function countBy(samples: Sample[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const s of samples) counts[s.node] = (counts[s.node] ?? 0) + 1;
  return counts;
}

const round = (n: number) => Math.round(n * 10) / 10;

/** One keep-alive connection with at most one request under way. */
class Connection {
  usable = true;
  #socket: Socket;
  #received: Uint8Array = new Uint8Array(0);
  #pending: { pending: Pending; done(node: string, error: string | null): void; timer: Timer } | null = null;

  constructor(host: string, port: number) {
    this.#socket = connect({ host, port, noDelay: true });
    this.#socket.on("data", (chunk: Uint8Array) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
      this.#parse();
    });
    this.#socket.on("error", (e) => this.#fail(e.message));
    this.#socket.on("close", () => this.#fail("connection closed"));
  }

  exchange(pending: Pending, timeoutMs: number, done: (node: string, error: string | null) => void): void {
    const timer = setTimeout(() => this.#fail(`no answer in ${timeoutMs} ms`), timeoutMs);
    this.#pending = { pending, done, timer };
    this.#socket.write(pending.bytes);
  }

  destroy(): void {
    this.usable = false;
    this.#socket.destroy();
  }

  #parse(): void {
    const current = this.#pending;
    if (!current) return;
    const buffer = Buffer.from(this.#received.buffer, this.#received.byteOffset, this.#received.byteLength);
    const headEnd = buffer.indexOf("\r\n\r\n");
    if (headEnd < 0) return;
    const head = decoder.decode(buffer.subarray(0, headEnd));
    const status = Number(head.slice(9, 12));
    const header = (name: string) => new RegExp(`^${name}: *(.*)$`, "im").exec(head)?.[1]?.trim();
    const body = /chunked/i.test(header("transfer-encoding") ?? "")
      ? unchunk(buffer.subarray(headEnd + 4))
      : whole(buffer.subarray(headEnd + 4), Number(header("content-length") ?? 0));
    if (!body) return;
    this.#received = buffer.subarray(headEnd + 4 + body.used);
    this.#pending = null;
    clearTimeout(current.timer);
    if (/close/i.test(header("connection") ?? "")) this.destroy();
    const { expect } = current.pending;
    const error =
      status !== 200
        ? `status ${status} ${decoder.decode(body.bytes.subarray(0, 100))}`
        : expect && Buffer.compare(expect, body.bytes) !== 0
          ? "the answer is not the body that was sent"
          : null;
    current.done(header("x-dvs-node") ?? "?", error);
  }

  #fail(error: string): void {
    this.usable = false;
    this.#socket.destroy();
    const current = this.#pending;
    if (!current) return;
    this.#pending = null;
    clearTimeout(current.timer);
    current.done("?", error);
  }
}

function whole(bytes: Uint8Array, length: number): { bytes: Uint8Array; used: number } | null {
  return bytes.length >= length ? { bytes: bytes.subarray(0, length), used: length } : null;
}

function unchunk(buffer: Buffer): { bytes: Uint8Array; used: number } | null {
  const parts: Uint8Array[] = [];
  for (let at = 0; ;) {
    const lineEnd = buffer.indexOf("\r\n", at);
    if (lineEnd < 0) return null;
    const size = Number.parseInt(buffer.toString("latin1", at, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (buffer.length < next) return null;
    if (size === 0) return { bytes: Buffer.concat(parts), used: next };
    parts.push(buffer.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = next;
  }
}

async function* lines(input: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of input) {
    const parts = (rest + decoder.decode(chunk)).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}

if (import.meta.main) {
  const options = JSON.parse(process.argv[2] ?? "{}") as LoadOptions;
  console.log(JSON.stringify(await runLoad(options, lines(process.stdin))));
  process.exit(0);
}
