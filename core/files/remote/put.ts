/**
 * Carries out frames that bring files. Each may come again, after an answer that was lost: a file is put together under
 * another name and gets its own when it is whole, so nobody sees half of one, and what is there already is known by its
 * size and time.
 */
import { DvsError, parseOrThrow } from "../../errors.ts";
import { putFramesMax, putsAheadMax, writeBytesMax } from "../../limits.ts";
import { type Attributes, type FileTime, kindOf, kinds } from "../attributes.ts";
import { FileError } from "../errno.ts";
import type { AttributeChanges, FileSystem, OpenFile } from "../file-system.ts";
import { lookupOrNull, resolvePath } from "../paths.ts";
import { PutFrame, type PutLine } from "./ask.ts";
import { Directories } from "./directories.ts";
import { failureOf } from "./errors.ts";
import { type Frame, readFrames } from "./frames.ts";

/** Those of one path are carried out in their order, others beside them; what follows a directory, after it. */
export async function* putFiles(fs: FileSystem, stream: ReadableStream<Uint8Array>): AsyncGenerator<PutLine> {
  const failures: PutLine[] = [];
  /** Of the whole request: it may be sent again. */
  let broken: unknown = null;
  const under = new Map<string, Promise<void>>();
  /** By its path, with "/" at the end. */
  const directories = new Map<string, Promise<void>>();
  const running = new Set<Promise<void>>();
  let frames = 0;
  const putting = new Putting(fs);
  for await (const { header, bytes } of readFrames(stream)) {
    const frame = frames++;
    if (frames > putFramesMax) {
      throw new DvsError("TOO_LARGE", `Cannot take more than ${putFramesMax} frames in one request.`);
    }
    const checked = parseOrThrow(PutFrame, header, "frame");
    while (running.size >= putsAheadMax) await Promise.race(running);
    const { path } = checked;
    // Of a directory that is not among them, or is called by another of its paths, nothing is known.
    const directory = directories.get(directoryOf(path)) ?? Promise.all(directories.values());
    const before = Promise.all([under.get(path), directory]);
    const done = before
      .then(() => putting.put(checked, bytes))
      .catch((e: unknown) => {
        const error = failureOf(e, `write ${checked.path}`);
        if (!(e instanceof FileError) && error.code !== "CONFLICT") broken ??= error;
        failures.push({ frame, failure: { code: error.code, message: error.message } });
      })
      .finally(() => {
        running.delete(done);
        if (under.get(path) === done) under.delete(path);
      });
    running.add(done);
    under.set(path, done);
    if (checked.op === "directory") directories.set(`${path.replace(/\/+$/, "")}/`, done);
    if (broken) break;
    yield* failures.splice(0);
  }
  await Promise.all(under.values());
  await putting.close();
  if (broken) throw broken;
  yield* failures;
  yield { frames };
}

/** One request: what it has found and opened is used again by its further frames. */
class Putting {
  readonly #fs: FileSystem;
  readonly #directories: Directories;
  /** By the path of a part. */
  readonly #parts = new Map<string, Promise<OpenFile>>();

  constructor(fs: FileSystem) {
    this.#fs = fs;
    this.#directories = new Directories(fs);
  }

  async put(frame: PutFrame, bytes: Frame["bytes"]): Promise<void> {
    const fs = this.#fs;
    switch (frame.op) {
      case "directory":
        return this.#directory(frame);
      case "attributes": {
        const { ino } = await resolvePath(fs, frame.path, { follow: false });
        await fs.setAttributes(ino, attributesOf(frame));
        return;
      }
      case "link":
        return this.#link(frame);
      case "file":
        return this.#file(frame, bytes);
      case "piece": {
        const file = await this.#part(frame);
        await file.write(frame.offset, bytes);
        return;
      }
      case "finish":
        return this.#finish(frame);
    }
  }

  async close(): Promise<void> {
    for (const part of this.#parts.values()) {
      const file = await part.catch(() => null);
      await file?.close();
    }
  }

