/**
 * The container's host process: `dvs container --run-dir DIR`, started by the agent and told everything in boot.json.
 *
 *   starting ──► ready ──► stopping ──► exit 0
 *      └──────► failed ──► exit with the error's code
 *
 * It depends on nobody once it runs: agents link to control.sock when they like, and it serves without any.
 */
import { DvsError } from "../errors.ts";
import type { VosRegistry } from "../vos.ts";
import { claimRunDir } from "./claim.ts";
import { Container } from "./container.ts";
import { readBoot } from "./boot.ts";
import { errorFields, openContainerLog, type ContainerLog } from "./log.ts";

export interface ContainerOptions {
  runDir: string;
  registry: VosRegistry;
  /** Aborted by a SIGTERM that came before this was called. */
  signal?: AbortSignal;
}

/**
 * Runs until it is stopped, by an agent, SIGTERM or SIGINT. Resolves with the exit code; rejects with a DvsError when
 * it could not even begin: no such directory, another container in it, no readable boot.json.
 */
export async function runContainer({ runDir, registry, signal }: ContainerOptions): Promise<number> {
  const dir = await claimRunDir(runDir);
  const containerLog = openContainerLog(dir.containerLog);
  const { log } = containerLog;
  try {
    const container = new Container(dir, await readBoot(runDir), log);
    const unhook = hookProcess(container, log);
    if (signal?.aborted) container.stop();
    try {
      return await container.run(registry);
    } finally {
      unhook();
    }
  } catch (e) {
    log("error", "cannot run", errorFields(e));
    throw DvsError.from(e);
  } finally {
    containerLog.close();
    dir.lock.release();
  }
}

/** Signals, and what nobody caught: a web container holds no state that a fault could damage, so it goes on. */
function hookProcess(container: Container, log: ContainerLog["log"]): () => void {
  const onSignal = (): void => container.stop();
  const onException = (e: unknown): void => log("error", "uncaught exception", errorFields(e));
  const onRejection = (e: unknown): void => log("error", "unhandled rejection", errorFields(e));
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  process.on("uncaughtException", onException);
  process.on("unhandledRejection", onRejection);
  return () => {
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
    process.off("uncaughtException", onException);
    process.off("unhandledRejection", onRejection);
  };
}
