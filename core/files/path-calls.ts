/**
 * The calls of POSIX that name files by paths, over a FileSystem: what a file server of a VOS answers with. What the last
 * name of a path may be ("." and "..", a slash behind it, a link) differs from call to call, as on Linux.
 */
import { type Attributes, isDirectory, isSymlink } from "./attributes.ts";
import { FileError } from "./errno.ts";
import type { AttributeChanges, DirectoryEntry, FileSystem } from "./file-system.ts";
import { type Located, locatePath, lookupOrNull, type PathOptions, resolvePath } from "./paths.ts";

const entriesAtOnce = 512;

export class PathCalls {
  readonly #fs: FileSystem;
  readonly #options: PathOptions;

  constructor(fs: FileSystem, options: PathOptions = {}) {
    this.#fs = fs;
    this.#options = options;
  }

  stat(path: string): Promise<Attributes> {
    return resolvePath(this.#fs, path, this.#options);
  }

  lstat(path: string): Promise<Attributes> {
    return resolvePath(this.#fs, path, { ...this.#options, follow: false });
  }

  async readlink(path: string): Promise<string> {
    const found = await this.lstat(path);
    if (!isSymlink(found)) throw new FileError("EINVAL", `${path} is no symbolic link`);
    return this.#fs.readLink(found.ino);
  }

  async mkdir(path: string, mode: number): Promise<Attributes> {
    const { parent, name } = await this.#locate(path);
    if (isDots(name)) throw new FileError("EEXIST", `cannot make ${path}`);
    return this.#fs.makeDirectory(parent, name, mode);
  }

  async rmdir(path: string): Promise<void> {
    const { parent, name } = await this.#locate(path);
    if (name === "") throw new FileError("EBUSY", "the root cannot be removed");
    if (name === ".") throw new FileError("EINVAL", `cannot remove ${path}`);
    if (name === "..") throw new FileError("ENOTEMPTY", `cannot remove ${path}`);
    await this.#fs.removeDirectory(parent, name);
  }

  async unlink(path: string): Promise<void> {
    const { parent, name, mustBeDirectory } = await this.#locate(path);
    if (isDots(name)) throw new FileError("EISDIR", `cannot unlink ${path}`);
    if (mustBeDirectory) {
      const found = await this.#fs.lookup(parent, name);
      throw new FileError(isDirectory(found) ? "EISDIR" : "ENOTDIR", `cannot unlink ${path}`);
    }
    await this.#fs.unlink(parent, name);
  }

  async rename(from: string, to: string, how?: "replace" | "noReplace" | "exchange"): Promise<void> {
    const source = await this.#locate(from);
    const target = await this.#locate(to);
    if (isDots(source.name) || isDots(target.name))
      throw new FileError("EBUSY", `cannot rename ${from} to ${to}`);
    if (source.mustBeDirectory || target.mustBeDirectory) {
      const found = await this.#fs.lookup(source.parent, source.name);
      if (!isDirectory(found)) throw new FileError("ENOTDIR", `cannot rename ${from} to ${to}`);
    }
    await this.#fs.rename(source.parent, source.name, target.parent, target.name, how);
  }

  /** A link at the end of `from` gets another name itself. */
  async link(from: string, to: string): Promise<void> {
    const { ino } = await this.lstat(from);
    const { parent, name, mustBeDirectory } = await this.#locateNew(to);
    if (mustBeDirectory) throw await this.#slashBehindNew(parent, name, to);
    await this.#fs.makeLink(ino, parent, name);
  }

  async symlink(target: string, path: string): Promise<void> {
    if (target === "") throw new FileError("ENOENT", "a symbolic link cannot be empty");
    const { parent, name, mustBeDirectory } = await this.#locateNew(path);
    if (mustBeDirectory) throw await this.#slashBehindNew(parent, name, path);
    await this.#fs.makeSymlink(parent, name, target);
  }

  /** chmod, chown, utimes and truncate; `follow` false: of a link itself. */
  async change(path: string, changes: AttributeChanges, { follow = true } = {}): Promise<Attributes> {
    if (changes.size !== undefined && changes.size < 0)
      throw new FileError("EINVAL", `cannot cut ${path} to ${changes.size} bytes`);
    const found = await (follow ? this.stat(path) : this.lstat(path));
    if (changes.size !== undefined && isDirectory(found))
      throw new FileError("EISDIR", `${path} is a directory`);
    return this.#fs.setAttributes(found.ino, changes);
  }

  /** Everything in a directory, in the order of its entries. What others do meanwhile may be in it or not. */
  async list(path: string): Promise<DirectoryEntry[]> {
    const { ino } = await this.stat(path);
    const all: DirectoryEntry[] = [];
    for (;;) {
      const some = await this.#fs.entries(ino, all.at(-1)?.cookie ?? 0, entriesAtOnce);
      if (some.length === 0) return all;
      all.push(...some);
    }
  }

  #locate(path: string): Promise<Located> {
    return locatePath(this.#fs, path, this.#options);
  }

  async #locateNew(path: string): Promise<Located> {
    const located = await this.#locate(path);
    if (isDots(located.name)) throw new FileError("EEXIST", `${path} is there`);
    return located;
  }

  /** Only directories are made under names with a slash behind. */
  async #slashBehindNew(parent: number, name: string, path: string): Promise<FileError> {
    const found = await lookupOrNull(this.#fs, parent, name);
    return new FileError(found ? "EEXIST" : "ENOENT", `cannot make ${path}`);
  }
}

function isDots(name: string): boolean {
  return name === "" || name === "." || name === "..";
}
