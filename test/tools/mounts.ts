/** Mounts of a StateCluster's files, each served by a host process of its own on one of its nodes. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  mkdtempSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { mountEnvironment } from "../../core/fuse/environment.ts";
import type { StateCluster } from "./state-cluster.ts";

/** Null, or why there can be no mounts here. */
export function whyNoMounts(): string | null {
  if (process.getuid?.() !== 0) return "mounting needs root";
  try {
    accessSync("/dev/fuse", constants.R_OK | constants.W_OK);
  } catch {
    return "there is no /dev/fuse";
  }
  return spawnSync("mount", ["--version"]).status === 0 ? null : "there is no mount";
}

export class Mounts {
  readonly #cluster: StateCluster;
  readonly #cache: string;
  /** Everybody may go through it. */
  readonly #dir = mkdtempSync(join(tmpdir(), "dvs-mounts-"));
  readonly #mounts: { dir: string; child: ChildProcess; ended: Promise<void> }[] = [];

  constructor(cluster: StateCluster, cache = "none") {
    this.#cluster = cluster;
    this.#cache = cache;
    chmodSync(this.#dir, 0o755);
  }

  /** The directory. Nobody in this process may touch it as long as it is mounted. */
  async open(at: number): Promise<string> {
    const dir = join(this.#dir, `n${this.#mounts.length}`);
    mkdirSync(dir);
    const file = `${dir}.json`;
    writeFileSync(file, JSON.stringify(this.#cluster.outsider(at)), { mode: 0o600 });
    const script = join(import.meta.dirname, "mount-process.ts");
    const child = spawn(process.execPath, ["--no-install", script, file, dir, this.#cache], {
      stdio: ["ignore", "pipe", "inherit"],
      // As the product starts it.
      env: { ...process.env, ...mountEnvironment },
    });
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    this.#mounts.push({ dir, child, ended });
    const lines = createInterface({ input: child.stdout });
    const first = await Promise.race([
      new Promise<string>((resolve) => lines.once("line", resolve)),
      ended.then(() => "ended"),
    ]);
    if (first !== "mounted") throw new Error(`a mount has ended with code ${child.exitCode}`);
    return dir;
  }

  async close(): Promise<void> {
    for (const { dir, child, ended } of this.#mounts) {
      child.kill("SIGTERM");
      await ended;
      // Of one that was killed.
      spawnSync("umount", ["-l", dir], { stdio: "ignore" });
      // Empty now: what was in it is the volume's, and not to be removed.
      rmdirSync(dir);
      rmSync(`${dir}.json`);
    }
    rmdirSync(this.#dir);
  }
}
