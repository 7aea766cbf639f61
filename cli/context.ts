/**
 * The context file: which cluster a command talks to when nothing else says so. Written by `dvs up` and
 * `dvs coordinator start`. It holds a token: mode 0600.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { DvsError } from "../core/errors.ts";
import { writeSmallFile } from "../core/files.ts";
import type { Io } from "./io.ts";

export interface ClusterContext {
  /** `host:port` of each coordinator. */
  addresses: string[];
  token: string;
  /** PEM; spares the token's pin one connection. */
  ca?: string;
  clusterId?: string;
}

/** $DVS_HOME, else ~/.dvs: the context file and the development cluster. */
export function homeDir(io: Io): string {
  return resolve(io.cwd, io.env["DVS_HOME"] || join(io.env["HOME"] || homedir(), ".dvs"));
}

export function contextFile(io: Io, given: string | undefined): string {
  return given === undefined ? join(homeDir(io), "context.json") : resolve(io.cwd, given);
}

/** Undefined where there is none. Throws INVALID for a file that is no context. */
export function readContext(file: string): ClusterContext | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new DvsError("INVALID", `Cannot read context file ${file}: ${(e as Error).message}`, { cause: e });
  }
  const value = parse(text);
  if (!isContext(value)) {
    throw new DvsError(
      "INVALID",
      `Cannot use context file ${file}: it is not one. Remove it and run "dvs up".`,
    );
  }
  return value;
}

export async function writeContext(file: string, context: ClusterContext): Promise<void> {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  await writeSmallFile(file, `${JSON.stringify(context, null, 2)}\n`, { durable: true });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isContext(value: unknown): value is ClusterContext {
  const c = value as Partial<ClusterContext> | null | undefined;
  return (
    Array.isArray(c?.addresses) &&
    c.addresses.length > 0 &&
    c.addresses.every((a) => typeof a === "string") &&
    typeof c.token === "string" &&
    (c.ca === undefined || typeof c.ca === "string")
  );
}
