/**
 * One container per run directory. Whoever holds `lock` in it is the container; what a dead one left is removed only
 * by the holder, so a late starter can never take the sockets of a live one away.
 */
import { chmod, rm } from "node:fs/promises";
import { join } from "node:path";
import { DvsError } from "../errors.ts";
import { tryLockFile, type FileLock } from "../file-lock.ts";

export interface RunDir {
  controlSocket: string;
  httpSocket: string;
  /** Made by the kernel's links, which replace what is there. */
  kernelSocket: string;
  containerLog: string;
  accessLog: string;
  lock: FileLock;
}

/** Throws CONFLICT when a container lives in the directory, NOT_FOUND when there is none. */
export async function claimRunDir(dir: string): Promise<RunDir> {
  // Sockets in it give power over the instance: nobody else enters, whatever mode the directory had.
  try {
    await chmod(dir, 0o700);
  } catch (cause) {
    throw new DvsError("NOT_FOUND", `Cannot run a container in ${dir}: there is no such directory of ours.`, {
      cause,
    });
  }
  const lock = tryLockFile(join(dir, "lock"));
  if (!lock) {
    throw new DvsError(
      "CONFLICT",
      `Cannot run a container in ${dir}: one lives there already. Stop it first.`,
    );
  }
  const controlSocket = join(dir, "control.sock");
  const httpSocket = join(dir, "http.sock");
  await rm(controlSocket, { force: true });
  await rm(httpSocket, { force: true });
  return {
    controlSocket,
    httpSocket,
    kernelSocket: join(dir, "kernel.sock"),
    containerLog: join(dir, "container.log"),
    accessLog: join(dir, "access.log"),
    lock,
  };
}
