/**
 * Files on their way into a blob store: `<dir>/tmp/<pid>.<start time>.<boot>.<random>`. The name says which host
 * process writes it, so that the next one to open the store removes what a dead one left, and nothing else.
 */
import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { bootId, processStartTime } from "../platform/uptime.ts";
import { nextTurn } from "./digest.ts";

export function stagingDir(dir: string): string {
  return join(dir, "tmp");
}

/** Creates a new staged file, open for writing; also where somebody removed the store's directories meanwhile. */
export async function openStaged(dir: string): Promise<{ path: string; file: FileHandle }> {
  const path = join(stagingDir(dir), `${owner()}.${randomUUID()}`);
  const create = (): Promise<FileHandle> => open(path, "wx", 0o644);
  try {
    return { path, file: await create() };
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ENOENT") throw e;
    await mkdir(stagingDir(dir), { recursive: true });
    return { path, file: await create() };
  }
}

/** Makes the staging directory, and removes the files of host processes that are no more. Returns how many. */
export async function cleanStaging(dir: string): Promise<number> {
  await mkdir(stagingDir(dir), { recursive: true });
  let removed = 0;
  for (const name of await readdir(stagingDir(dir))) {
    if (isAlive(name)) continue;
    await rm(join(stagingDir(dir), name), { recursive: true, force: true });
    removed++;
    await nextTurn();
  }
  return removed;
}

let ownName: string | undefined;

function owner(): string {
  ownName ??= `${process.pid}.${processStartTime(process.pid)}.${bootId().slice(0, 8)}`;
  return ownName;
}

function isAlive(name: string): boolean {
  const [pid = "", start = "", boot = ""] = name.split(".");
  if (!/^\d+$/.test(pid) || boot !== bootId().slice(0, 8)) return false;
  return processStartTime(Number(pid)) === start;
}
