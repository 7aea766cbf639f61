/** A directory as an image in the cluster: built here, then only what the coordinator does not have is sent. */
import { resolve } from "node:path";
import type { Api } from "../core/api/client.ts";
import type { ImageRecord } from "../core/records.ts";
import { bytes } from "./format.ts";
import type { Io } from "./io.ts";
import { Progress } from "./progress.ts";
import type { Words } from "./words.ts";

export interface PushedImage {
  record: ImageRecord;
  sentFiles: number;
  sentBytes: number;
}

export async function buildAndPush(
  api: Api,
  dir: string,
  names: string[],
  { io, words }: { io: Io; words: Words },
): Promise<PushedImage> {
  const [{ buildImage }, { pushImage }] = await Promise.all([
    import("../core/image/builder.ts"),
    import("../core/image/transfer.ts"),
  ]);
  const progress = new Progress(io, words);
  try {
    // Only on a terminal: thousands of lines would say nothing.
    const show = io.stderr.isTTY ? (text: string) => progress.show(text) : () => undefined;
    const built = await buildImage(resolve(io.cwd, dir), {
      signal: io.signal,
      onProgress: (p) => show(`reading ${p.files}/${p.filesTotal} files, ${bytes(p.bytes)}`),
    });
    progress.end();
    for (const skipped of built.skipped)
      words.warn(`left out of the image: ${skipped.path}: ${skipped.message}`);
    const sent = await pushImage(built, api.images.remote(), {
      signal: io.signal,
      onProgress: (p) => show(`sending ${bytes(p.bytes)} of ${bytes(p.bytesTotal)}`),
    });
    const record = await api.images.commit({ digest: built.digest, names });
    return { record, sentFiles: sent.blobs, sentBytes: sent.bytes };
  } finally {
    progress.end();
  }
}