  async #directory({ path, mode }: Of<"directory">): Promise<void> {
    const { parent, name } = await this.#directories.locate(path);
    if (name === "") return;
    try {
      await this.#fs.makeDirectory(parent, name, mode);
    } catch (e) {
      if (!(e instanceof FileError) || e.code !== "EEXIST") throw e;
      // A link that leads to a directory is as good as one.
      if (kindOf(await resolvePath(this.#fs, path)) !== kinds.directory) throw e;
    }
  }

  async #link({ path, part, target, owner }: Of<"link">): Promise<void> {
    const fs = this.#fs;
    const { parent, name } = await this.#directories.locate(path);
    const there = await lookupOrNull(fs, parent, name);
    if (there && kindOf(there) === kinds.symlink && (await fs.readLink(there.ino)) === target) return;
    await fs.unlink(parent, part).catch(unless("ENOENT"));
    const { ino } = await fs.makeSymlink(parent, part, target);
    if (owner) await fs.setAttributes(ino, { uid: owner[0], gid: owner[1] });
    await fs.rename(parent, part, parent, name);
  }

  async #file(frame: Of<"file">, bytes: Uint8Array): Promise<void> {
    const { parent, name } = await this.#directories.locate(frame.path);
    const there = await lookupOrNull(this.#fs, parent, name);
    if (isSame(there, frame, bytes.length)) return;
    if (bytes.length <= writeBytesMax && (await this.#whole(parent, name, frame, bytes, there))) return;
    const { file } = await this.#fs.create(parent, frame.part, 0o600, { write: true });
    try {
      if (bytes.length > 0) await file.write(0, bytes);
      await this.#fs.setAttributes(file.ino, { ...attributesOf(frame), size: bytes.length });
    } finally {
      await file.close();
    }
    // The attributes may have been set again by a copy of this very frame: they are the same.
    await this.#fs.rename(parent, frame.part, parent, name);
  }

  /** In one step; false: it takes several. */
  async #whole(
    parent: number,
    name: string,
    frame: Of<"file">,
    bytes: Uint8Array,
    there: Attributes | null,
  ): Promise<boolean> {
    const { mode, mtime, uid, gid } = attributesOf(frame);
    const owner = uid === undefined ? {} : { uid, gid: gid! };
    const put = await this.#fs.put(parent, name, bytes, { mode, mtime, ...owner }, there?.ino ?? 0);
    return put !== null;
  }

  #part({ path, part }: Of<"piece">): Promise<OpenFile> {
    const key = besides(path, part);
    let open = this.#parts.get(key);
    if (!open) this.#parts.set(key, (open = this.#openPart(path, part)));
    return open;
  }

  async #openPart(path: string, part: string): Promise<OpenFile> {
    const { parent } = await this.#directories.locate(path);
    const found = await lookupOrNull(this.#fs, parent, part);
    if (found) return this.#fs.open(found.ino, { write: true });
    return (await this.#fs.create(parent, part, 0o600, { write: true })).file;
  }

  async #finish(frame: Of<"finish">): Promise<void> {
    const fs = this.#fs;
    const { path, part, size } = frame;
    const { parent, name } = await this.#directories.locate(path);
    const found = await lookupOrNull(fs, parent, part);
    if (!found) {
      if (isSame(await lookupOrNull(fs, parent, name), frame, size)) return;
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
}

/** With this size and time, as it is after this very frame. */
function isSame(
  there: Attributes | null,
  { mtime: [seconds, nanos] }: { mtime: [number, number] },
  size: number,
): boolean {
  if (!there || kindOf(there) !== kinds.file || there.size !== size) return false;
  return there.mtime.seconds === seconds && there.mtime.nanos === nanos;
}

type Of<Op extends PutFrame["op"]> = Extract<PutFrame, { op: Op }>;

function attributesOf({
  mode,
  mtime: [seconds, nanos],
  owner,
}: {
  mode: number;
  mtime: [number, number];
  owner?: [number, number] | undefined;
}): Pick<AttributeChanges, "uid" | "gid"> & { mode: number; mtime: FileTime } {
  return { mode, mtime: { seconds, nanos }, ...(owner && { uid: owner[0], gid: owner[1] }) };
}

function unless(code: string): (e: unknown) => void {
  return (e) => {
    if (!(e instanceof FileError) || e.code !== code) throw e;
  };
}

/** Whose entry it is, with "/" at the end. */
function directoryOf(path: string): string {
  return path.replace(/\/+$/, "").replace(/[^/]*$/, "");
}

/** The path of another name in the same directory. */
function besides(path: string, name: string): string {
  return `${path.replace(/\/+$/, "").replace(/[^/]*$/, "")}${name}`;
}
