/** Writes one HTTP/1.1 request to a connection: the head, and a body that is whole or a stream. */
import type { TLSSocket } from "node:tls";
import { DvsError } from "../errors.ts";

export type Body = string | Uint8Array | ReadableStream<Uint8Array>;

export interface RequestParts {
  method: string;
  /** From the slash on, with its query, already percent-encoded. */
  path: string;
  headers: Headers;
  body: Body | undefined;
}

/** Throws INVALID for what would break the request's framing. */
export function formatHead(address: string, request: RequestParts): string {
  const { method, path, headers, body } = request;
  if (!/^[A-Z]{1,16}$/.test(method)) throw new DvsError("INVALID", `Not an HTTP method: ${method}.`);
  if (!/^\/[\x21-\x7e]*$/.test(path))
    throw new DvsError("INVALID", `Not a request path: ${JSON.stringify(path)}.`);
  let head = `${method} ${path} HTTP/1.1\r\nHost: ${address}\r\n`;
  for (const [name, value] of headers) {
    if (name === "host" || name === "connection" || name === "transfer-encoding") continue;
    if (name === "content-length" && !(body instanceof ReadableStream)) continue;
    head += `${name}: ${value}\r\n`;
  }
  if (body instanceof ReadableStream) {
    if (!headers.has("content-length")) head += "Transfer-Encoding: chunked\r\n";
  } else if (body !== undefined || (method !== "GET" && method !== "HEAD")) {
    head += `Content-Length: ${body === undefined ? 0 : Buffer.byteLength(body)}\r\n`;
  }
  return `${head}\r\n`;
}

/**
 * Resolves when all bytes were handed to the socket. A stream is chunked, or counted when the headers have its
 * Content-Length; a stream that fails, or has another length, rejects, and the connection is of no more use.
 */
export async function writeRequest(socket: TLSSocket, head: string, request: RequestParts): Promise<void> {
  const { body } = request;
  if (!(body instanceof ReadableStream)) {
    // One write, so that a small request is one TLS record.
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    if (!bytes || bytes.length === 0) socket.write(head);
    else if (bytes.length <= 16_384) socket.write(Buffer.concat([Buffer.from(head), bytes]));
    else {
      socket.write(head);
      await write(socket, bytes);
    }
    return;
  }
  const declared = request.headers.get("content-length");
  let left = declared === null ? Number.POSITIVE_INFINITY : Number(declared);
  socket.write(head);
  const reader = body.getReader();
  const stop = () => void reader.cancel(new Error("the connection closed")).catch(() => {});
  socket.once("close", stop);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (socket.destroyed) throw new Error("the connection closed");
      if (done) break;
      if (value.length === 0) continue;
      left -= value.length;
      if (left < 0) throw lengthError(declared);
      if (declared !== null) {
        await write(socket, value);
      } else {
        socket.write(`${value.length.toString(16)}\r\n`);
        socket.write(value);
        await write(socket, "\r\n");
      }
    }
    if (declared === null) socket.write("0\r\n\r\n");
    else if (left > 0) throw lengthError(declared);
  } catch (e) {
    await reader.cancel(e).catch(() => {});
    throw e;
  } finally {
    socket.off("close", stop);
  }
}

function lengthError(declared: string | null): DvsError {
  return new DvsError(
    "INTERNAL",
    `The request's body has another length than its Content-Length of ${declared}.`,
  );
}

async function write(socket: TLSSocket, data: string | Uint8Array): Promise<void> {
  if (socket.write(data) || socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off("drain", done);
      socket.off("close", done);
      resolve();
    };
    socket.on("drain", done);
    socket.on("close", done);
  });
}
