/** Starts the process that serves a mount, and waits until it is mounted. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { minimalEnvironment } from "../core/agent/host-process.ts";
import { DvsError } from "../core/errors.ts";
import { mountEnvironment } from "../core/fuse/environment.ts";
import { MountTold, toldFd } from "../core/fuse/messages.ts";
import { selfCommand } from "../core/platform/runtime.ts";

export interface MountProcessOptions {
  args: string[];
  /** Null: it belongs to this command, and says what it has to say on its standard error. */
  logFile: string | null;
}

export interface MountProcess {
  pid: number;
  /** Resolves with its exit code. */
  ended: Promise<number>;
  stop(): void;
  /** It goes on when this command ends. */
  release(): void;
}

const lineCharsMax = 65_536;

/** Rejects with what has kept it from mounting. */
export async function startMountProcess({ args, logFile }: MountProcessOptions): Promise<MountProcess> {
  const self = selfCommand(["mount", ...args]);
  if (logFile !== null) mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
  const log = logFile === null ? "inherit" : openSync(logFile, "a", 0o600);
  const env = { ...minimalEnvironment(), ...mountEnvironment };
  const child = spawn(self.command, self.args, {
    cwd: "/",
    env,
    detached: logFile !== null,
    stdio: ["ignore", log, log, "pipe"],
  });
  if (typeof log === "number") closeSync(log);
  const ended = new Promise<number>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : 143)));
    child.once("error", () => resolve(1));
  });
  const told = await firstLine(child);
  const parsed = MountTold.safeParse(told);
  if (!parsed.success) {
    const where = logFile === null ? "" : `; its log is ${logFile}`;
    throw new DvsError("FAILED", `The mount's process has ended before it was mounted${where}.`);
  }
  if (parsed.data.type === "failed") throw DvsError.fromBody(parsed.data.error);
  return {
    pid: parsed.data.pid,
    ended,
    stop: () => child.kill("SIGTERM"),
    release: () => child.unref(),
  };
}

/** Null where there is none. */
function firstLine(child: ChildProcess): Promise<unknown> {
  const pipe = child.stdio[toldFd] as NodeJS.ReadableStream & { destroy(): void };
  return new Promise((resolve) => {
    let text = "";
    const end = () => {
      pipe.destroy();
      try {
        resolve(JSON.parse(text.split("\n")[0]!));
      } catch {
        resolve(null);
      }
    };
    pipe.on("data", (bytes: Uint8Array) => {
      text += new TextDecoder().decode(bytes);
      if (text.includes("\n") || text.length > lineCharsMax) end();
    });
    pipe.on("end", end);
    pipe.on("error", end);
    child.once("error", end);
  });
}
