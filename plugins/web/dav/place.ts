/** Where a request writes: a name in a directory. No symbolic link is followed on the way: it could lead out of what may be written. */
import { type Attributes, isDirectory, isSymlink } from "../../../core/files/attributes.ts";
import { type FileSystem, rootIno } from "../../../core/files/file-system.ts";
import { lookupOrNull } from "../../../core/files/paths.ts";
import { Refusal } from "./answer.ts";

export interface Place {
  parent: number;
  name: string;
  /** What has the name now; null: nothing. A link itself. */
  found: Attributes | null;
}

/** Throws a Refusal: 409 where the directory is missing, 403 at a symbolic link on the way and for the root. */
export async function placeOf(fs: FileSystem, names: readonly string[]): Promise<Place> {
  const name = names.at(-1);
  if (name === undefined) throw new Refusal(403);
  let parent = rootIno;
  for (const each of names.slice(0, -1)) {
    const found = await lookupOrNull(fs, parent, each);
    if (!found) throw new Refusal(409);
    if (isSymlink(found)) throw new Refusal(403);
    if (!isDirectory(found)) throw new Refusal(409);
    parent = found.ino;
  }
  return { parent, name, found: await lookupOrNull(fs, parent, name) };
}
