/** As ../readiness.ts, on Bun. */
import { libcNames, type Readiness, readinessBy } from "../readiness.ts";

export async function readinessOf(fd: number): Promise<Readiness | null> {
  if (process.platform !== "linux") return null;
  const { dlopen, ptr } = await import("bun:ffi");
  for (const name of libcNames) {
    try {
      const { symbols } = dlopen(name, {
        poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
        fcntl: { args: ["i32", "i32", "i32"], returns: "i32" },
      });
      const poll = (fds: Uint8Array) => {
        const at = ptr(fds);
        return (ms: number) => (fds.length > 0 ? symbols.poll(at, 1, ms) : -1);
      };
      const fcntl = (of: number, command: number, argument: number) => symbols.fcntl(of, command, argument);
      return readinessBy({ poll, fcntl }, fd);
    } catch {
      // Not this one's name here.
    }
  }
  return null;
}
