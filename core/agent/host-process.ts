/**
 * A host process that the agent starts and that outlives it: own session, output to a file, nothing tied to the
 * agent. It is named by (pid, start time), which no other process ever has; the record of it on disk lets the next
 * agent find it. `ended` settles only when the process is surely dead: reaped by this agent, or gone from /proc.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { open } from "node:fs/promises";
import { z } from "zod";
import { processStartTime } from "../platform/uptime.ts";

/** What is written down about a process. `pid` 0: about to be started, so it may or may not exist. */
export const ProcessRecord = z.object({
  pid: z.number().int(),
  startTime: z.string(),
  incarnation: z.string(),
  bootId: z.string(),
  startedAt: z.string(),
});
export type ProcessRecord = z.infer<typeof ProcessRecord>;

export interface HostProcess {
  pid: number;
  startTime: string;
  /** How it ended, for people: `exited with code 1`, `killed by SIGKILL`. Never rejects. */
  ended: Promise<string>;
  isAlive(): boolean;
  /** To the process and what it started in its session. Harmless when it is gone. */
  signal(name: "SIGTERM" | "SIGKILL"): void;
}

export interface SpawnOptions {
  command: string;
  args: string[];
  cwd: string;
  logFile: string;
  env: Record<string, string>;
}

const deathPollMs = 100;

/** Starts it. Rejects when there is no such command or the system has no room; no process exists then. */
export async function spawnHostProcess(options: SpawnOptions): Promise<HostProcess> {
  const log = await open(options.logFile, "a", 0o600);
  try {
    const child = spawn(options.command, options.args, {
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
    const ended = reaped(child);
    // It runs on when this process ends, and must not hold it back.
    child.unref();
    if (child.pid === undefined) throw new Error(await ended);
    // A child is in /proc until it is reaped, and that happens on this loop: only a zombie shows no start time.
    const startTime = processStartTime(child.pid) ?? "ended";
    return hostProcess(child.pid, startTime, ended);
  } finally {
    await log.close();
  }
}

/** One that an earlier agent started; null when it is gone. */
export function adoptHostProcess(pid: number, startTime: string): HostProcess | null {
  if (pid <= 0 || processStartTime(pid) !== startTime) return null;
  return hostProcess(pid, startTime, goneFromProc(pid, startTime));
}

/** What a child of dvs gets of this process's environment: enough to find files and its home, no secrets. */
export function minimalEnvironment(): Record<string, string> {
  const passed = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "DENO_DIR"];
  const env: Record<string, string> = {};
  for (const name of passed) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

function hostProcess(pid: number, startTime: string, ended: Promise<string>): HostProcess {
  const isAlive = () => processStartTime(pid) === startTime;
  return {
    pid,
    startTime,
    ended,
    isAlive,
    signal: (name) => {
      if (isAlive()) killGroup(pid, name);
    },
  };
}

/** A detached process leads its own group, whose number is its pid. Only for a process that surely lives. */
export function killGroup(pid: number, name: NodeJS.Signals): void {
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, name);
      return;
    } catch {
      // No such group, or it has just gone.
    }
  }
}

/** What a dead process left in its group. The number is not given to another as long as one is in it. */
function killLeftovers(pid: number): void {
  if (processStartTime(pid) !== null) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It left nothing.
  }
}

function reaped(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.on("error", (e) => {
      if (child.pid === undefined) resolve(e.message);
    });
    child.on("exit", (code, signal) => {
      if (child.pid !== undefined) killLeftovers(child.pid);
      resolve(signal ? `killed by ${signal}` : `exited with code ${code}`);
    });
  });
}

function goneFromProc(pid: number, startTime: string): Promise<string> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (processStartTime(pid) === startTime) return;
      clearInterval(timer);
      killLeftovers(pid);
      resolve("ended");
    }, deathPollMs);
    (timer as { unref?: () => void }).unref?.();
  });
}
