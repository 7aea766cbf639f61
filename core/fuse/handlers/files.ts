/** Open files: reading, writing, closing. */
import { copiedBytesMax, dataBytesMax } from "../init.ts";
import { openFlags, openKillsSuidGid, releaseUnlocksFlock, writeKillsSuidGid } from "../abi.ts";
import { createAnswer, offsetAnswer, openAnswer, writtenAnswer } from "../answer.ts";
import { type Call, type Handler, done } from "../call.ts";
import { Handle, openModeOf } from "../handles.ts";
import { killSuidGid } from "./attributes.ts";

export const open: Handler = async ({ request, fs, caller, handles, cache }) => {
  const flags = request.u32(0);
  const file = await caller().open(request.nodeid, openModeOf(flags));
  const kills = request.u32(4) & openKillsSuidGid;
  if (kills && flags & openFlags.truncate) await killSuidGid(fs, request.nodeid);
  const change = cache.keeps ? (await file.attributes()).change : 0;
  return openAnswer(handles.add(new Handle(fs, file, flags)), cache.openFlags(file.ino, change));
};

/** The kernel has applied the umask already. */
export const create: Handler = async ({ request, fs, caller, handles, cache }) => {
  const flags = request.u32(0);
  const { attributes, file } = await caller().create(
    request.nodeid,
    request.name(16),
    request.u32(4) & 0o7777,
    { ...openModeOf(flags), exclusive: (flags & openFlags.exclusive) !== 0 },
  );
  const fh = handles.add(new Handle(fs, file, flags));
  return createAnswer(attributes, cache.validity, fh, cache.openFlags(file.ino, attributes.change));
};

export const read: Handler = ({ request, handles }) =>
  handles.get(request.u64(0)).file.read(request.offset(8), Math.min(request.u32(16), dataBytesMax));

export const write: Handler = async ({ request, fs, handles, cache }) => {
  const handle = handles.get(request.u64(0));
  const length = request.u32(16);
  // As the file is set now: fcntl(F_SETFL) may have changed it.
  const file = await handle.toWrite((request.u32(32) & openFlags.append) !== 0);
  cache.written(handle.ino);
  await file.write(request.offset(8), request.data(40, length));
  if (request.u32(20) & writeKillsSuidGid) await killSuidGid(fs, handle.ino);
  return writtenAnswer(length);
};

/** On each close of a descriptor: what this process has locked ends, as POSIX wants it. */
export const flush: Handler = async ({ request, handles, locks }) => {
  const handle = handles.get(request.u64(0));
  const owner = request.owner(16);
  if (!locks.take(handle.ino, owner)) return done;
  await handle.file.unlock("posix", owner);
  return done;
};

/** After the last one. */
export const release: Handler = async ({ request, handles }) => {
  const handle = handles.take(request.u64(0));
  const unlocks = (request.u32(12) & releaseUnlocksFlock) !== 0;
  await handle.close(unlocks ? { flockOwner: request.owner(16) } : undefined);
  return done;
};

export const fsync: Handler = async ({ request, handles }) => {
  await handles.get(request.u64(0)).file.sync();
  return done;
};

/** Spares the content two ways through the kernel. As much as is copied in one piece; the caller goes on behind it. */
export const copyFileRange: Handler = async (call) => writtenAnswer(await copy(call));
/** Since Linux 6.18: it may say more than 32 bits. */
export const copyFileRange64: Handler = async (call) => offsetAnswer(await copy(call));

async function copy({ request, handles, cache }: Call): Promise<number> {
  const from = handles.get(request.u64(0)).file;
  const to = handles.get(request.u64(24));
  const start = request.offset(8);
  const toStart = request.offset(32);
  const wanted = Math.min(request.u64(40), copiedBytesMax);
  const file = await to.toWrite(false);
  cache.written(to.ino);
  let copied = 0;
  while (copied < wanted) {
    const bytes = await from.read(start + copied, Math.min(dataBytesMax, wanted - copied));
    if (bytes.length === 0) break;
    await file.write(toStart + copied, bytes);
    copied += bytes.length;
  }
  return copied;
}
