/**
 * A file's entity tag, the same on each node. An inode is never given twice, and `change` is the record that changed it
 * last; the time tells apart what was lost on purpose (`--accept-loss`) from what took its place, the instance's uid one
 * instance from the next of its name.
 */
import { createHash } from "node:crypto";
import type { Attributes } from "../../../core/files/attributes.ts";

export type TagOf = (attributes: Attributes) => string;

export function tagsOf(uid: string): TagOf {
  const mark = createHash("sha256").update(uid).digest("base64url").slice(0, 6);
  return ({ ino, change, ctime: { seconds, nanos } }) =>
    `${mark}-${ino.toString(36)}-${change.toString(36)}-${seconds.toString(36)}.${nanos.toString(36)}`;
}
