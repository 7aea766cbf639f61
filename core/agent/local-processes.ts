/** Every host process of a node: for `dvs down`, and for tests that kill a whole machine. */
import { realpath } from "node:fs/promises";
import { basename } from "node:path";
import { killMarginMs } from "../limits.ts";
import { processStartTime } from "../platform/uptime.ts";
import { killSurely } from "./adopt.ts";
import { type DataDir, dataDirOf } from "./data-dir.ts";
import { readJsonFile } from "../files.ts";
import { killGroup } from "./host-process.ts";
import { findProcesses, type ProcessKind } from "./proc-scan.ts";

export interface LocalProcess {
  pid: number;
  startTime: string;
  kind: "agent" | ProcessKind;
  /** Of the instance whose container or state process it is, else "". */
  uid: string;
}

/** Those that live now; the agent first. */
export async function localProcesses(dataDir: string): Promise<LocalProcess[]> {
  const data = await existing(dataDir);
  if (!data) return [];
  const agent = await agentOf(data);
  const others = await findProcesses(data.run);
  return [
    ...(agent ? [agent] : []),
    ...others.map(({ pid, startTime, kind, runDir }) => ({
      pid,
      startTime,
      kind,
      uid: kind === "ingress" ? "" : basename(runDir),
    })),
  ];
}

/**
 * Ends every host process of a node: the agent first, since it would start the others again; then ingress and
 * containers, asked by SIGTERM and killed after `graceMs`. Returns how many there were.
 */
export async function stopNode(dataDir: string, options: { graceMs: number }): Promise<number> {
  const all = await localProcesses(dataDir);
  const agent = all.find((p) => p.kind === "agent");
  if (agent) await endProcesses([agent], options.graceMs + killMarginMs);
  // What the agent started in the meantime as well.
  const others = await localProcesses(dataDir);
  await endProcesses(others, options.graceMs);
  return new Set([...all, ...others].map((p) => p.pid)).size;
}

/** SIGTERM to all, SIGKILL after the grace. Resolves when all of them are gone. */
export async function endProcesses(
  processes: { pid: number; startTime: string }[],
  graceMs: number,
): Promise<void> {
  const living = () => processes.filter((p) => processStartTime(p.pid) === p.startTime);
  for (const { pid } of living()) killGroup(pid, "SIGTERM");
  const until = performance.now() + graceMs;
  while (living().length > 0 && performance.now() < until) {
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
  await Promise.all(living().map(killSurely));
}

/** `agent.json`: written by an agent when it has the lock. */
async function agentOf(data: DataDir): Promise<LocalProcess | null> {
  const json = (await readJsonFile(data.agent)) as { pid?: unknown; startTime?: unknown } | null;
  if (typeof json?.pid !== "number" || typeof json.startTime !== "string") return null;
  const { pid, startTime } = json;
  return processStartTime(pid) === startTime ? { pid, startTime, kind: "agent", uid: "" } : null;
}

async function existing(dataDir: string): Promise<DataDir | null> {
  try {
    return dataDirOf(await realpath(dataDir));
  } catch {
    return null;
  }
}
