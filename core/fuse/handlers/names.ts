/** Names: looking them up, making, moving and removing them. */
import { kindMask, kinds } from "../../files/attributes.ts";
import { FileError } from "../../files/errno.ts";
import { renameFlags } from "../abi.ts";
import { entryAnswer } from "../answer.ts";
import { type Call, type Handler, type Reply, done } from "../call.ts";

const encoder = new TextEncoder();
const permissionBits = 0o7777;

export const lookup: Handler = async ({ request, caller, cache }) => {
  const found = await caller().lookup(request.nodeid, request.name(0));
  return entryAnswer(found, cache.validity);
};

export const readlink: Handler = async ({ request, fs }) => encoder.encode(await fs.readLink(request.nodeid));

export const symlink: Handler = async ({ request, caller, cache }) => {
  const [name, target] = request.names(0, 2);
  return entryAnswer(await caller().makeSymlink(request.nodeid, name, target), cache.validity);
};

/** The kernel has applied the umask already. */
export const mknod: Handler = async ({ request, caller, cache }) => {
  const mode = request.u32(0);
  const name = request.name(16);
  const kind = mode & kindMask;
  if (kind === kinds.file) {
    const { attributes, file } = await caller().create(request.nodeid, name, mode & permissionBits, {
      write: true,
      exclusive: true,
    });
    await file.close();
    return entryAnswer(attributes, cache.validity);
  }
  if (kind !== kinds.fifo && kind !== kinds.socket) {
    throw new FileError("EPERM", "a volume has no devices");
  }
  return entryAnswer(await caller().makeNode(request.nodeid, name, mode), cache.validity);
};

export const mkdir: Handler = async ({ request, caller, cache }) => {
  const mode = request.u32(0) & permissionBits;
  return entryAnswer(await caller().makeDirectory(request.nodeid, request.name(8), mode), cache.validity);
};

export const unlink: Handler = async ({ request, caller }) => {
  await caller().unlink(request.nodeid, request.name(0));
  return done;
};

export const rmdir: Handler = async ({ request, caller }) => {
  await caller().removeDirectory(request.nodeid, request.name(0));
  return done;
};

export const rename: Handler = (call) => move(call, 8, 0);
export const rename2: Handler = (call) => move(call, 16, call.request.u32(8));

export const link: Handler = async ({ request, caller, cache }) => {
  const made = await caller().makeLink(request.u64(0), request.nodeid, request.name(8));
  return entryAnswer(made, cache.validity);
};

async function move({ request, caller }: Call, namesAt: number, flags: number): Promise<Reply> {
  const [name, toName] = request.names(namesAt, 2);
  await caller().rename(request.nodeid, name, request.u64(0), toName, howOf(flags));
  return done;
}

function howOf(flags: number): "replace" | "noReplace" | "exchange" {
  if (flags === 0) return "replace";
  if (flags === renameFlags.noReplace) return "noReplace";
  if (flags === renameFlags.exchange) return "exchange";
  throw new FileError("EINVAL", `a rename with flags ${flags}`);
}
