/** Answers about files, as far as they are compared. */
import type { Attributes, AttributesRow } from "../../../../core/files/attributes.ts";

export function rowOf(of: Attributes): AttributesRow {
  return [
    ...([of.ino, of.mode, of.nlink, of.uid, of.gid, of.size, of.allocated] as const),
    ...([of.atime.seconds, of.atime.nanos, of.mtime.seconds, of.mtime.nanos] as const),
    ...([of.ctime.seconds, of.ctime.nanos, of.change] as const),
  ];
}
