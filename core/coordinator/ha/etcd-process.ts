/**
 * Keeps one etcd running: starts it, starts it again when it ends, ever later while it ends soon, and ends it only
 * when told. An etcd that outlived its coordinator (kill -9) is a good member still, and is taken over by
 * (pid, start time). Nothing else is ever signalled.
 */
import { stat, truncate } from "node:fs/promises";
import { z } from "zod";
import {
  adoptHostProcess,
  minimalEnvironment,
  spawnHostProcess,
  type HostProcess,
} from "../../agent/host-process.ts";
import { readJsonFile, writeSmallFile } from "../../files.ts";
import { MiB } from "../../limits.ts";
import type { Log } from "../log.ts";
import { pause } from "../pause.ts";
import type { HaDir } from "./ha-files.ts";

const backoffMinMs = 200;
const backoffMaxMs = 10_000;
/** One that ran this long starts again with the smallest back-off. */
const steadyMs = 60_000;
const stopGraceMs = 5_000;
/** Warnings only: one that has grown so much is begun anew at the next start. */
const logBytesMax = 16 * MiB;

const ProcessFile = z.object({ pid: z.number().int(), startTime: z.string() });

export interface EtcdProcessOptions {
  dir: HaDir;
  command: string;
  args: () => string[];
  log: Log;
}

export class EtcdProcess {
  readonly #options: EtcdProcessOptions;
  readonly #stopping = new AbortController();
  #process: HostProcess | null = null;
  #running: Promise<void> = Promise.resolve();

  private constructor(options: EtcdProcessOptions) {
    this.#options = options;
  }

  /** Resolves when it runs for the first time; it need not answer yet. Rejects when it cannot be started at all. */
  static async start(options: EtcdProcessOptions): Promise<EtcdProcess> {
    const etcd = new EtcdProcess(options);
    etcd.#process = (await etcd.#adopt()) ?? (await etcd.#spawn());
    etcd.#running = etcd.#keep();
    return etcd;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Resolves when it has ended: SIGTERM, and SIGKILL when that does not help. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const etcd = this.#process;
    if (etcd) {
      etcd.signal("SIGTERM");
      const kill = setTimeout(() => etcd.signal("SIGKILL"), stopGraceMs);
      await etcd.ended;
      clearTimeout(kill);
    }
    await this.#running;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stopping;
    let backoffMs = backoffMinMs;
    while (!signal.aborted) {
      const sinceMs = performance.now();
      const how = await this.#process!.ended;
      if (signal.aborted) return;
      if (performance.now() - sinceMs > steadyMs) backoffMs = backoffMinMs;
      this.#options.log(
        "error",
        `etcd ${how}; it is started again in ${backoffMs / 1000} s. Its log: ${this.#options.dir.log}`,
      );
      await pause(backoffMs, signal);
      backoffMs = Math.min(backoffMaxMs, backoffMs * 2);
      while (!signal.aborted) {
        try {
          this.#process = await this.#spawn();
          break;
        } catch (e) {
          this.#options.log("error", `cannot start etcd: ${(e as Error).message}`);
          await pause(backoffMaxMs, signal);
        }
      }
    }
  }

  async #adopt(): Promise<HostProcess | null> {
    const known = ProcessFile.safeParse(await readJsonFile(this.#options.dir.process));
    return known.success ? adoptHostProcess(known.data.pid, known.data.startTime) : null;
  }

  async #spawn(): Promise<HostProcess> {
    const { dir, command, args } = this.#options;
    const size = await stat(dir.log).then(
      (s) => s.size,
      () => 0,
    );
    if (size > logBytesMax) await truncate(dir.log, 0);
    const etcd = await spawnHostProcess({
      command,
      args: args(),
      cwd: dir.root,
      logFile: dir.log,
      env: minimalEnvironment(),
    });
    await writeSmallFile(dir.process, JSON.stringify({ pid: etcd.pid, startTime: etcd.startTime }), {
      durable: false,
    });
    return etcd;
  }
}
