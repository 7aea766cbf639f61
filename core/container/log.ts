/**
 * The instance's log: one JSON object a line with `time`, `level`, `message` and whatever the caller adds. What the runtime
 * or a VOS prints goes to the same file, past us: the agent made it this host process's stdout and stderr.
 */
import { logBytesMax } from "../limits.ts";
import { LogFile } from "./log-file.ts";

export type LogLevel = "info" | "warn" | "error";

export interface ContainerLog {
  log: (level: LogLevel, message: string, fields?: Record<string, unknown>) => void;
  close: () => void;
}

/** How often the log is looked at for what was printed past us. */
const boundMs = 5_000;

export function openContainerLog(
  path: string,
  { bytesMax = logBytesMax, everyMs = boundMs }: { bytesMax?: number; everyMs?: number } = {},
): ContainerLog {
  const file = new LogFile(path, { bytesMax, kept: 1, shared: true });
  const timer = setInterval(file.bound, everyMs);
  // In Deno its types know a number only.
  (timer as { unref?: () => void }).unref?.();
  return {
    log(level, message, fields) {
      const time = new Date().toISOString();
      file.write(lineOf({ time, level, message, ...fields }));
      // Few lines, and the last ones before a crash are those that matter.
      file.flush();
    },
    close() {
      clearInterval(timer);
      file.close();
    },
  };
}

function lineOf(entry: Record<string, unknown>): string {
  try {
    return JSON.stringify(entry);
  } catch {
    const { time, level, message } = entry;
    return JSON.stringify({ time, level, message, fields: "not representable as JSON" });
  }
}

/** What a log says of something thrown. */
export function errorFields(thrown: unknown): Record<string, unknown> {
  if (!(thrown instanceof Error)) return { error: String(thrown) };
  return {
    error: thrown.message,
    ...("code" in thrown ? { code: thrown.code } : {}),
    ...(thrown.stack ? { stack: thrown.stack.split("\n").slice(0, 12).join("\n") } : {}),
  };
}
