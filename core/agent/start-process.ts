/**
 * Starts one container: everything that it is told lies in its directory before it runs, and a record says that it
 * is about to run. `step` is called between the steps, where a test lets the agent die.
 */
import { rm } from "node:fs/promises";
import type { ContainerSpec } from "../agent-protocol.ts";
import type { ContainerBoot } from "../container/control.ts";
import { bootId } from "../platform/uptime.ts";
import type { ContainerRecord } from "./adopt.ts";
import { type ContainerDir, containerDirOf, type DataDir } from "./data-dir.ts";
import { makePrivateDir, readJsonFile, writeSmallFile } from "../files.ts";
import { type HostProcess, minimalEnvironment, spawnHostProcess } from "./host-process.ts";
import { processArguments } from "./proc-scan.ts";
import { rotateLog } from "./rotate-log.ts";

export interface StartOptions {
  data: DataDir;
  node: ContainerBoot["node"];
  spec: ContainerSpec;
  incarnation: string;
  restarts: number;
  port: number;
  tls: ContainerBoot["tls"];
  command: (args: string[]) => { command: string; args: string[] };
  step: (name: string) => void;
}

export interface StartedContainer {
  process: HostProcess;
  record: ContainerRecord;
}

/** Rejects when no process came to be. */
export async function startContainer(options: StartOptions): Promise<StartedContainer> {
  const { data, node, spec, incarnation, restarts, port, tls, step } = options;
  const dir = containerDirOf(data, spec.uid);
  await makePrivateDir(dir.root);
  step("directory");
  await rm(dir.controlSocket, { force: true });
  await rm(dir.httpSocket, { force: true });
  await rotateLog(dir.log);
  const boot: ContainerBoot = {
    spec,
    node,
    incarnation,
    runDir: dir.root,
    blobDir: data.blobs,
    listen: { host: node.address, port },
    tls,
    kernelSecret: await kernelSecretOf(dir),
  };
  await writeSmallFile(dir.boot, JSON.stringify(boot), { durable: false });
  step("boot");
  const intent: ContainerRecord = {
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
    ...options.command(processArguments("container", dir.root)),
    cwd: dir.root,
    logFile: dir.log,
    env: minimalEnvironment(),
  });
  step("spawned");
  const record = { ...intent, pid: process.pid, startTime: process.startTime };
  // Where this fails the next agent still finds the process: the intent names its incarnation.
  await writeSmallFile(dir.process, JSON.stringify(record), { durable: false }).catch(() => {});
  step("recorded");
  return { process, record };
}

/** Drawn once for an instance on this node, so that a container that is started anew knows its siblings. */
async function kernelSecretOf(dir: ContainerDir): Promise<string> {
  const known = await readJsonFile(dir.kernelSecret);
  if (typeof known === "string" && /^[0-9a-f]{64}$/.test(known)) return known;
  const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
  await writeSmallFile(dir.kernelSecret, JSON.stringify(secret), { durable: false });
  return secret;
}
