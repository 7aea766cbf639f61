/** Appends to a log until it is killed, and says how far it is durable. Argument: its directory. */
import { writeSync } from "node:fs";
import { nodeFiles } from "../../../core/log/node-files.ts";
import { openLog } from "../../../core/log/open-log.ts";
import { loopTiming } from "../../../core/log/timing.ts";
import type { Log } from "../../../core/log/log.ts";
import { diskId } from "./bench-of-logs.ts";

let log: Log;
const nothing = (): void => undefined;

function more(): void {
  const first = log.lastIndex + 1;
  log.append(
    Array.from({ length: 50 }, (_, i) => {
      const index = first + i;
      return { epoch: 1, index, bytes: new Uint8Array((index * 37) % 900).fill(index % 256) };
    }),
  );
}

const listener = {
  written: nothing,
  durable(index: number): void {
    writeSync(1, `${index}\n`);
    more();
  },
  full: nothing,
  failed(error: Error): void {
    throw error;
  },
  damaged: nothing,
};
openLog(
  nodeFiles(process.argv[2]!),
  { disk: diskId, snapshot: null, durable: 0, timing: loopTiming, listener },
  (error, opened) => {
    if (error) throw error;
    log = opened!.log;
    // The first is told before anything is written.
    setInterval(nothing, 1_000);
    more();
    setImmediate(more);
  },
);
