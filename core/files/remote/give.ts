/** Contents of files as frames, for somebody outside; read as fast as they are taken, small ones a few ahead. */
import { fileFrameBytesMax, givesAheadMax } from "../../limits.ts";
import { type Attributes, isSymlink, kindOf, kinds } from "../attributes.ts";
import { FileError } from "../errno.ts";
import type { FileSystem, OpenFile } from "../file-system.ts";
import { openPath } from "../paths.ts";
import type { GiveFrame } from "./ask.ts";
import { Directories } from "./directories.ts";
import { entryOf } from "./entries.ts";
import { failureOf } from "./errors.ts";
import { encodeFrame } from "./frames.ts";

interface Begun {
  attributes: Attributes;
  first: Uint8Array;
  /** What is left of it, where `first` is not all. */
  rest: OpenFile | null;
  /** As it was when all was read; 0: it is not yet. */
  change: number;
}

/** From `offset` on, each of them. What cannot be given is a frame that says so, and the next one follows. */
export async function* giveFiles(
  fs: FileSystem,
  paths: readonly string[],
  offset: number,
): AsyncGenerator<Uint8Array> {
  const directories = new Directories(fs);
  const begun: Promise<Begun>[] = [];
  const beginTo = (end: number): void => {
    for (let file = begun.length; file < Math.min(end, paths.length); file++) {
      const beginning = begin(fs, directories, paths[file]!, offset);
      beginning.catch(() => undefined);
      begun.push(beginning);
    }
  };
  let file = 0;
  try {
    for (; file < paths.length; file++) {
      beginTo(file + givesAheadMax);
      try {
        yield* giveFile(fs, file, paths[file]!, offset, await begun[file]!);
      } catch (e) {
        const { code, message } = failureOf(e, `read ${paths[file]!}`);
        yield encodeFrame({ op: "failure", file, failure: { code, message } } satisfies GiveFrame);
      }
    }
  } finally {
    // Nobody wants those that were begun.
    for (const beginning of begun.slice(file))
      await beginning.then(({ rest }) => rest?.close()).catch(() => undefined);
  }
}

async function begin(fs: FileSystem, directories: Directories, path: string, offset: number): Promise<Begun> {
  const { file, attributes } = await open(fs, directories, path);
  try {
    const kind = kindOf(attributes);
    if (kind !== kinds.file) throw new FileError(kind === kinds.directory ? "EISDIR" : "EINVAL", path);
    const first = await file.read(offset, fileFrameBytesMax);
    if (offset + first.length < attributes.size) return { attributes, first, rest: file, change: 0 };
    const { change } = await file.attributes();
    await file.close();
    return { attributes, first, rest: null, change };
  } catch (e) {
    await file.close();
    throw e;
  }
}

async function open(
  fs: FileSystem,
  directories: Directories,
  path: string,
): Promise<{ file: OpenFile; attributes: Attributes }> {
  const { parent, name } = await directories.locate(path);
  const attributes = name === "" ? await fs.attributes(parent) : await fs.lookup(parent, name);
  // A link leads elsewhere.
  if (isSymlink(attributes)) return openPath(fs, path, { read: true });
  return { file: await fs.open(attributes.ino, { read: true }), attributes };
}

async function* giveFile(
  fs: FileSystem,
  file: number,
  path: string,
  offset: number,
  { attributes, first, rest, change }: Begun,
): AsyncGenerator<Uint8Array> {
  try {
    const entry = await entryOf(fs, path, attributes);
    yield encodeFrame({ op: "begin", file, entry } satisfies GiveFrame);
    if (first.length > 0) yield encodeFrame({ op: "bytes", file } satisfies GiveFrame, first);
    let end = change;
    if (rest) {
      yield* giveRest(file, rest, offset + first.length);
      end = (await rest.attributes()).change;
    }
    yield encodeFrame({ op: "end", file, change: end } satisfies GiveFrame);
  } finally {
    await rest?.close();
  }
}

/** One piece ahead: it is read while the one before is sent. */
async function* giveRest(file: number, rest: OpenFile, from: number): AsyncGenerator<Uint8Array> {
  let next = rest.read(from, fileFrameBytesMax);
  for (let at = from; ;) {
    const bytes = await next;
    if (bytes.length === 0) return;
    at += bytes.length;
    next = rest.read(at, fileFrameBytesMax);
    next.catch(() => undefined);
    yield encodeFrame({ op: "bytes", file } satisfies GiveFrame, bytes);
  }
}
