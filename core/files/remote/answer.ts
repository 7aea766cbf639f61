/** Answers what somebody outside asks of an instance's file system, where that is no stream of bytes. */
import { FileError, nullWhereNone } from "../errno.ts";
import type { FileSystem } from "../file-system.ts";
import { type Located, locatePath, lookupOrNull, resolvePath } from "../paths.ts";
import { isDirectory } from "../attributes.ts";
import type { FileEntriesJson, FileEntryJson, FilesAsk, FilesUsageJson } from "./ask.ts";
import { entryOf } from "./entries.ts";
import { failureOf } from "./errors.ts";
import { removeAll } from "./remove-all.ts";

export interface Volumes {
  /** For what may be done twice. */
  fs: FileSystem;
  /** Under the name that the question brings: for the one operation that is to be carried out once. */
  once: FileSystem;
}

type Lines = Exclude<FilesAsk, { what: "give" | "put" }>;

/** One line. Throws a DvsError that names the path. */
export async function answerFiles({ fs, once }: Volumes, ask: Lines): Promise<object> {
  const path = "path" in ask ? ask.path : "";
  switch (ask.what) {
    case "attributes":
      return naming(`look at ${path}`, async () => {
        const found = await resolvePath(fs, path, { follow: ask.follow });
        return (await entryOf(fs, nameIn(path), found)) satisfies FileEntryJson;
      });
    case "list":
      return naming(`list ${path}`, () => list(fs, ask));
    case "usage":
      return (await fs.usage()) satisfies FilesUsageJson;
    case "quota":
      return naming("limit what the files take", async () => {
        await fs.setQuota(ask);
        return (await fs.usage()) satisfies FilesUsageJson;
      });
    case "makeDirectory":
      await naming(`make directory ${path}`, () => makeDirectory(fs, once, ask));
      return { path };
    case "remove":
      await naming(`remove ${path}`, () => remove(fs, once, ask));
      return { path };
    case "rename":
      return { path: await naming(`rename ${path} to ${ask.to}`, () => rename(fs, once, ask)) };
    case "sync":
      await fs.sync();
      return { path: "/" };
  }
}

async function naming<T>(what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (e) {
    throw failureOf(e, what);
  }
}

async function list(
  fs: FileSystem,
  { path, after, limit }: Extract<FilesAsk, { what: "list" }>,
): Promise<FileEntriesJson> {
  const found = await resolvePath(fs, path);
  if (!isDirectory(found)) {
    return { entries: [await entryOf(fs, nameIn(path), found)], next: null };
  }
  const entries = await fs.entries(found.ino, after, limit, true);
  return {
    entries: await Promise.all(entries.map(({ name, attributes }) => entryOf(fs, name, attributes!))),
    next: entries.length === limit ? entries.at(-1)!.cookie : null,
  };
}

async function makeDirectory(
  fs: FileSystem,
  once: FileSystem,
  { path, mode, parents }: Extract<FilesAsk, { what: "makeDirectory" }>,
): Promise<void> {
  if (!parents) {
    const { parent, name } = await nameToMake(fs, path, "EEXIST");
    await once.makeDirectory(parent, name, mode);
    return;
  }
  const names = path.split("/").filter((name) => name !== "");
  for (let i = 1; i <= names.length; i++) {
    const prefix = `/${names.slice(0, i).join("/")}`;
    const { parent, name } = await locatePath(fs, prefix);
    if (name === "." || name === "..") continue;
    try {
      await fs.makeDirectory(parent, name, i === names.length ? mode : 0o755);
    } catch (e) {
      if (!(e instanceof FileError) || e.code !== "EEXIST") throw e;
      const there = await resolvePath(fs, prefix);
      if (!isDirectory(there)) throw e;
    }
  }
}

async function remove(
  fs: FileSystem,
  once: FileSystem,
  { path, recursive, missing }: Extract<FilesAsk, { what: "remove" }>,
): Promise<void> {
  try {
    const located = await nameToMake(fs, path, "EBUSY");
    const found = await lookupOrNull(fs, located.parent, located.name);
    const isTree = found !== null && isDirectory(found);
    if (found && located.mustBeDirectory && !isTree) throw new FileError("ENOTDIR", path);
    if (isTree && recursive) await removeAll(fs, found.ino);
    // Where it is gone, this request may be what has removed it: that is known under its name.
    if (recursive && isTree) await once.removeDirectory(located.parent, located.name);
    else await once.unlink(located.parent, located.name);
  } catch (e) {
    if (!missing || !(e instanceof FileError) || e.code !== "ENOENT") throw e;
  }
}

/** The path that it has then. */
async function rename(
  fs: FileSystem,
  once: FileSystem,
  { path, to, replace }: Extract<FilesAsk, { what: "rename" }>,
): Promise<string> {
  const from = await nameToMake(fs, path, "EBUSY");
  const target = await resolvePath(fs, to).catch(nullWhereNone);
  const isInto = target !== null && isDirectory(target);
  const into = isInto ? { parent: target.ino, name: from.name } : await nameToMake(fs, to, "EBUSY");
  await once.rename(from.parent, from.name, into.parent, into.name, replace ? "replace" : "noReplace");
  return isInto ? `${to.replace(/\/+$/, "")}/${from.name}` : to;
}

/** Throws `ofRoot` for the root, and for names that lead elsewhere. */
async function nameToMake(fs: FileSystem, path: string, ofRoot: "EEXIST" | "EBUSY"): Promise<Located> {
  const located = await locatePath(fs, path);
  if (located.name !== "" && located.name !== "." && located.name !== "..") return located;
  throw new FileError(ofRoot, path);
}

function nameIn(path: string): string {
  return path.split("/").findLast((name) => name !== "") ?? "/";
}
