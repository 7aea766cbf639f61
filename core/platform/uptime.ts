/**
 * Time that host processes of one machine share: CLOCK_BOOTTIME from /proc/uptime, in milliseconds, in steps of
 * 10 ms. It counts suspend. Bun's own monotonic clock starts with each process, so it must never cross one.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";

let fd = -1;
const buffer = new Uint8Array(64);
const decoder = new TextDecoder();

export function uptimeMs(): number {
  if (fd < 0) fd = openSync("/proc/uptime", "r");
  try {
    const n = readSync(fd, buffer, 0, buffer.length, 0);
    return Math.round(Number(decoder.decode(buffer.subarray(0, n)).split(" ")[0]) * 1000);
  } catch (e) {
    closeSync(fd);
    fd = -1;
    throw e;
  }
}

/** Changes when the machine boots. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/**
 * When a host process started, in clock ticks since boot; null when it is gone. (pid, start time) names a host
 * process for ever, a pid alone does not.
 */
export function processStartTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Fields after the command's closing parenthesis: state is the first, starttime the twentieth.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const ended = fields[0] === "Z" || fields[0] === "X";
    // Of a killed process the first thread is often a zombie while others still hold its ports and locks.
    if (ended && Number(fields[17]) <= 1) return null;
    return fields[19] ?? null;
  } catch {
    return null;
  }
}
