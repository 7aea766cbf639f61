/** Contents of files as frames, for somebody outside; read as fast as they are taken. */
import { fileFrameBytesMax } from "../../limits.ts";
import { kindMask, kinds } from "../attributes.ts";
import { FileError } from "../errno.ts";
import type { FileSystem } from "../file-system.ts";
import { openPath } from "../paths.ts";
import type { GiveFrame } from "./ask.ts";
import { entryOf } from "./entries.ts";
import { failureOf } from "./errors.ts";
import { encodeFrame } from "./frames.ts";

/** From `offset` on, each of them. What cannot be given is a frame that says so, and the next one follows. */
export async function* giveFiles(
  fs: FileSystem,
  paths: readonly string[],
  offset: number,
): AsyncGenerator<Uint8Array> {
  for (const [file, path] of paths.entries()) {
    try {
      yield* giveFile(fs, file, path, offset);
    } catch (e) {
      const { code, message } = failureOf(e, `read ${path}`);
      yield encodeFrame({ op: "failure", file, failure: { code, message } } satisfies GiveFrame);
    }
  }
}

async function* giveFile(
  fs: FileSystem,
  file: number,
  path: string,
  offset: number,
): AsyncGenerator<Uint8Array> {
  const opened = await openPath(fs, path, { read: true });
  try {
    const { attributes } = opened;
    const kind = attributes.mode & kindMask;
    if (kind !== kinds.file) throw new FileError(kind === kinds.directory ? "EISDIR" : "EINVAL", path);
    const entry = await entryOf(fs, path, attributes);
    yield encodeFrame({ op: "begin", file, entry } satisfies GiveFrame);
    // One piece ahead: it is read while the one before is sent.
    let next = opened.file.read(offset, fileFrameBytesMax);
    for (let at = offset; ;) {
      const bytes = await next;
      if (bytes.length === 0) break;
      at += bytes.length;
      next = opened.file.read(at, fileFrameBytesMax);
      next.catch(() => undefined);
      yield encodeFrame({ op: "bytes", file } satisfies GiveFrame, bytes);
    }
    const { change } = await opened.file.attributes();
    yield encodeFrame({ op: "end", file, change } satisfies GiveFrame);
  } finally {
    await opened.file.close();
  }
}
