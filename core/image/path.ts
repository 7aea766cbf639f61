/**
 * Paths inside an image: absolute, normalised, well-formed Unicode, and within Linux's lengths, so that one file has
 * one path and every image can be unpacked anywhere. Targets of symbolic links stay inside.
 */
import { imageNameBytesMax, imagePathBytesMax } from "../limits.ts";

/** What is wrong with a path; undefined when it is right. */
export function pathIssue(path: string): string | undefined {
  if (path === "/") return undefined;
  if (!path.startsWith("/")) return "must be absolute";
  if (path.includes("\0")) return "must not contain a NUL";
  if (!path.isWellFormed()) return "must be well-formed Unicode";
  if (bytesOf(path) > imagePathBytesMax) return `must have at most ${imagePathBytesMax} bytes`;
  for (const name of path.slice(1).split("/")) {
    if (name === "") return "must not contain `//` or end with `/`";
    if (name === "." || name === "..") return `must not contain \`${name}\``;
    if (bytesOf(name) > imageNameBytesMax)
      return `must not contain a name of more than ${imageNameBytesMax} bytes`;
  }
  return undefined;
}

/** What is wrong with the target of the symbolic link at `path`; undefined when it is right. */
export function targetIssue(path: string, target: string): string | undefined {
  if (target === "") return "must not be empty";
  if (target.includes("\0")) return "must not contain a NUL";
  if (!target.isWellFormed()) return "must be well-formed Unicode";
  if (bytesOf(target) > imagePathBytesMax) return `must have at most ${imagePathBytesMax} bytes`;
  return joinTarget(path, target) === undefined ? "must not lead out of the image" : undefined;
}

/** Where a link's target leads, by names alone: `/a/b` and `../c` make `/c`. Undefined when it climbs over the root. */
export function joinTarget(path: string, target: string): string | undefined {
  const names = target.startsWith("/") ? [] : path.split("/").slice(1, -1);
  for (const name of target.split("/")) {
    if (name === "" || name === ".") continue;
    if (name !== "..") names.push(name);
    else if (names.pop() === undefined) return undefined;
  }
  return `/${names.join("/")}`;
}

/** The directory that holds a path; the root's is the root. */
export function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}

function bytesOf(text: string): number {
  // A UTF-16 unit becomes at most three bytes: nearly every path is decided by its length.
  if (text.length * 3 <= imageNameBytesMax) return text.length;
  return Buffer.byteLength(text);
}
