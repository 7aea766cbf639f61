/** Answers GET and HEAD for a representation: whole, in ranges, or not at all because the client has it. */
import { fileResponse } from "../../core/platform/body.ts";
import { evaluate, ifRangeHolds } from "./conditions.ts";
import type { Contents } from "./contents.ts";
import { multipart } from "./multipart.ts";
import { parseRanges, type ByteRange } from "./ranges.ts";
import type { Representation } from "./representation.ts";
import type { ServedFile } from "./served.ts";

/** What a 304 repeats (RFC 9110 section 15.4.5), beside headers of our own. */
const aboutContent = ["content-type", "content-encoding", "accept-ranges"];

/** An answer, and how many bytes its body has as far as is known. */
export interface Answer {
  response: Response;
  bytes: number;
}

export class FileResponder {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  async answer(representation: Representation, request: Request): Promise<Answer> {
    const { headers: asked, method } = request;
    const { file } = representation;
    const verdict = evaluate(asked, representation, Date.now());
    if (verdict === "notModified") return this.#bodiless(representation, 304);
    if (verdict === "failed") return this.#bodiless(representation, 412);
    const ranges = method === "GET" ? this.#ranges(representation, asked) : null;
    if (ranges === null) return this.#whole(representation, { status: 200, method, asked });
    if (ranges.length === 0) {
      const answer = this.#bodiless(representation, 416);
      answer.response.headers.set("content-range", `bytes */${file.size}`);
      return answer;
    }
    const [first] = ranges;
    if (ranges.length === 1 && first) return this.#part(representation, first, asked);
    return this.#parts(representation, ranges);
  }

  /** The page of an error: neither conditions nor ranges, and not to be kept. */
  async error(
    representation: Representation,
    status: number,
    { method, headers: asked }: Request,
  ): Promise<Answer> {
    const answer = await this.#whole(representation, { status, method, asked });
    const { headers } = answer.response;
    headers.delete("etag");
    headers.delete("last-modified");
    headers.delete("accept-ranges");
    headers.set("cache-control", "no-store");
    return answer;
  }

  #ranges(representation: Representation, asked: Headers): ByteRange[] | null {
    const range = asked.get("range");
    if (range === null || !ifRangeHolds(asked, representation, Date.now())) return null;
    return parseRanges(range, representation.file.size);
  }

  async #whole(
    { file, headers }: Representation,
    { status, method, asked }: { status: number; method: string; asked: Headers },
  ): Promise<Answer> {
    const bytes = file.size;
    if (method === "HEAD") {
      const response = new Response(null, { status, headers });
      response.headers.set("content-length", String(bytes));
      return { response, bytes };
    }
    if (this.#contents.holds(file)) {
      const body = await this.#contents.get(file);
      return { response: new Response(body.whole, { status, headers }), bytes };
    }
    return this.#large(file, { start: 0, end: bytes }, { status, headers, asked });
  }

  async #part({ file, headers }: Representation, { start, end }: ByteRange, asked: Headers): Promise<Answer> {
    const bytes = end - start;
    const ours = new Headers(headers);
    ours.set("content-range", `bytes ${start}-${end - 1}/${file.size}`);
    if (this.#contents.holds(file)) {
      const body = await this.#contents.get(file);
      return { response: new Response(body.part(start, end), { status: 206, headers: ours }), bytes };
    }
    return this.#large(file, { start, end }, { status: 206, headers: ours, asked });
  }

  async #parts({ file, headers }: Representation, ranges: ByteRange[]): Promise<Answer> {
    const type = headers.get("content-type") ?? "application/octet-stream";
    const parts = multipart(file, ranges, type);
    const ours = new Headers(headers);
    ours.set("content-type", parts.contentType);
    const { size: bytes, body } = parts;
    if (!this.#contents.holds(file)) return this.#streamed(body, { status: 206, headers: ours, bytes });
    const gathered = await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer();
    return { response: new Response(gathered, { status: 206, headers: ours }), bytes };
  }

  /** What is too large to hold: sent by the runtime from the verified file where it can, else as a stream. */
  async #large(
    file: ServedFile,
    { start, end }: ByteRange,
    { status, headers, asked }: { status: number; headers: Headers; asked: Headers },
  ): Promise<Answer> {
    const bytes = end - start;
    const path = await file.local();
    const response = path === null ? null : fileResponse({ path, start, end }, { status, headers }, asked);
    if (response) return { response, bytes };
    return this.#streamed(file.stream(start, end), { status, headers, bytes });
  }

  #streamed(
    stream: ReadableStream<Uint8Array>,
    { status, headers, bytes }: { status: number; headers: Headers; bytes: number },
  ): Answer {
    const response = new Response(stream as ReadableStream<Uint8Array<ArrayBuffer>>, { status, headers });
    // Bun sends streams in chunks and drops this; Deno keeps it.
    response.headers.set("content-length", String(bytes));
    return { response, bytes };
  }

  #bodiless({ headers }: Representation, status: number): Answer {
    const response = new Response(null, { status, headers });
    for (const name of aboutContent) response.headers.delete(name);
    return { response, bytes: 0 };
  }
}
