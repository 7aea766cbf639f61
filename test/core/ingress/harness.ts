/** An ingress in this process, scripted upstreams behind it, and raw clients before it. */
import { type Server, type Socket, connect, createServer } from "node:net";
import { once } from "node:events";
import type { IngressRoute, IngressTable } from "../../../core/ingress/control.ts";
import { Ingress } from "../../../core/ingress/ingress.ts";
import type { LoadLimits } from "../../../core/ingress/load-limits.ts";

export type UpstreamAt = { node: string; host: string; port: number; incarnation: string };

export function tableOf(
  upstreams: UpstreamAt[],
  more: Partial<IngressRoute> = {},
  tls: IngressTable["tls"] = { certificate: "", key: "", ca: "" },
): IngressTable {
  return {
    node: { id: "self", name: "self", address: "127.0.0.1" },
    routes: [
      {
        port: 0,
        policy: "local-first",
        tenant: "default",
        instance: "web",
        uid: "u1",
        uri: "spiffe://c1/t/default/i/web/u1",
        upstreams,
        local: null,
        ...more,
      },
    ],
    tls,
  };
}

export interface TestIngress {
  ingress: Ingress;
  port: number;
  apply(upstreams: UpstreamAt[], more?: Partial<IngressRoute>): Promise<void>;
  close(): Promise<void>;
}

export async function startIngress(
  upstreams: UpstreamAt[],
  more?: Partial<IngressRoute>,
  limits?: Partial<LoadLimits>,
): Promise<TestIngress> {
  const ingress = new Ingress({ portsChanged() {} }, limits);
  await ingress.apply(tableOf(upstreams, more));
  return {
    ingress,
    port: ingress.boundPort(0),
    apply: (next, nextMore) => ingress.apply(tableOf(next, nextMore)),
    close: () => ingress.stop(0),
  };
}

/** What an upstream saw of one request. */
export interface Seen {
  head: string;
  body: string;
  socket: Socket;
  /** How many requests this connection carried before. */
  nth: number;
}

export interface TestUpstream {
  at: UpstreamAt;
  seen: Seen[];
  connections: Set<Socket>;
  /** Answers a probe in a good way; set to false to let probes hang. */
  answersProbes: boolean;
  server: Server;
  close(): void;
}

const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
export { ok };

/**
 * A server that reads requests with Content-Length (or none) and gives each to `answer`; chunked ones come with the
 * body as framed. `answer` null: it only reads.
 */
export async function startUpstream(
  node: string,
  answer: ((seen: Seen) => void) | null = (seen) => seen.socket.write(ok(node)),
): Promise<TestUpstream> {
  const seen: Seen[] = [];
  const connections = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => connections.delete(socket));
    let text = "";
    let nth = 0;
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      for (;;) {
        const headEnd = text.indexOf("\r\n\r\n");
        if (headEnd < 0) return;
        const head = text.slice(0, headEnd);
        const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
        let end = headEnd + 4 + length;
        if (/\r\ntransfer-encoding: chunked/i.test(head)) {
          const last = text.indexOf("0\r\n\r\n", headEnd + 4);
          if (last < 0) return;
          end = last + 5;
        }
        if (text.length < end) return;
        const body = text.slice(headEnd + 4, end);
        text = text.slice(end);
        if (head.startsWith("GET /.well-known/dvs/health")) {
          if (upstream.answersProbes) socket.write(ok(""));
          continue;
        }
        const request = { head, body, socket, nth: nth++ };
        seen.push(request);
        answer?.(request);
      }
    });
    socket.on("end", () => socket.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  const upstream: TestUpstream = {
    at: { node, host: "127.0.0.1", port, incarnation: `${node}-1` },
    seen,
    connections,
    answersProbes: true,
    server,
    close() {
      server.close();
      for (const socket of connections) socket.destroy();
    },
  };
  return upstream;
}

/** A raw client connection that remembers what came. */
export class Client {
  readonly socket: Socket;
  text = "";
  bytes = 0;
  ended = false;
  closed = false;
  #waiters: (() => void)[] = [];

  constructor(port: number, keepText = true) {
    this.socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    this.socket.on("data", (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (keepText) this.text += chunk.toString("latin1");
      this.#wake();
    });
    this.socket.on("error", () => {});
    this.socket.on("end", () => {
      this.ended = true;
      this.#wake();
    });
    this.socket.on("close", () => {
      this.ended = true;
      this.closed = true;
      this.#wake();
    });
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  send(text: string | Buffer): this {
    this.socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
    return this;
  }

  /** Resolves when the condition holds; rejects when the connection has ended without it. */
  async until(condition: (text: string) => boolean, what = "what was awaited"): Promise<string> {
    while (!condition(this.text)) {
      if (this.closed)
        throw new Error(`the connection closed before ${what}; it brought ${JSON.stringify(this.text)}`);
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
    return this.text;
  }

  /** The text of `n` responses with Content-Length. */
  async responses(n: number): Promise<string[]> {
    await this.until((text) => split(text).length >= n, `${n} responses`);
    return split(this.text);
  }

  async end(): Promise<string> {
    while (!this.ended) await new Promise<void>((resolve) => this.#waiters.push(resolve));
    return this.text;
  }

  close(): void {
    this.socket.destroy();
  }
}

function split(text: string): string[] {
  const all: string[] = [];
  let rest = text;
  for (;;) {
    const headEnd = rest.indexOf("\r\n\r\n");
    if (headEnd < 0) return all;
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(rest.slice(0, headEnd))?.[1] ?? 0);
    const end = headEnd + 4 + length;
    if (rest.length < end) return all;
    all.push(rest.slice(0, end));
    rest = rest.slice(end);
  }
}

/** Sends one request on a connection of its own and returns the whole response, with its connection's end. */
export async function ask(port: number, request: string): Promise<string> {
  const client = new Client(port);
  client.send(request);
  const text = await client.end();
  client.close();
  return text;
}

export const statusOf = (text: string) => Number(text.slice(9, 12));

export async function eventually(condition: () => boolean, what: string): Promise<void> {
  const until = Date.now() + 8_000;
  while (!condition()) {
    if (Date.now() > until) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
