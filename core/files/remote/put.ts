/**
 * Carries out frames that bring files. Each may come again, after an answer that was lost: a file is put together under
 * another name and gets its own when it is whole, so nobody sees half of one, and what is there already is known by its
 * size and time.
 */
import { DvsError, parseOrThrow } from "../../errors.ts";
import { putFramesMax, putsAheadMax } from "../../limits.ts";
import { type Attributes, kindMask, kinds } from "../attributes.ts";
import { FileError } from "../errno.ts";
import type { AttributeChanges, FileSystem } from "../file-system.ts";
import { locatePath, openPath, resolvePath } from "../paths.ts";
import { PutFrame, type PutLine } from "./ask.ts";
import { failureOf } from "./errors.ts";
import { type Frame, readFrames } from "./frames.ts";

/** Those of one path are carried out in their order, others beside them; what follows a directory, after it. */
export async function* putFiles(fs: FileSystem, stream: ReadableStream<Uint8Array>): AsyncGenerator<PutLine> {
  const failures: PutLine[] = [];
  /** Of the whole request: it may be sent again. */
  let broken: unknown = null;
  const under = new Map<string, Promise<void>>();
  const running = new Set<Promise<void>>();
  let frames = 0;
  for await (const { header, bytes } of readFrames(stream)) {
    const frame = frames++;
    if (frames > putFramesMax) {
      throw new DvsError("TOO_LARGE", `Cannot take more than ${putFramesMax} frames in one request.`);
    }
    const checked = parseOrThrow(PutFrame, header, "frame");
    if (checked.op === "directory") await Promise.all(under.values());
    while (running.size >= putsAheadMax) await Promise.race(running);
    const before = under.get(checked.path) ?? Promise.resolve();
    const done = before
      .then(() => put(fs, checked, bytes))
      .catch((e: unknown) => {
        const error = failureOf(e, `write ${checked.path}`);
        if (!(e instanceof FileError) && error.code !== "CONFLICT") broken ??= error;
        failures.push({ frame, failure: { code: error.code, message: error.message } });
      })
      .finally(() => {
        running.delete(done);
        if (under.get(checked.path) === done) under.delete(checked.path);
      });
    running.add(done);
    under.set(checked.path, done);
    if (checked.op === "directory") await done;
    if (broken) break;
    yield* failures.splice(0);
  }
  await Promise.all(under.values());
  if (broken) throw broken;
  yield* failures;
  yield { frames };
}

async function put(fs: FileSystem, frame: PutFrame, bytes: Frame["bytes"]): Promise<void> {
  switch (frame.op) {
    case "directory":
      return putDirectory(fs, frame);
    case "attributes": {
      const { ino } = await resolvePath(fs, frame.path, { follow: false });
      await fs.setAttributes(ino, attributesOf(frame));
      return;
    }
    case "link":
      return putLink(fs, frame);
    case "file":
      if (await isThere(fs, frame, bytes.length)) return;
      await putPiece(fs, { ...frame, op: "piece", offset: 0 }, bytes);
      return finish(fs, { ...frame, op: "finish", size: bytes.length });
    case "piece":
      return putPiece(fs, frame, bytes);
    case "finish":
      return finish(fs, frame);
  }
}

async function putDirectory(
  fs: FileSystem,
  { path, mode }: Extract<PutFrame, { op: "directory" }>,
): Promise<void> {
  const { parent, name } = await locatePath(fs, path);
  if (name === "") return;
  try {
    await fs.makeDirectory(parent, name, mode);
  } catch (e) {
    if (!(e instanceof FileError) || e.code !== "EEXIST") throw e;
    // A link that leads to a directory is as good as one.
    if (kindOf(await resolvePath(fs, path)) !== kinds.directory) throw e;
  }
}

async function putLink(
  fs: FileSystem,
  { path, part, target, owner }: Extract<PutFrame, { op: "link" }>,
): Promise<void> {
  const { parent, name } = await locatePath(fs, path);
  const there = await find(fs, parent, name);
  if (there && kindOf(there) === kinds.symlink && (await fs.readLink(there.ino)) === target) return;
  await fs.unlink(parent, part).catch(unless("ENOENT"));
  const { ino } = await fs.makeSymlink(parent, part, target);
  if (owner) await fs.setAttributes(ino, { uid: owner[0], gid: owner[1] });
  await fs.rename(parent, part, parent, name);
}

async function putPiece(
  fs: FileSystem,
  { path, part, offset }: Extract<PutFrame, { op: "piece" }>,
  bytes: Uint8Array,
): Promise<void> {
  const { file } = await openPath(fs, besides(path, part), {
    write: true,
    create: 0o600,
    follow: false,
  });
  try {
    await file.write(offset, bytes);
  } finally {
    await file.close();
  }
}

async function finish(fs: FileSystem, frame: Extract<PutFrame, { op: "finish" }>): Promise<void> {
  const { path, part, size } = frame;
  const { parent, name } = await locatePath(fs, path);
  const found = await find(fs, parent, part);
  if (!found) {
    if (await isThere(fs, frame, size)) return;
    throw new FileError("ENOENT", besides(path, part));
  }
  if (found.size !== size) {
    await fs.unlink(parent, part).catch(unless("ENOENT"));
    const message = `Cannot write ${path}: ${found.size} bytes of ${size} have come. Copy it again.`;
    throw new DvsError("CONFLICT", message);
  }
  await fs.setAttributes(found.ino, attributesOf(frame));
  await fs.rename(parent, part, parent, name);
}

/** With this size and time, as it is after this very frame. */
async function isThere(
  fs: FileSystem,
  { path, mtime: [seconds, nanos] }: { path: string; mtime: [number, number] },
  size: number,
): Promise<boolean> {
  const { parent, name } = await locatePath(fs, path);
  const there = await find(fs, parent, name);
  if (!there || kindOf(there) !== kinds.file || there.size !== size) return false;
  return there.mtime.seconds === seconds && there.mtime.nanos === nanos;
}

function attributesOf({
  mode,
  mtime: [seconds, nanos],
  owner,
}: {
  mode: number;
  mtime: [number, number];
  owner?: [number, number] | undefined;
}): AttributeChanges {
  return { mode, mtime: { seconds, nanos }, ...(owner && { uid: owner[0], gid: owner[1] }) };
}

function find(fs: FileSystem, parent: number, name: string): Promise<Attributes | null> {
  return fs.lookup(parent, name).catch((e: unknown) => {
    if (e instanceof FileError && e.code === "ENOENT") return null;
    throw e;
  });
}

function unless(code: string): (e: unknown) => void {
  return (e) => {
    if (!(e instanceof FileError) || e.code !== code) throw e;
  };
}

function kindOf({ mode }: Attributes): number {
  return mode & kindMask;
}

/** The path of another name in the same directory. */
function besides(path: string, name: string): string {
  return `${path.replace(/\/+$/, "").replace(/[^/]*$/, "")}${name}`;
}
