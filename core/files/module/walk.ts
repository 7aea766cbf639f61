/** A path, walked in one step: for those who are far from a replica. */
import { pathStepsMax, symlinkHopsMax } from "../../limits.ts";
import { isDirectory, kindOf, kinds } from "../attributes.ts";
import { rootIno } from "../file-system.ts";
import { pathIssue } from "../names.ts";
import type { By } from "../operations.ts";
import { type Inode } from "./inodes.ts";
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
  // What is left of it, the next name last.
  const names = path.split("/").toReversed();
  let hops = 0;
  for (let steps = 0; names.length > 0; steps++) {
    if (steps > pathStepsMax) refuse("ELOOP");
    const name = names.pop()!;
    // A path that ends with "/" means a directory.
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
    names.push(...target.split("/").toReversed());
  }
  return at;
}
