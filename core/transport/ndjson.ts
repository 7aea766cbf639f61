/**
 * NDJSON: one JSON document per line, the form of every stream of dvs. A stream that ends in the middle of a line
 * was cut, and says so.
 */
import { DvsError } from "../errors.ts";
import { MiB } from "../limits.ts";

const lineBytesMax = 64 * MiB;

/** The lines of a body, without their ends; empty ones are left out. Leaving the loop early cancels the body. */
export async function* readLines(
  body: ReadableStream<Uint8Array> | null,
  lineMax = lineBytesMax,
): AsyncGenerator<string, void, undefined> {
  if (!body) return;
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let parts: string[] = [];
  let held = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const lines = decoder.decode(value, { stream: true }).split("\n");
      const last = lines.pop() ?? "";
      for (const line of lines) {
        const whole = parts.length === 0 ? line : parts.join("") + line;
        parts = [];
        held = 0;
        if (whole.trim() !== "") yield whole;
      }
      if (last === "") continue;
      parts.push(last);
      held += last.length;
      if (held > lineMax) {
        throw new DvsError("TOO_LARGE", `Cannot read the stream: a line is longer than ${lineMax} bytes.`);
      }
    }
    if (held > 0 || decoder.decode() !== "")
      throw new DvsError("UNAVAILABLE", "The stream ended in the middle of a line: it was cut.");
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Each line, parsed and checked. Throws INVALID for a line that is not JSON, and what `parse` throws. */
export async function* parseNdjson<T>(
  body: ReadableStream<Uint8Array> | null,
  parse: (value: unknown) => T,
): AsyncGenerator<T, void, undefined> {
  for await (const line of readLines(body)) {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (e) {
      throw new DvsError("INVALID", `Not a line of JSON: ${line.slice(0, 100)}`, { cause: e });
    }
    yield parse(value);
  }
}

export function toLine(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
