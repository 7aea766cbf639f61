/**
 * PUT: the body grows beside the volume's files and takes its name when it is whole, by one rename. What the request
 * demands of the file that is replaced holds when it is replaced: of two that knew the same one, the second gets 412.
 */
import { isDirectory } from "../../../core/files/attributes.ts";
import { KiB } from "../../../core/limits.ts";
import { FileError } from "../../../core/files/errno.ts";
import type { OpenFile } from "../../../core/files/file-system.ts";
import { type DavAnswer, Refusal } from "./answer.ts";
import type { DavContext, Target } from "./context.ts";
import { fileMode } from "./copy-tree.ts";
import { type Place, placeOf } from "./place.ts";
import { checkPreconditions, isGuarded } from "./preconditions.ts";
import { currentOf } from "./target.ts";

/** Of a body are gathered before they are written, while as many are on their way. */
const pieceBytes = 512 * KiB;
/** A body of which nothing comes for so long is given up. */
const silentMs = 60_000;
/** What comes slowly is written all the same, so that others see that somebody is at work. */
const flushMs = 60_000;
/** The file was replaced by somebody else while this one was written. */
const triesMax = 16;

export async function put(
  { fs, work, tagOf, fileBytesMax }: DavContext,
  { names, isCollection }: Target,
  request: Request,
): Promise<DavAnswer> {
  // MKCOL makes collections.
  if (isCollection || names.length === 0) throw new Refusal(405);
  const { headers } = request;
  // Part of a file would replace the whole (RFC 9110 section 14.5).
  if (headers.has("content-range")) throw new Refusal(400);
  const length = lengthOf(headers);
  if (length !== null && length > fileBytesMax) throw new Refusal(413);
  const check = (place: Place): void => {
    if (place.found && isDirectory(place.found)) throw new Refusal(405);
    checkPreconditions(headers, currentOf(place.found, tagOf));
  };
  // Before the body comes, and again when it is there.
  check(await placeOf(fs, names));

  const temporary = await work.file(fileMode);
  const { file } = temporary;
  let isPlaced = false;
  try {
    const bytes = await copyBody(request.body, file, fileBytesMax);
    // Whoever went away in the middle has sent half a file.
    if (length !== null && bytes !== length) throw new Refusal(400);
    for (let tries = 1; ; tries++) {
      const place = await placeOf(fs, names);
      check(place);
      const { parent, name, found } = place;
      const only = isGuarded(headers) ? (found?.ino ?? 0) : undefined;
      try {
        await fs.rename(temporary.parent, temporary.name, parent, name, "replace", only);
      } catch (e) {
        if (e instanceof FileError && e.code === "ESTALE" && tries < triesMax) continue;
        throw e;
      }
      isPlaced = true;
      work.done(temporary.name);
      const etag = `"${tagOf(await file.attributes())}"`;
      return { status: found ? 204 : 201, headers: { etag } };
    }
  } finally {
    await file.close();
    if (!isPlaced) await work.drop(temporary.name);
  }
}

/** Null: the body is chunked, and ends where it says so. */
function lengthOf(headers: Headers): number | null {
  const text = headers.get("content-length");
  if (text === null) return null;
  if (!/^\d{1,15}$/.test(text)) throw new Refusal(400);
  return Number(text);
}

/** Resolves with how many bytes there were. While a piece is written the next one is gathered. */
async function copyBody(
  body: ReadableStream<Uint8Array> | null,
  file: OpenFile,
  bytesMax: number,
): Promise<number> {
  if (!body) return 0;
  const reader = body.getReader();
  let [gathered, at]: [Uint8Array[], number] = [[], 0];
  let [waiting, writtenMs] = [0, performance.now()];
  let writing: Promise<unknown> = Promise.resolve();
  const write = async (): Promise<void> => {
    const piece = joined(gathered, waiting);
    const from = at;
    at += waiting;
    [gathered, waiting, writtenMs] = [[], 0, performance.now()];
    await writing;
    writing = file.write(from, piece);
    // Whoever awaits it next gets what went wrong.
    writing.catch(() => undefined);
  };
  try {
    for (;;) {
      const { done, value } = await soon(reader);
      if (done) break;
      if (at + waiting + value.length > bytesMax) throw new Refusal(413);
      gathered.push(value);
      waiting += value.length;
      if (waiting >= pieceBytes || performance.now() - writtenMs > flushMs) await write();
    }
    if (waiting > 0) await write();
    await writing;
    return at;
  } catch (e) {
    await writing.catch(() => undefined);
    reader.cancel(e).catch(() => undefined);
    throw e;
  }
}

/** The next of the body. Throws a Refusal with 408, or 400 where the connection was lost. */
async function soon(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<Awaited<ReturnType<typeof reader.read>>> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Refusal(408)), silentMs);
  });
  try {
    return await Promise.race([reader.read().catch(() => Promise.reject(new Refusal(400))), silence]);
  } finally {
    clearTimeout(timer);
  }
}

function joined(pieces: readonly Uint8Array[], bytes: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
