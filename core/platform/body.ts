/** Bodies of responses, as each runtime sends them best: content that many share, and files. */
import { isBun } from "./runtime.ts";

export interface SharedBody {
  readonly size: number;
  readonly whole: BodyInit;
  /** Bytes [start, end), without a copy. */
  part(start: number, end: number): BodyInit;
}

/**
 * Content in memory to answer many requests with. Bun copies an array into each response and shares a Blob; Deno
 * shares the array and turns a Blob into a stream.
 */
export function sharedBody(bytes: Uint8Array<ArrayBuffer>): SharedBody {
  const size = bytes.length;
  if (!isBun) return { size, whole: bytes, part: (start, end) => bytes.subarray(start, end) };
  const blob = new Blob([bytes]);
  return { size, whole: blob, part: (start, end) => blob.slice(start, end) };
}

export interface FilePart {
  path: string;
  /** Bytes [start, end). */
  start: number;
  end: number;
}

/**
 * Part of a file, sent by the runtime itself: without a copy where the kernel can, and with its Content-Length. Null where
 * a stream does as well or better. `asked` are the request's headers, `headers` the response's; they are not changed.
 *
 * Deno keeps a stream's Content-Length; Bun drops it and sends chunks, but has ideas of its own about files (1.4.5):
 * - a Range header turns a 200 into 206: a Range that was not obeyed (If-Range, several) is answered by stream;
 * - without Content-Type it makes one up;
 * - application/octet-stream is offered for download under the file's name on this disk, unless something is said:
 *   `inline` is what clients take a missing Content-Disposition for;
 * - files inside a Blob of several parts are lost, and the length of a part of an open descriptor is wrong.
 */
export function fileResponse(
  { path, start, end }: FilePart,
  { status, headers }: { status: number; headers: Headers },
  asked: Headers,
): Response | null {
  const type = headers.get("content-type");
  if (!isBun || type === null || (status !== 206 && asked.has("range"))) return null;
  const response = new Response(Bun.file(path).slice(start, end), { status, headers });
  if (type.startsWith("application/octet-stream") && !headers.has("content-disposition")) {
    response.headers.set("content-disposition", "inline");
  }
  return response;
}
