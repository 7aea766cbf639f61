/** The logs of an instance's containers as lines, merged as they come. */
import type { LogName } from "../agent-protocol.ts";
import type { LogLine } from "../api/schema.ts";
import type { ContainerView } from "../api/views.ts";
import { toDvsError } from "../store/errors.ts";
import { KiB } from "../limits.ts";
import { Mailbox } from "./mailbox.ts";
import { keepAliveMs, type LineSource } from "./ndjson.ts";
import type { Sessions } from "./sessions.ts";

/** A longer line comes in several: what a guest writes is not to fill anybody's memory. */
const lineCharsMax = 64 * KiB;
/** Lines that wait for a slow reader; then the nodes wait. */
const linesAheadMax = 256;

export interface LogRequest {
  uid: string;
  file?: LogName;
  tailLines: number;
  follow: boolean;
}

/** A node that does not answer, or stops to, is a line that says so. */
export function instanceLog(
  sessions: Sessions,
  containers: readonly Pick<ContainerView, "node" | "nodeName">[],
  request: LogRequest,
): LineSource {
  return mergedLines(containers, (node, signal) => linesOf(sessions.logs(node, request, signal), signal));
}

export async function* linesOf(
  stream: Promise<ReadableStream<Uint8Array>>,
  signal: AbortSignal,
): AsyncGenerator<string> {
  yield* splitLog(await stream, signal);
}

/** Lines from each container, as they come. What one of them throws is a line that says so. */
export function mergedLines(
  containers: readonly Pick<ContainerView, "node" | "nodeName">[],
  open: (node: string, signal: AbortSignal) => AsyncIterable<string>,
): LineSource {
  const mailbox = new Mailbox<LogLine>({ max: linesAheadMax });
  const stopped = new AbortController();
  const copy = async ({ node, nodeName }: Pick<ContainerView, "node" | "nodeName">) => {
    try {
      for await (const line of open(node, stopped.signal)) {
        if (!(await mailbox.send({ node: nodeName, line }))) return;
      }
    } catch (e) {
      await mailbox.send({ node: nodeName, line: `(${toDvsError(e).message})` });
    }
  };
  async function* lines(): AsyncGenerator<LogLine | undefined> {
    void Promise.all(containers.map(copy)).then(() => mailbox.close());
    for (;;) {
      const line = await mailbox.take(keepAliveMs);
      if (line === null) return;
      yield line;
    }
  }
  const stop = () => {
    stopped.abort();
    mailbox.close();
  };
  return { lines: lines(), stop };
}

/** Lines without their ends; the last one counts although nothing ends it. Cancels the stream when the signal aborts. */
export async function* splitLog(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal,
  charsMax = lineCharsMax,
): AsyncGenerator<string> {
  const reader = stream.getReader();
  const cancel = () => void reader.cancel().catch(() => undefined);
  signal.addEventListener("abort", cancel);
  if (signal.aborted) cancel();
  const decoder = new TextDecoder();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      const lines = (held + decoder.decode(value, { stream: !done })).split("\n");
      held = lines.pop() ?? "";
      for (const line of lines) yield* pieces(line, charsMax);
      while (held.length > charsMax) {
        yield held.slice(0, charsMax);
        held = held.slice(charsMax);
      }
      if (!done) continue;
      if (held !== "") yield held;
      return;
    }
  } catch (e) {
    if (held !== "") yield held;
    throw e;
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
}

function* pieces(line: string, charsMax: number): Generator<string> {
  let at = 0;
  do yield line.slice(at, at + charsMax);
  while ((at += charsMax) < line.length);
}
