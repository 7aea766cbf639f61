/**
 * The development cluster of `dvs up`: which host processes were started, in `<dir>/cluster.json`. Each is named by
 * (pid, start time), so that a pid which the system gave to another process meanwhile is never taken for it.
 *
 *   <dir>/cluster.json      this
 *   <dir>/context.json      written by its coordinator when it answers
 *   <dir>/coordinator/      the coordinator's data;  <dir>/coordinator.log
 *   <dir>/n<k>/             data of node k;          <dir>/n<k>.log
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DvsError } from "../core/errors.ts";
import { writeSmallFile } from "../core/files.ts";
import { lockDirectory } from "../core/lock.ts";
import { isDying, processStartTime } from "../core/platform/uptime.ts";

export interface StartedProcess {
  /** `coordinator` or the node's name. */
  role: string;
  pid: number;
  startTime: string;
}

export interface DevCluster {
  version: 1;
  nodes: number;
  processes: StartedProcess[];
}

export const coordinatorRole = "coordinator";
export const nodeName = (k: number) => `node-${k}`;
/** Any address of 127/8 is this machine's own on Linux, so that each node has its ports for itself. */
export const nodeAddress = (k: number) => `127.0.0.${k}`;
export const nodesMax = 250;

export const paths = {
  cluster: (dir: string) => join(dir, "cluster.json"),
  context: (dir: string) => join(dir, "context.json"),
  coordinator: (dir: string) => join(dir, "coordinator"),
  node: (dir: string, k: number) => join(dir, `n${k}`),
  log: (dir: string, what: string) => join(dir, `${what}.log`),
};

/** Undefined where no cluster was started. Throws FAILED when the file is damaged: nothing is guessed from it. */
export function readDevCluster(dir: string): DevCluster | undefined {
  let text: string;
  try {
    text = readFileSync(paths.cluster(dir), "utf8");
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw e;
  }
  try {
    const cluster = JSON.parse(text) as DevCluster;
    if (cluster.version === 1 && Array.isArray(cluster.processes) && Number.isInteger(cluster.nodes))
      return cluster;
  } catch {
    // Told below.
  }
  throw new DvsError(
    "FAILED",
    `Cannot read ${paths.cluster(dir)}: it is damaged. End its host processes by hand and remove ${dir}.`,
  );
}

export async function writeDevCluster(dir: string, cluster: DevCluster): Promise<void> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  await writeSmallFile(paths.cluster(dir), `${JSON.stringify(cluster, null, 2)}\n`, { durable: true });
}

export function isAlive(process: StartedProcess): boolean {
  return processStartTime(process.pid) === process.startTime;
}

/** One that was killed a moment ago: it is not gone, and will not do anything either. */
export function isEnding({ pid, startTime }: StartedProcess): boolean {
  return isDying(pid, startTime);
}

/** One `dvs up` or `dvs down` at a time. Throws CONFLICT. Returns the function that lets go. */
export function lockDevCluster(dir: string): () => void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  try {
    const lock = lockDirectory(dir, "cluster");
    return () => lock.release();
  } catch (thrown) {
    if (!(thrown instanceof DvsError) || thrown.code !== "CONFLICT") throw thrown;
    throw new DvsError(
      "CONFLICT",
      `Another "dvs up" or "dvs down" is at work in ${dir}. Wait for it to end.`,
      {
        cause: thrown.cause,
      },
    );
  }
}
