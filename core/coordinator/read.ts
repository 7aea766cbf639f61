/** Reads and checks a JSON body, where it enters. */
import type { Context } from "hono";
import type { z } from "zod";
import { overLimit } from "../platform/body-limit.ts";
import { DvsError, parseOrThrow } from "../errors.ts";
import { requestBodyBytesMax } from "../limits.ts";

/** Throws TOO_LARGE, as soon as it is known; INVALID with every mistake. */
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
  return parseOrThrow<z.output<S>>(schema, value, what);
}

async function readText(request: Request, what: string, bytesMax: number): Promise<string> {
  const tooLarge = () =>
    new DvsError("TOO_LARGE", `Cannot read the ${what}: it has more than ${bytesMax} bytes.`);
  if (overLimit(request, bytesMax)) throw tooLarge();
  if (!request.body) return "";
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw tooLarge();
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** A whole number of a query, within bounds; `fallback` when it is absent. */
export function queryNumber(
  value: string | undefined,
  name: string,
  { fallback, min, max }: { fallback: number; min: number; max: number },
): number {
  if (value === undefined) return fallback;
  const n = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
  if (n >= min && n <= max) return n;
  throw new DvsError(
    "INVALID",
    `Invalid query: ${name} must be a whole number from ${min} to ${max}; it is ${JSON.stringify(value)}.`,
  );
}

/** `true` or `false`; absent is false. */
export function queryFlag(value: string | undefined, name: string): boolean {
  if (value === undefined || value === "false") return false;
  if (value === "true") return true;
  throw new DvsError(
    "INVALID",
    `Invalid query: ${name} must be true or false; it is ${JSON.stringify(value)}.`,
  );
}
