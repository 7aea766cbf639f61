/** What the environment of a process that serves a mount tells its runtime; whoever starts one passes it. */
import { threadsWanted } from "./device.ts";

export const mountEnvironment: Readonly<Record<string, string>> = {
  // Threads that wait for requests do nothing else, and the runtime has as many as processors otherwise.
  UV_THREADPOOL_SIZE: String(threadsWanted),
  // Memory that the garbage collector has freed is used again, instead of given back and taken anew with each large read:
  // twice as fast (core/state/environment.ts says more of it).
  MIMALLOC_PURGE_DELAY: "-1",
};
