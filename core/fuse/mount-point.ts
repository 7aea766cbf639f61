/**
 * Mounting and unmounting, by the programs `mount` and `umount` of the system: they get the descriptor of /dev/fuse, so
 * nothing is needed but Unix. Only these programs touch the mount point, and `isDead`, which no serving process calls.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { DvsError } from "../errors.ts";

const devicePath = "/dev/fuse";
/** As `mount` and /proc/mounts show it. */
const fsType = "fuse.dvs";
const looksForMs = 3_000;

export interface MountPointOptions {
  dir: string;
  /** What /proc/mounts names as its source. */
  source: string;
  readOnly?: boolean;
}

/** Throws UNAVAILABLE for who is not root: the kernel mounts for nobody else, but in a namespace of his own. */
export function checkMayMount(uid = owner().uid): void {
  if (uid === 0) return;
  const message =
    `Cannot mount on this machine: only root may, and this is user ${uid}. Run it with sudo; or, where the node is ` +
    `yours and /dev/fuse may be opened, below "unshare --map-root-user --mount", for what runs in there; or go by dvs ls, cat and cp.`;
  throw new DvsError("UNAVAILABLE", message);
}

/** Throws UNAVAILABLE where this machine has no FUSE, or this user may not use it. */
export function openDevice(): number {
  try {
    return openSync(devicePath, "r+");
  } catch (e) {
    const { code } = e as NodeJS.ErrnoException;
    const why =
      code === "EACCES" || code === "EPERM"
        ? `${devicePath} may not be opened here: give it mode 0666, or the container the device`
        : `there is no ${devicePath}: load the kernel module (modprobe fuse), or give the container the device`;
    throw new DvsError("UNAVAILABLE", `Cannot mount on this machine: ${why}.`, { cause: e });
  }
}

/**
 * Resolves when it is mounted; requests can be read from `fd` then. Set-user-ID bits and devices have no meaning below
 * it: what a VOS writes gets no rights on this machine. Rejects with FAILED.
 */
export async function mount(fd: number, { dir, source, readOnly }: MountPointOptions): Promise<void> {
  const { uid, gid } = owner();
  const options = ["fd=3", "rootmode=40000", `user_id=${uid}`, `group_id=${gid}`, "nosuid", "nodev"];
  options.push("max_read=1048576");
  if (uid === 0) options.push("allow_other");
  if (readOnly) options.push("ro");
  const args = ["-i", "-t", fsType, "-o", options.join(), source, dir];
  const { code, stderr } = await runProgram("mount", args, fd);
  if (code === 0) return;
  throw new DvsError("FAILED", `Cannot mount on ${dir}: ${stderr || `mount ended with ${code}`}`);
}

/** Resolves with what is in the way, empty: it is done. `lazy`: at once, whoever still uses it. */
export async function unmount(dir: string, { lazy = false } = {}): Promise<string> {
  const { code, stderr } = await runProgram("umount", ["-i", ...(lazy ? ["-l"] : []), dir]);
  return code === 0 ? "" : stderr || `umount ended with ${code}`;
}

/** A directory's own path, without looking at the directory: it may be a dead mount point. Rejects with NOT_FOUND. */
export async function mountPath(dir: string): Promise<string> {
  try {
    const parent = await realpath(dirname(dir));
    return join(parent, basename(dir));
  } catch (cause) {
    throw new DvsError("NOT_FOUND", `There is no directory ${dirname(dir)}.`, { cause });
  }
}

/** What is mounted there, the topmost; null: nothing. */
export async function mountedAt(dir: string): Promise<{ source: string; isOurs: boolean } | null> {
  const lines = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
  let found: { source: string; isOurs: boolean } | null = null;
  for (const line of lines) {
    // 36 35 98:0 /root /mount/point options optional* - type source superOptions
    const [before, after] = line.split(" - ");
    if (after === undefined || unescaped(before!.split(" ")[4]!) !== dir) continue;
    const [type, source] = after.split(" ");
    found = { source: unescaped(source!), isOurs: type === fsType };
  }
  return found;
}

/** Nobody serves it any more: whoever did was killed. Not for the serving process. */
export async function isDead(dir: string): Promise<boolean> {
  const looked = stat(dir).then(
    () => false,
    (e: NodeJS.ErrnoException) => e.code === "ENOTCONN" || e.code === "ECONNABORTED",
  );
  // Somebody who is stopped is not dead.
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), looksForMs).unref());
  return Promise.race([looked, late]);
}

export function closeDevice(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // It is closed.
  }
}

function owner() {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

function runProgram(name: string, args: string[], fd?: number): Promise<{ code: number; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(name, args, {
      stdio: ["ignore", "ignore", "pipe", ...(fd === undefined ? [] : [fd])],
      env: { PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
    });
    let stderr = "";
    child.stderr!.on("data", (bytes: Uint8Array) => {
      stderr += new TextDecoder().decode(bytes);
    });
    child.on("error", (cause) => {
      reject(new DvsError("FAILED", `Cannot run "${name}": ${cause.message}`, { cause }));
    });
    child.on("close", (code) => resolve({ code: code ?? -1, stderr: stderr.trim() }));
  });
}

/** Spaces and the like are octal numbers there. */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
}
