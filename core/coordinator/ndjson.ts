/** Answers with one JSON document a line, for as long as the source has some and the client listens. */
import { toDvsError } from "../store/errors.ts";

const encoder = new TextEncoder();
/** An empty line this often, so that either end notices a dead link. */
export const keepAliveMs = 1_000;

export interface LineSource {
  /** Values; undefined for a keep-alive line. An error in the middle becomes the last line, as an ErrorBody. */
  lines: AsyncGenerator;
  /** Called once, however the stream ends; a `lines` that waits must then come to its end. */
  stop(): void;
}

/** Ends with the signal too: a coordinator that stops does not wait for those who listen. */
export function ndjson(source: LineSource, signal: AbortSignal): Response {
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    signal.removeEventListener("abort", onAbort);
    source.stop();
    void source.lines.return(undefined).catch(() => undefined);
  };
  let onAbort = end;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      onAbort = () => {
        if (ended) return;
        end();
        controller.close();
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort);
    },
    async pull(controller) {
      let line: string;
      let last = false;
      try {
        const { value, done } = await source.lines.next();
        last = done === true;
        line = last ? "" : value === undefined ? "\n" : `${JSON.stringify(value)}\n`;
      } catch (e) {
        last = true;
        line = `${JSON.stringify(toDvsError(e).toBody())}\n`;
      }
      if (ended) return;
      if (line !== "") controller.enqueue(encoder.encode(line));
      if (!last) return;
      end();
      controller.close();
    },
    cancel: end,
  });
  return new Response(stream, {
    headers: { "content-type": "application/x-ndjson", "cache-control": "no-store" },
  });
}

/** A stream of these values alone. */
export function linesOf(values: unknown[]): LineSource {
  async function* lines() {
    yield* values;
  }
  return { lines: lines(), stop: () => undefined };
}
