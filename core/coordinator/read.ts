/** Reads and checks a JSON body, where it enters. */
import type { Context } from "hono";
import type { z } from "zod";
import { DvsError, parseOrThrow } from "../errors.ts";
import { requestBodyBytesMax } from "../limits.ts";

export async function read<S extends z.ZodType>(
  // The environment does not matter here, and Hono's Context is invariant in it.
  c: Pick<Context, "req">,
  schema: S,
  what: string,
  bytesMax = requestBodyBytesMax,
): Promise<z.output<S>> {
  const text = await readText(c.req.raw, what, bytesMax);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (e) {
    throw new DvsError(
      "INVALID",
      `Invalid ${what}: it is not JSON (${e instanceof Error ? e.message : String(e)}).`,
    );
  }
  return parseOrThrow(schema, value, what) as z.output<S>;
}

async function readText(request: Request, what: string, bytesMax: number): Promise<string> {
  if (!request.body) return "";
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw new DvsError("TOO_LARGE", `Cannot read the ${what}: it has more than ${bytesMax} bytes.`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** A whole number of a query, within bounds; `fallback` when it is absent. */
export function queryNumber(value: string | undefined, name: string, fallback: number, max: number): number {
  if (value === undefined) return fallback;
  const n = Number(value);
  if (!Number.isInteger(n) || n < 0 || n > max) {
    throw new DvsError(
      "INVALID",
      `Invalid query: ${name} must be a whole number from 0 to ${max}; it is ${value}.`,
    );
  }
  return n;
}
