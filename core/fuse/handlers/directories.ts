/** Directories: listing and syncing. They are not opened: where reading goes on is in each request. */
import { access, checkAccess } from "../../files/access.ts";
import { openAnswer } from "../answer.ts";
import { type Call, type Handler, type Reply, done } from "../call.ts";
import { credentialsOf } from "../callers.ts";
import { cookieOf, Dirents, entriesFor } from "../dirents.ts";
import { dataBytesMax } from "../init.ts";

export const opendir: Handler = async ({ request, fs }) => {
  checkAccess(await fs.attributes(request.nodeid), credentialsOf(request), access.read);
  return openAnswer(0, 0);
};

export const readdir: Handler = (call) => list(call, false);
export const readdirplus: Handler = (call) => list(call, true);

export const releasedir: Handler = () => done;

export const syncAll: Handler = async ({ fs }) => {
  await fs.sync();
  return done;
};

async function list({ request, fs, cache }: Call, plus: boolean): Promise<Reply> {
  const ino = request.nodeid;
  const offset = request.offset(8);
  const size = Math.min(request.u32(16), dataBytesMax);
  const dirents = new Dirents(size, plus ? cache.validity : null);
  if (offset < 2) dirents.addDots(offset, ino, await fs.lookup(ino, ".."));
  const entries = await fs.entries(ino, cookieOf(offset), entriesFor(size, plus), plus);
  for (const entry of entries) if (!dirents.addEntry(entry)) break;
  return dirents;
}
