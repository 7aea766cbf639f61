/** The event loop's own timers, for a log that is not simulated. */
import type { Timing } from "./writer.ts";

export const loopTiming: Timing = {
  after(ms, run) {
    // A log that nobody closes does not keep the host process alive.
    setTimeout(run, ms).unref();
  },
  // The machine appends once a turn; whatever comes over a link in one piece is appended before this.
  soon: (run) => queueMicrotask(run),
};
