/** What a name in a directory, and the target of a symbolic link, may be: refused as Linux refuses them. */
import { fileNameBytesMax, filePathBytesMax, linkTargetBytesMax } from "../limits.ts";
import { type Errno, FileError } from "./errno.ts";

/** Null: a directory can have it. "." and ".." are for the operation to judge. */
export function nameIssue(name: string): Errno | null {
  if (name.length === 0) return "ENOENT";
  if (name.length * 3 > fileNameBytesMax && utf8Bytes(name) > fileNameBytesMax) return "ENAMETOOLONG";
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit === 0x2f || unit === 0) return "EINVAL";
    if (unit >= 0xd800 && unit < 0xe000 && !name.isWellFormed()) return "EILSEQ";
  }
  return null;
}

export function targetIssue(target: string): Errno | null {
  if (target.length === 0) return "ENOENT";
  return textIssue(target, linkTargetBytesMax);
}

export function pathIssue(path: string): Errno | null {
  if (path.length === 0) return "ENOENT";
  return textIssue(path, filePathBytesMax - 1);
}

function textIssue(text: string, bytesMax: number): Errno | null {
  if (!text.isWellFormed()) return "EILSEQ";
  if (text.includes("\0")) return "EINVAL";
  return utf8Bytes(text) > bytesMax ? "ENAMETOOLONG" : null;
}

/** Of well-formed text; of other text so many as its replacement has. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    // Each half of a pair is two of four bytes.
    bytes += unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 1 : 2;
  }
  return bytes;
}

/** Throws what `nameIssue` says. "." and ".." pass. */
export function checkName(name: string): void {
  const issue = nameIssue(name);
  if (issue) throw new FileError(issue, `${JSON.stringify(name.slice(0, 300))} is no name of a file`);
}

/** As `checkName`, for a name that is to be made or removed. */
export function checkNewName(name: string, ofDots: Errno = "EEXIST"): void {
  checkName(name);
  if (name === "." || name === "..") throw new FileError(ofDots, `${JSON.stringify(name)} is always there`);
}

/** Throws what `targetIssue` says. */
export function checkTarget(target: string): void {
  const issue = targetIssue(target);
  if (issue) throw new FileError(issue, "a symbolic link cannot lead there");
}
