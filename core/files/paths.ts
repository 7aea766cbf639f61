/**
 * Paths over a FileSystem, walked as Linux walks them: symbolic links on the way are followed, at most forty; "/" at
 * the end means a directory, also behind a link; what may be searched is checked for whoever the FileSystem is of.
 *
 * Between two steps somebody else may change the tree, as on any machine: each step is true when it is taken.
 */
import { symlinkHopsMax } from "../limits.ts";
import { type Attributes, isDirectory, isSymlink } from "./attributes.ts";
import { FileError, nullWhereNone } from "./errno.ts";
import { type FileSystem, type OpenFile, type OpenFlags, rootIno } from "./file-system.ts";
import { pathIssue } from "./names.ts";

export interface PathOptions {
  /** Directory that a path without "/" at its begin goes out from. Default: the root. */
  from?: number;
  /** What "/" means, as after chroot; ".." does not lead out of it. */
  root?: number;
}

/** Where a name is, or is to be made. */
export interface Located {
  parent: number;
  /** May be "." or ".."; "" where the path is only slashes: the root itself. */
  name: string;
  /** The path ends with "/". */
  mustBeDirectory: boolean;
}

export async function resolvePath(
  fs: FileSystem,
  path: string,
  { follow = true, ...options }: PathOptions & { follow?: boolean } = {},
): Promise<Attributes> {
  const walk = new Walk(fs, path, options);
  return walk.last(await walk.toLast(), follow);
}

/** The directory that the last name of the path is in, and that name: which need not be there. */
export async function locatePath(fs: FileSystem, path: string, options: PathOptions = {}): Promise<Located> {
  return new Walk(fs, path, options).toLast();
}

export interface OpenPathOptions extends PathOptions, OpenFlags {
  /** Permission bits of a file that is made where there is none; without it that is ENOENT. */
  create?: number;
  /** With `create`: EEXIST for what is there, also for a link. */
  exclusive?: boolean;
  /** False: ELOOP for a link at the end. */
  follow?: boolean;
}

/** As open(2): a link at the end is followed, also to where nothing is yet. */
export async function openPath(
  fs: FileSystem,
  path: string,
  options: OpenPathOptions,
): Promise<{ attributes: Attributes; file: OpenFile; created: boolean }> {
  const { create, exclusive = false, follow = true, from, root, ...flags } = options;
  const walk = new Walk(fs, path, {
    ...(from !== undefined && { from }),
    ...(root !== undefined && { root }),
  });
  for (;;) {
    const located = await walk.toLast();
    const { parent, name } = located;
    if (create !== undefined && located.mustBeDirectory)
      throw new FileError("EISDIR", `cannot create ${path}`);
    const mayBeMade = create !== undefined && name !== "" && name !== "." && name !== "..";
    const last = walk.last(located, false);
    const found = await (mayBeMade ? last.catch(nullWhereNone) : last);
    if (!found) return fs.create(parent, name, create!, { ...flags, exclusive });
    if (create !== undefined && exclusive) throw new FileError("EEXIST", `cannot create ${path}`);
    if (!isSymlink(found))
      return { attributes: found, file: await fs.open(found.ino, flags), created: false };
    if (!follow) throw new FileError("ELOOP", `cannot open ${path}: it is a symbolic link`);
    await walk.enter(parent, found);
  }
}

/** What has the name, a link itself; null where nothing has it. */
export function lookupOrNull(fs: FileSystem, parent: number, name: string): Promise<Attributes | null> {
  return fs.lookup(parent, name).catch(nullWhereNone);
}

class Walk {
  readonly #fs: FileSystem;
  readonly #path: string;
  readonly #root: number;
  #at: number;
  /** What is left of the path, and whether it ends with "/". */
  #names: string[];
  #endsWithSlash: boolean;
  #hops = 0;

  constructor(fs: FileSystem, path: string, { from, root = rootIno }: PathOptions) {
    const issue = pathIssue(path);
    if (issue) throw new FileError(issue, `${JSON.stringify(path.slice(0, 300))} is no path`);
    this.#fs = fs;
    this.#path = path;
    this.#root = root;
    this.#at = path.startsWith("/") ? root : (from ?? root);
    this.#names = namesIn(path);
    this.#endsWithSlash = path.endsWith("/");
  }

  /** Walks to the last name. */
  async toLast(): Promise<Located> {
    while (this.#names.length > 1) {
      const parent = this.#at;
      const found = await this.#lookup(parent, this.#names.shift()!);
      if (isSymlink(found)) await this.enter(parent, found);
      else if (isDirectory(found)) this.#at = found.ino;
      else throw this.#notDirectory();
    }
    const name = this.#names.pop() ?? "";
    return { parent: this.#at, name, mustBeDirectory: this.#endsWithSlash && name !== "" };
  }

  /** The last one itself; where it is a link that is to be followed, what it leads to. */
  async last({ parent, name, mustBeDirectory }: Located, follow: boolean): Promise<Attributes> {
    const found = name === "" ? await this.#fs.attributes(parent) : await this.#lookup(parent, name);
    if (isSymlink(found) && (follow || mustBeDirectory)) {
      await this.enter(parent, found);
      return this.last(await this.toLast(), true);
    }
    if (mustBeDirectory && !isDirectory(found)) throw this.#notDirectory();
    return found;
  }

  /** The path goes on behind a link that is in this directory. */
  async enter(parent: number, { ino }: Attributes): Promise<void> {
    if (++this.#hops > symlinkHopsMax) {
      throw new FileError("ELOOP", `${this.#path} leads over more than ${symlinkHopsMax} symbolic links`);
    }
    const target = await this.#fs.readLink(ino);
    if (this.#names.length === 0) this.#endsWithSlash ||= target.endsWith("/");
    this.#names = [...namesIn(target), ...this.#names];
    this.#at = target.startsWith("/") ? this.#root : parent;
  }

  #lookup(parent: number, name: string): Promise<Attributes> {
    // ".." of the root is the root.
    return this.#fs.lookup(parent, name === ".." && parent === this.#root ? "." : name);
  }

  #notDirectory(): FileError {
    return new FileError("ENOTDIR", `${this.#path}: what should be a directory is none`);
  }
}

function namesIn(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}
