/** What host processes have used of the processors, where /proc tells: comparable also on a machine with other work. */
import { readFileSync } from "node:fs";

/** sysconf(_SC_CLK_TCK): 100 on every Linux that we run on. */
const ticksPerSecond = 100;

/** Microseconds of user and system time of a host process and of its children that have ended; NaN where nobody tells. */
export function cpuTimeUs(pid: number): number {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return Number.NaN;
  }
  // The name, in brackets, may have anything in it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0);
  return (ticks * 1e6) / ticksPerSecond;
}
