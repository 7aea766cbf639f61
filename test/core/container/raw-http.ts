/** An HTTP/1.1 client that sends exactly what it is told: no normalising, no headers of its own but Host. */
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

export type Where =
  { socketPath: string } | { port: number; tls?: { certificate: string; key: string; ca: string } };

export interface Ask {
  method?: string;
  /** Sent as it stands. */
  path?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  /** A body in chunks instead. */
  chunks?: string[];
}

export interface Answer {
  status: number;
  /** Names in lower case; repeated ones joined by a comma. */
  headers: Record<string, string>;
  body: Buffer;
}

export function open(where: Where): Socket {
  if ("socketPath" in where) return connectTcp({ path: where.socketPath });
  const { port, tls } = where;
  if (!tls) return connectTcp({ host: "127.0.0.1", port });
  const { certificate: cert, key, ca } = tls;
  return connectTls({ host: "127.0.0.1", port, cert, key, ca, checkServerIdentity: () => undefined });
}

/** One request on a connection of its own. Rejects when it breaks or ends before the answer is whole. */
export function ask(where: Where, what: Ask = {}): Promise<Answer> {
  const method = what.method ?? "GET";
  return new Promise((resolve, reject) => {
    const socket = open(where);
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => {
      try {
        resolve(parse(Buffer.concat(chunks), method));
      } catch (e) {
        reject(e);
      }
    });
    socket.write(formatRequest({ ...what, headers: { connection: "close", ...what.headers } }));
  });
}

export function formatRequest({ method = "GET", path = "/", headers = {}, body, chunks }: Ask): Buffer {
  const bytes = body === undefined ? undefined : Buffer.from(body);
  const chunked =
    chunks && [...chunks, ""].map((c) => `${Buffer.byteLength(c).toString(16)}\r\n${c}\r\n`).join("");
  const all = { host: "site.test", ...(bytes ? { "content-length": String(bytes.length) } : {}), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([
    Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`),
    bytes ?? Buffer.from(chunked ?? ""),
  ]);
}

function parse(bytes: Buffer, method: string): Answer {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) throw new Error(`no answer, but ${JSON.stringify(bytes.toString().slice(0, 200))}`);
  const [statusLine = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  const status = Number(statusLine.split(" ")[1]);
  const rest = bytes.subarray(end + 4);
  if (method === "HEAD" || status === 204 || status === 304) return { status, headers, body: rest };
  const body = headers["transfer-encoding"] === "chunked" ? dechunk(rest) : rest;
  const length = headers["content-length"];
  if (length !== undefined && body.length !== Number(length)) {
    throw new Error(`${body.length} bytes of ${length} came`);
  }
  return { status, headers, body };
}

function dechunk(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const line = bytes.indexOf("\r\n", at);
    if (line < 0) throw new Error("a chunked body that does not end");
    const size = Number.parseInt(bytes.subarray(at, line).toString(), 16);
    if (size === 0) return Buffer.concat(parts);
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}
