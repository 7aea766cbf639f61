/**
 * The process that serves a mount: `dvs mount --instance NAME --dir DIR`, started by `dvs instance mount`, which it tells
 * whether it is mounted (messages.ts). It ends when somebody unmounts it, or by SIGTERM or SIGINT; killed, it leaves a
 * dead mount point, which the next mount or umount of it takes away.
 */
import { closeSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../errors.ts";
import type { CachePolicy } from "./cache-policy.ts";
import { type MountTold, toldFd } from "./messages.ts";
import { serveMount } from "./serve-mount.ts";
import { VolumeReach } from "./volume-reach.ts";

export interface MountOptions {
  instance: string;
  dir: string;
  /** Sockets of agents of this machine: the first that has something of the instance is taken. */
  sockets: readonly string[];
  cache: CachePolicy;
  readOnly: boolean;
  signal: AbortSignal;
  log: (message: string) => void;
}

/** What is open is given back, if that takes no longer; otherwise it goes when this client is forgotten. */
const closeMs = 2_000;

/** Resolves with the exit code when it is unmounted. What kept it from being mounted is told, and thrown. */
export async function runMount(options: MountOptions): Promise<number> {
  const { instance, dir, cache, readOnly, signal, log } = options;
  let reach: VolumeReach | null = null;
  // What nobody caught is said, and costs whoever asked for it an answer: not everybody the mount.
  const onRejection = (e: unknown) => log(`unhandled rejection: ${String((e as Error).stack ?? e)}`);
  process.on("unhandledRejection", onRejection);
  try {
    reach = await reachAny(options);
    await reach.serves().catch((e: unknown) => {
      const why = DvsError.from(e).message;
      throw new DvsError("UNAVAILABLE", `Nobody serves the state of ${instance} now: ${why}`, { cause: e });
    });
    const { files } = reach;
    const mounted = await serveMount({ fs: files, dir, source: `dvs:${instance}`, cache, readOnly, log });
    const end = () => void mounted.end().catch((e: unknown) => log(DvsError.from(e).message));
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
    tell({ type: "mounted", pid: process.pid });
    log(`${instance} is mounted on ${dir}`);
    log(`${dir}: ${await mounted.ended}`);
    return 0;
  } catch (e) {
    tell({ type: "failed", error: DvsError.from(e).toBody() });
    throw e;
  } finally {
    process.off("unhandledRejection", onRejection);
    await Promise.race([reach?.close(), sleep(closeMs)]);
  }
}

async function reachAny({ instance, sockets, log }: MountOptions): Promise<VolumeReach> {
  let why: unknown = new DvsError("UNAVAILABLE", "This machine is no node: there is no agent to ask.");
  for (const socket of sockets) {
    try {
      return await VolumeReach.open({ instance, socket, log });
    } catch (e) {
      why = e;
    }
  }
  throw why;
}

/** Whoever has started it may have gone, or never been there. */
function tell(told: MountTold): void {
  try {
    writeSync(toldFd, `${JSON.stringify(told)}\n`);
    closeSync(toldFd);
  } catch {
    // Nobody listens.
  }
}
