/**
 * A directory of the volume that nobody is served from: uploads grow in it until they are whole, copies of collections
 * too, and what was removed is taken apart in it. So what readers see changes by one rename: old or new, never half.
 * What a container leaves behind when it dies is removed by any other, once nobody has written to it for a while.
 */
import { isDirectory } from "../../../core/files/attributes.ts";
import { FileError } from "../../../core/files/errno.ts";
import { type FileSystem, type OpenFile, rootIno } from "../../../core/files/file-system.ts";
import { lookupOrNull } from "../../../core/files/paths.ts";
import { workName } from "../volume/paths.ts";
import { removeTree } from "./remove-tree.ts";

/** Longer than any upload is silent (put.ts). */
const leftMs = 30 * 60_000;
const tidyMs = 10 * 60_000;
const entriesAtOnce = 256;

export class WorkArea {
  readonly #fs: FileSystem;
  readonly #report: (message: string, e: unknown) => void;
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #closing = new AbortController();
  /** What this container is at work on. */
  readonly #mine = new Set<string>();
  #removing: Promise<void> = Promise.resolve();

  constructor(fs: FileSystem, report: (message: string, e: unknown) => void) {
    this.#fs = fs;
    this.#report = report;
    this.#timer = setInterval(() => void this.tidy(), tidyMs * (0.5 + Math.random()));
    this.#timer.unref?.();
  }

  /** An empty file under a name of its own, open for writing. `drop` it, or rename it away and say `done`. */
  async file(mode: number): Promise<{ parent: number; name: string; file: OpenFile }> {
    return this.#made((parent, name) =>
      this.#fs.create(parent, name, mode, { write: true, exclusive: true }),
    );
  }

  async directory(mode: number): Promise<{ parent: number; name: string; ino: number }> {
    return this.#made((parent, name) => this.#fs.makeDirectory(parent, name, mode));
  }

  done(name: string): void {
    this.#mine.delete(name);
  }

  /** It goes, in the background where it is large. */
  async drop(name: string): Promise<void> {
    try {
      const parent = await this.#directory();
      const found = await lookupOrNull(this.#fs, parent, name);
      if (found && isDirectory(found)) this.#removeLater(name);
      else if (found) await this.#fs.unlink(parent, name);
    } catch (e) {
      // The tidying finds it.
      this.#report("an upload that has ended is still there", e);
    } finally {
      this.#mine.delete(name);
    }
  }

  /** Takes a collection from its place; it is gone for readers at once. */
  async take(parent: number, name: string): Promise<{ parent: number; name: string }> {
    const place = { parent: await this.#directory(), name: crypto.randomUUID() };
    await this.#fs.rename(parent, name, place.parent, place.name, "noReplace");
    return place;
  }

  /** What is under way is left to the other containers. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await this.#removing;
  }

  async #made<Made>(
    make: (parent: number, name: string) => Promise<Made>,
  ): Promise<Made & { parent: number; name: string }> {
    const name = crypto.randomUUID();
    this.#mine.add(name);
    try {
      const parent = await this.#directory();
      return { ...(await make(parent, name)), parent, name };
    } catch (e) {
      this.#mine.delete(name);
      throw e;
    }
  }

  /** Made by whoever needs it first. */
  async #directory(): Promise<number> {
    const known = await lookupOrNull(this.#fs, rootIno, workName);
    if (known) return known.ino;
    try {
      return (await this.#fs.makeDirectory(rootIno, workName, 0o700)).ino;
    } catch (e) {
      if (!(e instanceof FileError) || e.code !== "EEXIST") throw e;
      return (await this.#fs.lookup(rootIno, workName)).ino;
    }
  }

  #removeLater(name: string): void {
    const parent = this.#directory();
    this.#removing = this.#removing
      .then(async () => removeTree(this.#fs, await parent, name, this.#closing.signal))
      .catch((e: unknown) => this.#report("what was removed is still being taken apart", e));
  }

  /** Removes what nobody has written to for long. */
  async tidy(): Promise<void> {
    try {
      const found = await lookupOrNull(this.#fs, rootIno, workName);
      if (!found) return;
      for (let after = 0; !this.#closing.signal.aborted;) {
        const entries = await this.#fs.entries(found.ino, after, entriesAtOnce, true);
        if (entries.length === 0) return;
        after = entries.at(-1)!.cookie;
        const before = Date.now() - leftMs;
        for (const { name, attributes } of entries) {
          const isOld = attributes !== undefined && attributes.ctime.seconds * 1000 < before;
          if (isOld && !this.#mine.has(name))
            await removeTree(this.#fs, found.ino, name, this.#closing.signal);
        }
      }
    } catch (e) {
      this.#report("cannot tidy up after uploads", e);
    }
  }
}
