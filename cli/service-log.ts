/** What a host process that runs for long says of itself: a line each on stderr, with time and level. */
import type { Io } from "./io.ts";
import { clean } from "./table.ts";

export function serviceLog(io: Io): (level: "info" | "warn" | "error", message: string) => void {
  return (level, message) => io.stderr.write(`${new Date().toISOString()} ${level} ${clean(message)}\n`);
}
