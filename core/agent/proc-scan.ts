/**
 * Finds the processes of a node by their command lines in /proc. Records on disk may be missing: an agent can die
 * between starting a process and writing its pid down. The command line is there from the process's first moment.
 */
import { readdir, readFile } from "node:fs/promises";
import { processStartTime } from "../platform/uptime.ts";

/** Hidden commands of dvs that an agent starts: `container --run-dir DIR`, `state --run-dir DIR`, `ingress --run-dir DIR`. */
const processKinds = ["container", "state", "ingress"] as const;
export type ProcessKind = (typeof processKinds)[number];

export interface FoundProcess {
  pid: number;
  startTime: string;
  kind: ProcessKind;
  runDir: string;
}

export function processArguments(kind: ProcessKind, runDir: string): string[] {
  return [kind, "--run-dir", runDir];
}

/** Every live process of these kinds whose run directory is `under` or below it. */
export async function findProcesses(under: string): Promise<FoundProcess[]> {
  const found: FoundProcess[] = [];
  for (const entry of await readdir("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const command = await commandLine(pid);
    const match = parseCommandLine(command);
    if (!match || !(match.runDir === under || match.runDir.startsWith(`${under}/`))) continue;
    const startTime = processStartTime(pid);
    if (startTime !== null) found.push({ pid, startTime, ...match });
  }
  return found;
}

async function commandLine(pid: number): Promise<string[]> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0");
  } catch {
    return [];
  }
}

function parseCommandLine(args: string[]): { kind: ProcessKind; runDir: string } | null {
  for (let i = 0; i + 2 < args.length; i++) {
    const kind = processKinds.find((known) => known === args[i]);
    const runDir = args[i + 2];
    if (kind && args[i + 1] === "--run-dir" && runDir) {
      return { kind, runDir };
    }
  }
  return null;
}
