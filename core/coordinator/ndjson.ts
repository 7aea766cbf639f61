/** Answers with one JSON document a line, for as long as the source has some and the client listens. */
import { DvsError } from "../errors.ts";

const encoder = new TextEncoder();
/** An empty line, so that either end notices a dead link. */
export const keepAliveMs = 1_000;

/**
 * `source` yields values, or undefined for a keep-alive line; `onEnd` is called once, however the stream ends.
 * An error in the middle becomes the last line, as an ErrorBody.
 */
export function ndjson(source: AsyncIterator<unknown>, onEnd?: () => void): Response {
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    onEnd?.();
  };
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const next = await source.next();
        if (ended) return;
        if (next.done) {
          end();
          controller.close();
        } else {
          controller.enqueue(
            encoder.encode(next.value === undefined ? "\n" : `${JSON.stringify(next.value)}\n`),
          );
        }
      } catch (e) {
        if (ended) return;
        end();
        controller.enqueue(encoder.encode(`${JSON.stringify(DvsError.from(e).toBody())}\n`));
        controller.close();
      }
    },
    cancel() {
      end();
      void source.return?.();
    },
  });
  return new Response(stream, {
    headers: { "content-type": "application/x-ndjson", "cache-control": "no-store" },
  });
}
