/**
 * Time that host processes of one machine share: CLOCK_BOOTTIME from /proc/uptime, in milliseconds, in steps of
 * 10 ms. It counts suspend. Bun's own monotonic clock starts with each process, so it must never cross one.
 */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";

let fd = -1;
const buffer = new Uint8Array(64);
const decoder = new TextDecoder();
let lastMs = 0;
/** When it was read, by performance.now(). */
let readMs = -Infinity;

/** At most a millisecond old: whoever looks at the clock again at once does not read the file again. */
export function uptimeMs(): number {
  const nowMs = performance.now();
  if (nowMs - readMs < 1) return lastMs;
  if (fd < 0) fd = openSync("/proc/uptime", "r");
  try {
    const n = readSync(fd, buffer, 0, buffer.length, 0);
    lastMs = Math.round(Number(decoder.decode(buffer.subarray(0, n)).split(" ")[0]) * 1000);
    readMs = nowMs;
    return lastMs;
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

/** Bits of `flags` in /proc/PID/stat, and of the signal masks in /proc/PID/status. */
const exiting = 0x4n;
const sigkill = 1n << 8n;

/**
 * Whether a host process was killed, or ends, and is still there: it will do nothing more, but may hold its locks and ports.
 * True from the moment in which kill(2) returned to whoever sent SIGKILL. Linux only, as all of this file.
 */
export function isDying(pid: number, startTime: string): boolean {
  if (processStartTime(pid) !== startTime) return false;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const flags = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[6] ?? "0";
    if ((BigInt(flags) & exiting) !== 0n) return true;
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const pending = status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm);
    return [...pending].some(([, mask]) => (BigInt(`0x${mask}`) & sigkill) !== 0n);
  } catch {
    return false; // It has gone meanwhile.
  }
}
