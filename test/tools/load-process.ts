/** Runs the open-loop generator (open-loop.ts) as a host process and brings its report. */
import { spawn } from "node:child_process";
import type { LoadOptions, LoadReport } from "./open-loop.ts";

export interface RunningLoad {
  /** Divides the report at this moment. */
  mark(name: string): void;
  /** Ends it before its time. */
  stop(): void;
  report: Promise<LoadReport>;
}

export function startLoad(options: LoadOptions): RunningLoad {
  const generator = new URL("./open-loop.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, ["--no-install", generator, JSON.stringify(options)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let stdout = "";
  child.stdout.on("data", (d: Uint8Array) => (stdout += new TextDecoder().decode(d)));
  return {
    mark: (name) => void child.stdin.write(`mark ${name}\n`),
    stop: () => void child.stdin.write("stop\n"),
    report: new Promise<LoadReport>((resolve, reject) => {
      child.on("close", (code) => {
        if (code === 0) resolve(JSON.parse(stdout) as LoadReport);
        else reject(new Error(`the load generator ended with ${code}`));
      });
    }),
  };
}
