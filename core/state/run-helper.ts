/** Starts the helper host process and waits for what it says. */
import { spawn } from "node:child_process";
import { z } from "zod";
import { DvsError } from "../errors.ts";
import { selfCommand } from "../platform/runtime.ts";
import { Unpacked } from "./backup/unpacked.ts";
import type { HelperJob } from "./helper.ts";
import { MiB } from "../limits.ts";
import { NeededBlobs } from "./backup/needed-blobs.ts";
import { helperMsMax, unpackMsMax } from "./limits.ts";
import { SnapshotInfo } from "./snapshots.ts";

/** A snapshot lists its segments, twenty characters for 64 MiB; a backup the files of its image, eighty for each. */
const outputCharsMax = 32 * MiB;
const results = {
  snapshot: SnapshotInfo,
  checkpoint: z.object({ frames: z.number(), moved: z.number() }),
  blobs: NeededBlobs,
  unpack: Unpacked,
} as const;

/** `record`: of which snapshot, where the job is about one. Rejects with FAILED when it ends otherwise than well; with the reason of `signal` when that ends it. */
export function askHelper<J extends HelperJob>(
  job: J,
  dataDir: string,
  signal: AbortSignal,
  record?: number,
): Promise<z.infer<(typeof results)[J]>> {
  const of = record === undefined ? [] : ["--record", String(record)];
  const { command, args } = selfCommand(["state-helper", "--job", job, "--data-dir", dataDir, ...of]);
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => (output = (output + chunk.toString()).slice(-outputCharsMax)));
    child.stderr.on("data", (chunk: Buffer) => (errors = (errors + chunk.toString()).slice(-outputCharsMax)));
    const kill = (): void => void child.kill("SIGKILL");
    const timer = setTimeout(kill, job === "unpack" ? unpackMsMax : helperMsMax);
    signal.addEventListener("abort", kill, { once: true });
    const failed = (why: string, cause?: unknown): DvsError =>
      new DvsError("FAILED", `The ${job} of the state in ${dataDir} failed: ${why}.`, { cause });
    const end = (outcome: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", kill);
      outcome();
    };
    child.once("error", (e) => end(() => reject(failed(e.message, e))));
    child.once("close", (code, killed) =>
      end(() => {
        if (signal.aborted) return reject(signal.reason as Error);
        if (code !== 0) return reject(failed(errors.trim() || `its helper ended with ${code ?? killed}`));
        const line = output.trim().split("\n").at(-1) ?? "";
        const result = results[job].safeParse(jsonOf(line));
        if (result.success) resolve(result.data as z.infer<(typeof results)[J]>);
        else reject(failed(`its helper said ${JSON.stringify(line.slice(0, 200))}`));
      }),
    );
  });
}

function jsonOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
