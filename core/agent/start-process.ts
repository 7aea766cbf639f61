/**
 * Starts one supervised process: everything that it is told lies in its directory before it runs, and a record says
 * that it is about to run. `step` is called between the steps, where a test lets the agent die.
 */
import { rm } from "node:fs/promises";
import { bootId } from "../platform/uptime.ts";
import type { SupervisedRecord } from "./adopt.ts";
import type { ProcessDir } from "./data-dir.ts";
import { makePrivateDir, writeSmallFile } from "../files.ts";
import { stateEnvironment } from "../state/environment.ts";
import { type HostProcess, minimalEnvironment, spawnHostProcess } from "./host-process.ts";
import { processArguments, type ProcessKind } from "./proc-scan.ts";
import { rotateLog } from "./rotate-log.ts";

export interface StartOptions<Spec> {
  kind: ProcessKind;
  dir: ProcessDir;
  spec: Spec;
  incarnation: string;
  restarts: number;
  port: number;
  /** What becomes boot.json. */
  boot(): Promise<unknown>;
  command: (args: string[]) => { command: string; args: string[] };
  step: (name: string) => void;
}

export interface Started<Spec> {
  process: HostProcess;
  record: SupervisedRecord<Spec>;
}

/** Rejects when no process came to be. */
export async function startProcess<Spec>(options: StartOptions<Spec>): Promise<Started<Spec>> {
  const { kind, dir, spec, incarnation, restarts, port, step } = options;
  await makePrivateDir(dir.root);
  step("directory");
  for (const socket of dir.sockets) await rm(socket, { force: true });
  await rotateLog(dir.log);
  await writeSmallFile(dir.boot, JSON.stringify(await options.boot()), { durable: false });
  step("boot");
  const intent: SupervisedRecord<Spec> = {
    pid: 0,
    startTime: "",
    incarnation,
    bootId: bootId(),
    startedAt: new Date().toISOString(),
    spec,
    restarts,
    port,
  };
  await writeSmallFile(dir.process, JSON.stringify(intent), { durable: false });
  step("intent");
  const process = await spawnHostProcess({
    ...options.command(processArguments(kind, dir.root)),
    cwd: dir.root,
    logFile: dir.log,
    env: { ...minimalEnvironment(), ...(kind === "state" && stateEnvironment) },
  });
  step("spawned");
  const record = { ...intent, pid: process.pid, startTime: process.startTime };
  // Where this fails the next agent still finds the process: the intent names its incarnation.
  await writeSmallFile(dir.process, JSON.stringify(record), { durable: false }).catch(() => {});
  step("recorded");
  return { process, record };
}
