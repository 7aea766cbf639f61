/** Finds what of a directory goes into an image: files, directories and links, never anything outside it. */
import { type Dirent, constants } from "node:fs";
import { lstat, readdir, readFile, readlink, realpath } from "node:fs/promises";
import { join, relative } from "node:path";
import { DvsError, type Issue } from "../errors.ts";
import { imageFilesMax } from "../limits.ts";
import { codeOf } from "./disk.ts";
import { ignoreFile, parseIgnore, type Ignore } from "./ignore.ts";
import { forEachParallel } from "./parallel.ts";
import { pathIssue, targetIssue } from "./path.ts";

/** Never through a link that took a file's place, and never waiting for the writer of a pipe that did. */
export const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
export const walkWidth = 16;

const issuesMax = 100;

export interface WalkOptions {
  /** More patterns, after those of `.dvsignore`. */
  ignore?: string[];
  /**
   * Sockets, pipes, devices, links out of the directory, and names that are not UTF-8 cannot be in an image:
   * `refuse` (default) names them all in one error, `skip` leaves them out and lists them.
   */
  unsupported?: "refuse" | "skip";
  signal?: AbortSignal;
}

export interface Walked {
  /** The directory, with every link in its own path resolved. */
  root: string;
  files: string[];
  directories: { path: string; mode: number }[];
  links: { path: string; target: string }[];
  /** With `unsupported: "skip"`. */
  skipped: Issue[];
}

/** Paths are as in the image. NOT_FOUND or INVALID for what is no directory, or holds what cannot be in an image. */
export async function walk(dir: string, options: WalkOptions = {}): Promise<Walked> {
  const root = await rootOf(dir);
  const ignore = await ignoreOf(root, options.ignore ?? []);
  const walked: Walked = {
    root,
    files: [],
    directories: [{ path: "/", mode: await modeOf(root) }],
    links: [],
    skipped: [],
  };
  for (let level = ["/"]; level.length > 0;) {
    const below: string[] = [];
    await forEachParallel(level, walkWidth, async (parent) => {
      options.signal?.throwIfAborted();
      for (const entry of await readdir(join(root, parent), { withFileTypes: true })) {
        const path = parent === "/" ? `/${entry.name}` : `${parent}/${entry.name}`;
        if (path === `/${ignoreFile}` || ignore(path, entry.isDirectory())) continue;
        const issue = await take(walked, path, entry, below);
        if (issue) walked.skipped.push({ path, message: issue });
      }
    });
    level = below;
  }
  if (walked.skipped.length > 0 && options.unsupported !== "skip") throw refused(dir, walked.skipped);
  return walked;
}

/** Adds one entry to what was found; what keeps it out of an image otherwise. */
async function take(
  walked: Walked,
  path: string,
  entry: Dirent,
  below: string[],
): Promise<string | undefined> {
  const issue = entry.name.includes("\uFFFD") ? "has a name that is not UTF-8" : pathIssue(path);
  if (issue) return issue;
  const found = walked.files.length + walked.directories.length + walked.links.length;
  if (found >= imageFilesMax) {
    throw new DvsError(
      "TOO_LARGE",
      `Cannot build an image of ${walked.root}: it has more than the limit of ${imageFilesMax} entries. ` +
        `Name what is not needed in ${ignoreFile}.`,
    );
  }
  if (entry.isFile()) walked.files.push(path);
  else if (entry.isDirectory()) {
    walked.directories.push({ path, mode: await modeOf(join(walked.root, path)) });
    below.push(path);
  } else if (entry.isSymbolicLink()) {
    const target = targetInside(walked.root, await readlink(join(walked.root, path)));
    const outward = target === undefined ? "leads out of the directory" : targetIssue(path, target);
    if (target === undefined || outward) return `is a symbolic link whose target ${outward}`;
    walked.links.push({ path, target });
  } else return `is ${kindOf(entry)}, not a file, directory or symbolic link`;
  return undefined;
}

/** A link's target as the image has it: absolute ones count from the image's root. */
function targetInside(root: string, target: string): string | undefined {
  if (!target.startsWith("/")) return target;
  const inside = relative(root, target);
  return inside === ".." || inside.startsWith("../") ? undefined : `/${inside}`;
}

async function rootOf(dir: string): Promise<string> {
  try {
    const root = await realpath(dir);
    if ((await lstat(root)).isDirectory()) return root;
  } catch (e) {
    if (codeOf(e) !== "ENOENT") throw e;
    throw new DvsError("NOT_FOUND", `Cannot build an image of ${dir}: there is no such directory`);
  }
  throw new DvsError("INVALID", `Cannot build an image of ${dir}: it is not a directory`);
}

async function ignoreOf(root: string, more: string[]): Promise<Ignore> {
  let text = "";
  try {
    text = await readFile(join(root, ignoreFile), "utf8");
  } catch (e) {
    if (codeOf(e) !== "ENOENT") throw e;
  }
  return parseIgnore([...text.split("\n"), ...more]);
}

async function modeOf(path: string): Promise<number> {
  return (await lstat(path)).mode & 0o777;
}

function kindOf(entry: Dirent): string {
  if (entry.isSocket()) return "a socket";
  if (entry.isFIFO()) return "a named pipe";
  return entry.isBlockDevice() || entry.isCharacterDevice() ? "a device" : "of an unknown kind";
}

function refused(dir: string, issues: Issue[]): DvsError {
  const lines = issues.slice(0, issuesMax).map((i) => `  ${i.path} ${i.message}`);
  if (issues.length > issuesMax) lines.push(`  and ${issues.length - issuesMax} more`);
  return new DvsError(
    "INVALID",
    `Cannot build an image of ${dir}:\n${lines.join("\n")}\nRemove them, or name them in ${ignoreFile}.`,
    { issues: issues.slice(0, issuesMax) },
  );
}
