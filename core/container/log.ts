/** The instance's log: one JSON object a line with `time`, `level`, `message` and whatever the caller adds. */
import { logBytesMax } from "../limits.ts";
import { LogFile } from "./log-file.ts";

export type LogLevel = "info" | "warn" | "error";

export interface ContainerLog {
  log: (level: LogLevel, message: string, fields?: Record<string, unknown>) => void;
  close: () => void;
}

export function openContainerLog(path: string): ContainerLog {
  const file = new LogFile(path, { bytesMax: logBytesMax, kept: 1 });
  return {
    log(level, message, fields) {
      const time = new Date().toISOString();
      file.write(lineOf({ time, level, message, ...fields }));
      // Few lines, and the last ones before a crash are those that matter.
      file.flush();
    },
    close: () => file.close(),
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
