/** Locks, of fcntl and of flock: they hold on every node. */
import type { LockRequest } from "../../files/file-system.ts";
import { lockIsFlock } from "../abi.ts";
import { lockAnswer } from "../answer.ts";
import { type Call, type Handler, type Reply, done } from "../call.ts";
import { lockOf, type WantedLock } from "../request.ts";

export const getlk: Handler = async ({ request, handles }) => {
  const wanted = lockOf(request);
  return lockAnswer(await handles.get(wanted.fh).file.lockedBy(lockRequest(wanted)));
};

export const setlk: Handler = (call) => set(call);
/** Waits; a signal to whoever waits ends that with EINTR. */
export const setlkw: Handler = (call) => set(call, call.interrupted());

async function set({ request, handles, locks }: Call, wait?: AbortSignal): Promise<Reply> {
  const wanted = lockOf(request);
  const handle = handles.get(wanted.fh);
  const lock = lockRequest(wanted);
  if (lock.type === "posix" && lock.kind !== "none") locks.add(handle.ino, wanted.owner);
  await handle.file.lock(wait ? { ...lock, wait } : lock);
  return done;
}

function lockRequest({ owner, range, kind, pid, flags }: WantedLock): LockRequest {
  const type = flags & lockIsFlock ? "flock" : "posix";
  return { type, kind, range, owner, pid };
}
