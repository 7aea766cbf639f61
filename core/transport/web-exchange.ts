/**
 * Between node's request/response pair and the web's Request and Response, for HTTP/1.1 and HTTP/2 alike. Bodies
 * stream both ways with back-pressure; an upload that was cut is an error to whoever reads it; a response whose
 * stream fails ends in a broken connection, never in a body that looks whole; a client that leaves cancels the
 * stream.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, ServerHttp2Stream } from "node:http2";
import { KiB } from "../limits.ts";

export type Incoming = IncomingMessage | Http2ServerRequest;
/** HTTP/2's response has the methods of HTTP/1.1's that are used here, and its stream. */
export type Outgoing = ServerResponse & { stream?: ServerHttp2Stream };

const aheadBytesMax = 256 * KiB;
/** NGHTTP2_INTERNAL_ERROR */
const internalError = 2;

/** Throws a TypeError when the head cannot be a Request (a path that is no path, a forbidden method). */
export function toRequest(incoming: Incoming, signal: AbortSignal): Request {
  const method = incoming.method ?? "GET";
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, one);
  }
  const path = incoming.url ?? "/";
  if (!path.startsWith("/")) throw new TypeError(`request target ${path}`);
  // The authority is the caller's word and decides nothing here, so it stays out of the URL.
  const url = `https://dvs.internal${path}`;
  if (method === "GET" || method === "HEAD") {
    incoming.resume();
    return new Request(url, { method, headers, signal });
  }
  return new Request(url, { method, headers, signal, body: bodyOf(incoming), duplex: "half" } as RequestInit);
}

function bodyOf(incoming: Incoming): ReadableStream<Uint8Array> {
  let done = false;
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const finish = (act: () => void) => {
          if (done) return;
          done = true;
          act();
        };
        const cut = () =>
          finish(() => controller.error(new Error("the client went away in the middle of its body")));
        incoming.on("data", (bytes: Uint8Array) => {
          if (done) return;
          controller.enqueue(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length));
          if ((controller.desiredSize ?? 1) <= 0) incoming.pause();
        });
        incoming.on("end", () => finish(() => controller.close()));
        incoming.on("aborted", cut);
        incoming.on("error", cut);
        incoming.on("close", cut);
      },
      pull() {
        incoming.resume();
      },
      cancel() {
        done = true;
        // Read and dropped: the answer may still be on its way over the same connection.
        incoming.resume();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: aheadBytesMax }),
  );
}

/** Resolves when the response is written or the client has gone. Never rejects. */
export async function sendResponse(response: Response, outgoing: Outgoing, http2: boolean): Promise<void> {
  const headers: Record<string, string | string[]> = {};
  for (const [name, value] of response.headers) {
    // These belong to HTTP/1.1 connections; HTTP/2 forbids them and ours are written by the runtime.
    if (name === "connection" || name === "transfer-encoding" || name === "keep-alive") continue;
    if (name !== "set-cookie") headers[name] = value;
  }
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 0) headers["set-cookie"] = cookies;
  const body = response.body;
  if (outgoing.destroyed) {
    await body?.cancel().catch(() => {});
    return;
  }
  if (!body) {
    if (!http2 && response.status >= 200 && response.status !== 204 && response.status !== 304) {
      headers["content-length"] ??= "0";
    }
    outgoing.writeHead(response.status, headers);
    outgoing.end();
    return;
  }
  outgoing.writeHead(response.status, headers);
  // An HTTP/2 head leaves by itself.
  if (!http2) outgoing.flushHeaders();
  await pump(body, outgoing);
}

async function pump(body: ReadableStream<Uint8Array>, outgoing: Outgoing): Promise<void> {
  const reader = body.getReader();
  let gone = false;
  const onClose = () => {
    gone = true;
    // A read that waits for the next event of a watch ends by this.
    void reader.cancel(new Error("the client went away")).catch(() => {});
  };
  outgoing.on("close", onClose);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (gone) return;
      if (done) break;
      if (value.length > 0 && !outgoing.write(value)) await drained(outgoing);
      if (gone) return;
    }
    outgoing.off("close", onClose);
    outgoing.end();
  } catch {
    breakOff(outgoing);
  }
}

/** Ends the response so that the client cannot take it for a whole one. */
export function breakOff(outgoing: Outgoing): void {
  if (outgoing.stream) outgoing.stream.close(internalError);
  else outgoing.socket?.destroy();
}

function drained(outgoing: Outgoing): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      outgoing.off("drain", done);
      outgoing.off("close", done);
      resolve();
    };
    outgoing.on("drain", done);
    outgoing.on("close", done);
  });
}
