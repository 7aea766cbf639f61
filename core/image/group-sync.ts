/**
 * fsync of many files as one: `sync -f` is syncfs(2), one commit of the file system's journal, where an fsync each is
 * a commit each (2,000 files of 1.5 KB on ext4: 0.04 s against 0.4 s). It writes whatever else lies unwritten on that
 * file system, so it has a time limit, after which, or without the program, each file gets its own fsync.
 * syncfs reports failed writes since Linux 5.8; on an older kernel each file gets its own fsync too.
 */
import { spawn } from "node:child_process";
import { open } from "node:fs/promises";
import { release } from "node:os";
import { forEachParallel } from "./parallel.ts";

/** Below this, starting a program costs more than it saves. */
const groupMin = 32;
/** fsyncs under way at once: enough for the file system to join some in one commit. */
const fsyncWidth = 32;
const syncfsMsMax = 5_000;

/**
 * Makes the files or directories, all on the file system of `dir`, survive a power cut. Returns those that the disk
 * refused: their bytes count as lost for good, since the next fsync of the same file may well succeed.
 */
export async function syncGroup(dir: string, paths: readonly string[]): Promise<Set<string>> {
  const failed = new Set<string>();
  if (paths.length >= groupMin && syncfsReportsErrors() && (await syncfs(dir))) return failed;
  await forEachParallel(paths, fsyncWidth, async (path) => {
    try {
      await fsyncOne(path);
    } catch {
      failed.add(path);
    }
  });
  return failed;
}

async function fsyncOne(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** False when it could not be done in time. */
function syncfs(dir: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn("sync", ["-f", dir], {
      stdio: "ignore",
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
    });
    const timer = setTimeout(() => {
      // It may sit in the kernel and not hear; nobody waits for it.
      child.kill("SIGKILL");
      resolve(false);
    }, syncfsMsMax);
    const end = (done: boolean): void => {
      clearTimeout(timer);
      resolve(done);
    };
    child.once("error", () => end(false));
    child.once("exit", (code) => end(code === 0));
  });
}

function syncfsReportsErrors(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return process.platform === "linux" && (major > 5 || (major === 5 && minor >= 8));
}
