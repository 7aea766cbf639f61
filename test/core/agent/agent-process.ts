/**
 * An agent in a host process of its own, with fake containers and ingress. Arguments: data directory, and the step
 * at which it kills itself, or "".
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runAgent } from "../../../core/agent/agent.ts";
import { DvsError } from "../../../core/errors.ts";
import { plainLink } from "./plain-link.ts";

const [dataDir = "", crashAt = ""] = process.argv.slice(2);
const ending = new AbortController();
process.on("SIGTERM", () => ending.abort());
const fake = new URL("fake-process.ts", import.meta.url).pathname;

/** The test says what the image's fetch does: a reason to fail, or nothing. */
function imageProblem(): string {
  const path = join(dataDir, "image-problem");
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

try {
  process.exitCode = await runAgent({
    dataDir,
    signal: ending.signal,
    stopContainers: process.env["STOP_CONTAINERS"] === "1",
    log: (level, message) => console.log(`${level}: ${message}`),
    command: (args) => ({ command: process.execPath, args: ["--no-install", fake, ...args] }),
    connect: ({ identity }) => Promise.resolve(plainLink(identity.agentAddresses[0]!)),
    openImages: () =>
      Promise.resolve({
        async ensure(_digest, progress) {
          progress("pulling: 1 of 2 files");
          await new Promise((resolve) => {
            setTimeout(resolve, 50);
          });
          const problem = imageProblem();
          if (problem) throw new DvsError("EXHAUSTED", problem);
        },
        refetch: () => Promise.resolve(),
        setWanted() {},
        warnings: () => (imageProblem() ? [imageProblem()] : []),
        close() {},
      }),
    timing: {
      livenessMs: Number(process.env["LIVENESS_MS"] ?? 5_000),
      helloTimeoutMs: 1_000,
      readyTimeoutMs: 3_000,
      stopGraceMs: 500,
      prepareRetryMs: 100,
    },
    onStarted: () => console.log("started"),
    step: (name) => {
      if (name === crashAt) process.kill(process.pid, "SIGKILL");
    },
  });
} catch (e) {
  console.log(`error ${DvsError.from(e).code}: ${DvsError.from(e).message}`);
  process.exitCode = DvsError.from(e).exit;
}
