/**
 * Machines for tests of faults: a network namespace each, joined by a bridge, with links that can be cut one way, and
 * small disks that can be filled. All of it lies in namespaces of this program alone (network, mounts, processes), so
 * that nothing of it is left when it ends, however it ends. Needs root, unshare, ip and nft.
 */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";

const inside = "DVS_FAULTS_INSIDE";
const unshared = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
const diskMebibytes = 192;
const subnet = "10.77.0";
const namespaces = "/run/netns";

/** Null, or why there can be no such machines here. */
export function whyNoMachines(): string | null {
  if (process.getuid?.() !== 0) return "network namespaces need root";
  for (const [tool, ...args] of [
    ["ip", "-V"],
    ["nft", "--version"],
  ] as [string, string][]) {
    if (spawnSync(tool, args).status !== 0) return `there is no ${tool}`;
  }
  const { status, stderr } = spawnSync("unshare", [...unshared, "true"], { encoding: "utf8" });
  return status === 0 ? null : `no namespaces of one's own: ${stderr?.trim() || "no unshare"}`;
}

/** Runs this program again, in namespaces of its own. Null: it is in them. Else its exit code. */
export function enterNamespaces(): number | null {
  if (process.env[inside] === "1") return null;
  const { status } = spawnSync("unshare", [...unshared, process.execPath, ...process.argv.slice(1)], {
    stdio: "inherit",
    // A file system in memory, seen by nobody else.
    env: { ...process.env, [inside]: "1", TMPDIR: "/dev/shm" },
  });
  return status ?? 1;
}

export class Machines {
  readonly names: readonly string[];

  constructor(count: number) {
    if (process.env[inside] !== "1") throw new Error("machines are made in namespaces of their own only");
    this.names = Array.from({ length: count }, (_, i) => `n${i + 1}`);
    run("mount", "-t", "tmpfs", "dvs-test", "/dev/shm");
    mkdirSync(namespaces, { recursive: true });
    run("mount", "-t", "tmpfs", "dvs-test", namespaces);
    run("ip", "link", "set", "lo", "up");
    run("ip", "link", "add", "bridge", "type", "bridge");
    run("ip", "address", "add", `${subnet}.254/24`, "dev", "bridge");
    run("ip", "link", "set", "bridge", "up");
    for (const name of this.names) {
      run("ip", "netns", "add", name);
      run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name);
      run("ip", "link", "set", name, "master", "bridge", "up");
      run("ip", "-n", name, "address", "add", `${this.host(name)}/24`, "dev", "eth0");
      run("ip", "-n", name, "link", "set", "eth0", "up");
      run("ip", "-n", name, "link", "set", "lo", "up");
      this.#nft(name, "add table inet cuts", "add chain inet cuts in { type filter hook input priority 0; }");
    }
  }

  host(name: string): string {
    return `${subnet}.${this.names.indexOf(name) + 1}`;
  }

  /** What is put before a command, for it to run on that machine. */
  wrap(name: string): string[] {
    return ["nsenter", `--net=${join(namespaces, name)}`, "--"];
  }

  /** Nothing from the one arrives at the other any more. */
  cut(from: number, to: number): void {
    this.#nft(this.names[to]!, `add rule inet cuts in ip saddr ${this.host(this.names[from]!)} drop`);
  }

  /** Everything arrives again. */
  mend(): void {
    for (const name of this.names) this.#nft(name, "flush chain inet cuts in");
  }

  mountDisk(dir: string): void {
    run("mount", "-t", "tmpfs", "-o", `size=${diskMebibytes}m,mode=700`, "dvs-test", dir);
  }
  unmountDisk(dir: string): void {
    run("umount", dir);
  }

  /** Uses up a disk, but for so many bytes. Others write to it meanwhile. */
  fill(disk: string, leaveBytes: number): void {
    const { bavail, bsize } = statfsSync(disk);
    const file = join(disk, filler);
    const bytes = bavail * bsize - leaveBytes - marginBytes;
    if (bytes > 0) run("fallocate", "-l", String(bytes), file);
    if (leaveBytes > 0) return;
    const fd = openSync(file, "a");
    try {
      for (;;) writeSync(fd, page);
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== "ENOSPC") throw e;
    } finally {
      closeSync(fd);
    }
  }
  empty(disk: string): void {
    rmSync(join(disk, filler), { force: true });
  }

  /** All of the commands or none; each may be carried out twice. */
  #nft(machine: string, ...commands: string[]): void {
    attempt([...this.wrap(machine), "nft", "-f", "-"], `${commands.join("\n")}\n`, () => true);
  }
}

const filler = "filler";
const attempts = 5;
const betweenAttemptsMs = 200;
const marginBytes = 4 * 1_024 * 1_024;
const page = new Uint8Array(4_096);

function run(...command: string[]): void {
  attempt(command, "", ({ pid }) => !pid);
}

/** On a host that lacks memory or processes for a moment: again, where that is harmless. */
function attempt(
  command: readonly string[],
  input: string,
  mayRepeat: (ended: { pid: number | undefined }) => boolean,
): void {
  const [program, ...args] = command;
  for (let left = attempts; ; left--) {
    const ended = spawnSync(program!, args, { input, encoding: "utf8" });
    const { status, stderr, signal, error } = ended;
    if (status === 0) return;
    if (left > 1 && mayRepeat(ended)) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, betweenAttemptsMs);
      continue;
    }
    const how = error ? error.message : signal ? `ended by ${signal}` : `exit code ${status}`;
    throw new Error(
      `"${[...command, input.trim()].join(" ").trim()}": ${[how, stderr?.trim()].filter(Boolean).join(": ")}`,
    );
  }
}
