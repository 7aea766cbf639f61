/**
 * The state process: `dvs state --run-dir DIR`, started by the agent on nodes that have a replica of an instance, and
 * told everything in boot.json. It runs no foreign code, and depends on nobody once it runs: agents link to
 * control.sock when they like; without one it hears nothing of a coordinator.
 */
import { chmod, rm } from "node:fs/promises";
import { join } from "node:path";
import { errorFields, openContainerLog } from "../container/log.ts";
import { DvsError } from "../errors.ts";
import { tryLockFile, type FileLock } from "../file-lock.ts";
import { containerStopGraceMs } from "../limits.ts";
import { tunedTimings } from "../replica/timings.ts";
import { secureEnvironment } from "../trust/environment.ts";
import { readStateBoot, stateSockets } from "./boot.ts";
import { StateProcess } from "./state-process.ts";

export interface StateOptions {
  runDir: string;
  /** Aborted by a SIGTERM that came before this was called. */
  signal?: AbortSignal;
}

/**
 * Runs until it is stopped, by an agent, SIGTERM or SIGINT. Resolves with the exit code; rejects with a DvsError when
 * it could not even begin: no such directory, another one in it, no readable boot.json.
 */
export async function runState({ runDir, signal }: StateOptions): Promise<number> {
  secureEnvironment();
  const lock = await claim(runDir);
  const { log, close } = openContainerLog(join(runDir, "state.log"));
  try {
    const boot = await readStateBoot(runDir);
    const timings = boot.aliveMs === undefined ? undefined : tunedTimings(boot.aliveMs);
    const state = new StateProcess(boot, log, timings);
    const stop = () => state.stop(containerStopGraceMs);
    // What nobody caught may have left half a step behind: the disk is right, so it begins anew from there.
    const onDefect = (e: unknown) => {
      log("error", "defect", errorFields(e));
      process.exit(1);
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
    process.on("uncaughtException", onDefect);
    process.on("unhandledRejection", onDefect);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await state.run();
    } finally {
      process.off("SIGTERM", stop);
      process.off("SIGINT", stop);
      process.off("uncaughtException", onDefect);
      process.off("unhandledRejection", onDefect);
    }
  } catch (e) {
    log("error", "cannot run", errorFields(e));
    throw DvsError.from(e);
  } finally {
    close();
    lock.release();
  }
}

/** One state process per run directory. Throws CONFLICT when one lives there, NOT_FOUND when there is no directory. */
async function claim(dir: string): Promise<FileLock> {
  try {
    await chmod(dir, 0o700);
  } catch (cause) {
    throw new DvsError("NOT_FOUND", `Cannot keep state in ${dir}: there is no such directory of ours.`, {
      cause,
    });
  }
  const lock = tryLockFile(join(dir, "lock"));
  if (!lock) {
    throw new DvsError("CONFLICT", `Cannot keep state in ${dir}: a state process lives there already.`);
  }
  for (const socket of Object.values(stateSockets)) await rm(join(dir, socket), { force: true });
  return lock;
}
