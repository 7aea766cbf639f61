/**
 * The answer to what somebody asks through the HTTP API, as a stream to the coordinator: as fast as whoever is slower
 * takes or makes it.
 */
import type { CoordinatorLink } from "./coordinator-link.ts";

const encoder = new TextEncoder();

/**
 * Sends what `answer` makes as the body of the stream `id`. Resolves once that is sent or nobody wants it any more, and
 * `answer` has ended; `stop`, which it is given, is aborted by then. Never rejects: what goes wrong is for `answer` to say.
 */
export async function sendAnswer(
  coordinator: Pick<CoordinatorLink, "sendStream">,
  id: string,
  answer: (stop: AbortSignal) => AsyncGenerator<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const stopped = new AbortController();
  const stop = AbortSignal.any([signal, stopped.signal]);
  const source = answer(stop);
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { value, done } = await source.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => stopped.abort(),
    },
    { highWaterMark: 0 },
  );
  try {
    await coordinator.sendStream(id, body, stop);
  } catch {
    // Whoever asked for it has gone, or the coordinator has.
  } finally {
    stopped.abort();
    await source.return(undefined).catch(() => undefined);
  }
}

/** A line of an answer. */
export function lineOf(value: object): Uint8Array {
  return encoder.encode(`${JSON.stringify(value)}\n`);
}
