/** Attributes of inodes, and of the whole file system. */
import { checkAccess } from "../../files/access.ts";
import type { AttributeChanges, FileSystem } from "../../files/file-system.ts";
import { setattrValid } from "../abi.ts";
import { attributesAnswer, usageAnswer } from "../answer.ts";
import { type Handler, done } from "../call.ts";
import { credentialsOf } from "../callers.ts";
import type { Request } from "../request.ts";

export const getattr: Handler = async ({ request, fs, cache }) =>
  attributesAnswer(await fs.attributes(request.nodeid), cache.validity);

export const setattr: Handler = async ({ request, fs, caller, handles, cache }) => {
  const ino = request.nodeid;
  const valid = request.u32(0);
  const { size, ...changes } = changesOf(request, valid);
  cache.written(ino);
  if (size !== undefined && valid & setattrValid.fh) {
    // Whoever has it open for writing may cut it, whatever its mode says now.
    await handles.get(request.u64(8)).file.truncate(size);
  } else if (size !== undefined) {
    await caller().setAttributes(ino, { ...changes, size });
  }
  if (size !== undefined && valid & setattrValid.killSuidGid) await killSuidGid(fs, ino);
  const isDone = size !== undefined && !(valid & setattrValid.fh);
  const hasMore = !isDone && Object.keys(changes).length > 0;
  const now = await (hasMore ? caller().setAttributes(ino, changes) : fs.attributes(ino));
  return attributesAnswer(now, cache.validity);
};

export const statfs: Handler = async ({ fs }) => usageAnswer(await fs.usage());

/** `access(2)`, and `chdir`. */
export const access: Handler = async ({ request, fs }) => {
  checkAccess(await fs.attributes(request.nodeid), credentialsOf(request), request.u32(0));
  return done;
};

/** Somebody without the right to it has written: the file does not run with its owner's rights any more. */
export async function killSuidGid(fs: FileSystem, ino: number): Promise<void> {
  const { mode } = await fs.attributes(ino);
  const setGid = (mode & 0o010) !== 0 ? 0o2000 : 0;
  const kept = mode & ~(0o4000 | setGid);
  if (kept !== mode) await fs.setAttributes(ino, { mode: kept & 0o7777 });
}

function changesOf(request: Request, valid: number): AttributeChanges {
  const changes: AttributeChanges = {};
  if (valid & setattrValid.mode) changes.mode = request.u32(68) & 0o7777;
  if (valid & setattrValid.uid) changes.uid = request.u32(76);
  if (valid & setattrValid.gid) changes.gid = request.u32(80);
  if (valid & setattrValid.size) changes.size = request.offset(16);
  if (valid & setattrValid.atime) {
    changes.atime = valid & setattrValid.atimeNow ? "now" : request.time(32, 56);
  }
  if (valid & setattrValid.mtime) {
    changes.mtime = valid & setattrValid.mtimeNow ? "now" : request.time(40, 60);
  }
  return changes;
}
