/** COPY and MOVE (RFC 4918 section 9.8 and 9.9): the new name has all of it or nothing. */
import { type Attributes, isDirectory, kindOf, kinds } from "../../../core/files/attributes.ts";
import { FileError } from "../../../core/files/errno.ts";
import { decodePath, rawPathOf } from "../request-path.ts";
import { type DavAnswer, Refusal } from "./answer.ts";
import type { DavContext, Target } from "./context.ts";
import { copyContent, copyFile, directoryMode, fileMode } from "./copy-tree.ts";
import { placeOf } from "./place.ts";
import { checkPreconditions } from "./preconditions.ts";
import { asMissing } from "./remove.ts";
import { currentOf } from "./target.ts";

const triesMax = 16;

export async function copyOrMove(context: DavContext, target: Target, request: Request): Promise<DavAnswer> {
  const { fs, work, tagOf } = context;
  const { headers, method } = request;
  const isMove = method === "MOVE";
  const to = destinationOf(context, request);
  const overwrite = overwriteOf(headers);
  const depth = depthOf(headers, isMove);
  const { parent, name, found } = await placeOf(fs, target.names).catch(asMissing);
  if (!found || (target.isCollection && !isDirectory(found))) throw new Refusal(404);
  checkPreconditions(headers, currentOf(found, tagOf));
  // One in the other would have no end, or no beginning.
  if (begins(to.names, target.names) || begins(target.names, to.names)) throw new Refusal(403);
  if (isDirectory(found) && !(target.isWhole && to.isWhole)) throw new Refusal(403);
  const there = (await placeOf(fs, to.names)).found;
  if (there && !overwrite) throw new Refusal(412);
  if (there && isDirectory(there) && !to.isWhole) throw new Refusal(403);

  if (isMove) return settle(context, { parent, name }, isDirectory(found), to, overwrite);
  const copy = await copied(context, found, depth);
  try {
    const answer = await settle(context, copy, isDirectory(found), to, overwrite);
    work.done(copy.name);
    return answer;
  } catch (e) {
    await work.drop(copy.name);
    throw e;
  }
}

/** Where nobody is served from. */
async function copied(
  { fs, work, tagOf }: DavContext,
  found: Attributes,
  depth: "0" | "infinity",
): Promise<{ parent: number; name: string }> {
  if (isDirectory(found)) {
    const copy = await work.directory(directoryMode);
    try {
      if (depth === "infinity") await copyContent(fs, found.ino, copy.ino, tagOf);
      return copy;
    } catch (e) {
      await work.drop(copy.name);
      throw e;
    }
  }
  if (kindOf(found) !== kinds.file) throw new Refusal(403);
  const copy = await work.file(fileMode);
  try {
    await copyFile(fs, found, copy.file, tagOf);
    return copy;
  } catch (e) {
    await work.drop(copy.name);
    throw e;
  } finally {
    await copy.file.close();
  }
}

/** Gives what is under a name the one that was asked for, in the place of what has that. */
async function settle(
  { fs, work }: DavContext,
  from: { parent: number; name: string },
  fromDirectory: boolean,
  to: Target,
  overwrite: boolean,
): Promise<DavAnswer> {
  for (let tries = 1; ; tries++) {
    const { parent, name, found } = await placeOf(fs, to.names);
    try {
      if (!found || !overwrite) {
        await fs.rename(from.parent, from.name, parent, name, "noReplace");
        return { status: 201 };
      }
      if (!fromDirectory && !isDirectory(found)) {
        await fs.rename(from.parent, from.name, parent, name);
        return { status: 204 };
      }
      const taken = await work.take(parent, name);
      try {
        await fs.rename(from.parent, from.name, parent, name, "noReplace");
      } catch (e) {
        await fs.rename(taken.parent, taken.name, parent, name, "noReplace");
        throw e;
      }
      await work.drop(taken.name);
      return { status: 204 };
    } catch (e) {
      // Somebody else has changed what is there.
      const isRace = e instanceof FileError && ["EEXIST", "EISDIR", "ENOTDIR"].includes(e.code);
      if (!isRace || !overwrite || tries === triesMax) throw e;
    }
  }
}

/** Throws a Refusal: 400 for what is no URL, 502 for another server's, 403 for where nothing may be written. */
function destinationOf(context: DavContext, { headers, url }: Request): Target {
  const header = headers.get("destination");
  if (header === null) throw new Refusal(400);
  if (!header.startsWith("/")) {
    const authority = /^https?:\/\/([^/?#]*)/i.exec(header)?.[1];
    if (authority === undefined) throw new Refusal(400);
    const own = /^https?:\/\/([^/?#]*)/i.exec(url)?.[1] ?? headers.get("host") ?? "";
    if (authority.toLowerCase() !== own.toLowerCase()) throw new Refusal(502);
  }
  const path = decodePath(rawPathOf(header));
  if (path === undefined) throw new Refusal(400);
  const to = context.target(path);
  if (!to || to.names.length === 0) throw new Refusal(403);
  return to;
}

function overwriteOf(headers: Headers): boolean {
  const header = (headers.get("overwrite") ?? "T").toUpperCase();
  if (header !== "T" && header !== "F") throw new Refusal(400);
  return header === "T";
}

function depthOf(headers: Headers, isMove: boolean): "0" | "infinity" {
  const depth = (headers.get("depth") ?? "infinity").toLowerCase();
  if (depth !== "infinity" && (isMove || depth !== "0")) throw new Refusal(400);
  return depth;
}

function begins(names: readonly string[], other: readonly string[]): boolean {
  return other.length <= names.length && other.every((name, i) => names[i] === name);
}
