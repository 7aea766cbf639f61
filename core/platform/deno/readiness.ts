/** As ../readiness.ts, on Deno. */
import { libcNames, type Readiness, readinessBy } from "../readiness.ts";

export async function readinessOf(fd: number): Promise<Readiness | null> {
  if (process.platform !== "linux") return null;
  for (const name of libcNames) {
    try {
      const { symbols } = Deno.dlopen(name, {
        poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
        fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
      });
      const calls = {
        poll: (fds: Uint8Array) => (ms: number) => symbols.poll(fds, 1n, ms),
        fcntl: (of: number, command: number, argument: number) => symbols.fcntl(of, command, argument),
      };
      return readinessBy(calls, fd);
    } catch {
      // Not this one's name here, or it may not be called.
    }
  }
  return null;
}
