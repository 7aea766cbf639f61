/** A path, walked in one step: for those who are far from a replica. */
import { symlinkHopsMax } from "../../limits.ts";
import { kinds } from "../attributes.ts";
import { rootIno } from "../file-system.ts";
import { pathIssue } from "../names.ts";
import type { By } from "../operations.ts";
import { type Inode, isDirectory, kindOf } from "./inodes.ts";
import { lookUp } from "./queries.ts";
import { refuse } from "./refusal.ts";
import type { Volume } from "./volume.ts";

/** `follow`: also a link at the end. `seen` is told each inode and name that the answer depends on. */
export function walk(
  volume: Volume,
  by: By,
  path: string,
  follow: boolean,
  seen: (inode: Inode, name: string) => void = () => undefined,
): Inode {
  const issue = pathIssue(path);
  if (issue) refuse(issue);
  let at = volume.inodes.get(rootIno);
  let names = path.split("/");
  let hops = 0;
  // A path that ends with "/" means a directory.
  while (names.length > 0) {
    const [name, ...rest] = names as [string, ...string[]];
    names = rest;
    if (name === "") {
      if (!isDirectory(at)) refuse("ENOTDIR");
      continue;
    }
    seen(at, name);
    const found = lookUp(volume, by, at, name);
    const isLast = names.length === 0;
    if (kindOf(found) !== kinds.symlink || (isLast && !follow)) {
      at = found;
      continue;
    }
    if (++hops > symlinkHopsMax) refuse("ELOOP");
    const target = found.target!;
    if (target.startsWith("/")) at = volume.inodes.get(rootIno);
    names = [...target.split("/"), ...names];
  }
  return at;
}
