/** Contents of an instance's files as they come over the API, checked: what is missing at the end of a file is told. */
import { DvsError, parseOrThrow } from "../errors.ts";
import { type FileEntryJson, GiveFrame } from "../files/remote/ask.ts";
import { readFrames } from "../files/remote/frames.ts";
import { transferStallMs } from "../limits.ts";
import type { Api } from "./client.ts";

/** `file`: which of the paths. */
export type ContentPart =
  | { type: "begin"; file: number; entry: FileEntryJson }
  | { type: "bytes"; file: number; bytes: Uint8Array }
  | { type: "end"; file: number }
  /** Of this file alone: it cannot be read, or has changed in the middle (CONFLICT). */
  | { type: "failure"; file: number; error: DvsError };

/** Each file ends with `end` or `failure`. Throws UNAVAILABLE where the stream breaks, or nothing comes for long. */
export async function* contentsOf(
  api: Pick<Api, "files">,
  instance: string,
  paths: readonly string[],
  { offset = 0, node }: { offset?: number; node?: string } = {},
  signal?: AbortSignal,
): AsyncGenerator<ContentPart> {
  const stalled = new AbortController();
  const both = signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal;
  const watch = () => setTimeout(() => stalled.abort(stood(transferStallMs)), transferStallMs);
  let timer = watch();
  let change = 0;
  let done = 0;
  try {
    const stream = await api.files.content(
      instance,
      paths,
      { offset, ...(node !== undefined && { node }) },
      both,
    );
    for await (const { header, bytes } of readFrames(stream)) {
      clearTimeout(timer);
      const frame = parseOrThrow(GiveFrame, header, "answer of the node");
      switch (frame.op) {
        case "begin":
          change = frame.entry.change;
          yield { type: "begin", file: frame.file, entry: frame.entry };
          break;
        case "bytes":
          yield { type: "bytes", file: frame.file, bytes };
          break;
        case "end":
          done++;
          yield frame.change === change
            ? { type: "end", file: frame.file }
            : { type: "failure", file: frame.file, error: changed(paths[frame.file] ?? "") };
          break;
        case "failure": {
          const { code, message } = frame.failure;
          done++;
          yield { type: "failure", file: frame.file, error: new DvsError(code, message) };
          break;
        }
        case "broken":
          throw new DvsError(frame.failure.code, frame.failure.message);
      }
      timer = watch();
    }
  } finally {
    clearTimeout(timer);
  }
  if (done < paths.length) throw new DvsError("UNAVAILABLE", "The connection broke in the middle of a file.");
}

function changed(path: string): DvsError {
  return new DvsError("CONFLICT", `Cannot read ${path}: it was changed meanwhile. Try again.`);
}

function stood(ms: number): DvsError {
  return new DvsError("UNAVAILABLE", `The stream of files stood still for ${ms / 1_000} s.`);
}
