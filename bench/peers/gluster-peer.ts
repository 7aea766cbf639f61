/**
 * GlusterFS with three bricks on this machine, replica 3, mounted by its own FUSE client: what people take for files that
 * outlive a machine. It wants an address that is no loopback, so it lives in a network namespace of its own. Null where
 * it is not installed, or namespaces may not be made.
 *
 * Attributes and entries are not cached by the mount (`--attribute-timeout=0 --entry-timeout=0`): a file system whose
 * other nodes write, too, is compared with one that always answers with what is true.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd, checkBeginning } from "../endings.ts";
import { sleep } from "../lib.ts";

export interface MountedPeer {
  /** Where it is mounted. */
  readonly dir: string;
  close(): Promise<void>;
}

const address = "10.77.0.1";

export async function openGlusterPeer(): Promise<MountedPeer | null> {
  if (spawnSync("glusterd", ["--version"]).status !== 0 || process.getuid?.() !== 0) return null;
  const namespace = `dvs-gl-${process.pid}`;
  checkBeginning();
  const base = mkdtempSync(join(tmpdir(), "dvs-gluster-"));
  const dir = join(base, "mount");
  const inside = ["--net=/run/netns/" + namespace];
  const gluster = (...args: string[]) =>
    spawnSync("nsenter", [...inside, "gluster", "--mode=script", ...args], {
      encoding: "utf8",
      timeout: 60_000,
    });
  const close = atEnd(async () => {
    // Also where somebody is in it yet.
    spawnSync("umount", ["-l", dir], { stdio: "ignore" });
    endAll(namespace, "SIGTERM");
    for (let i = 0; i < 50 && pidsIn(namespace).length > 0; i++) await sleep(50);
    endAll(namespace, "SIGKILL");
    spawnSync("ip", ["netns", "del", namespace], { stdio: "ignore" });
    rmSync(base, { recursive: true, force: true });
  });
  if (spawnSync("ip", ["netns", "add", namespace]).status !== 0) {
    await close();
    return null;
  }
  try {
    for (const each of ["work", "log", "mount", "b1", "b2", "b3"]) mkdirSync(join(base, each));
    const ip = (...args: string[]) => must(spawnSync("ip", ["-n", namespace, ...args], { encoding: "utf8" }));
    ip("link", "set", "lo", "up");
    ip("link", "add", "v0", "type", "veth", "peer", "name", "v1");
    ip("link", "set", "v1", "up");
    ip("addr", "add", `${address}/24`, "dev", "v0");
    ip("link", "set", "v0", "up");
    const volfile = join(base, "glusterd.vol");
    writeFileSync(
      volfile,
      [
        "volume management",
        "    type mgmt/glusterd",
        `    option working-directory ${join(base, "work")}`,
        "    option transport-type socket",
        "end-volume",
        "",
      ].join("\n"),
    );
    spawn(
      "nsenter",
      [
        ...inside,
        ...["glusterd", "--no-daemon", "-f", volfile, "-p", join(base, "glusterd.pid")],
        ...["-l", join(base, "log/glusterd.log")],
      ],
      { stdio: "ignore" },
    );
    for (let i = 0; gluster("volume", "list").status !== 0; i++) {
      if (i === 100) throw new Error("glusterd does not answer");
      await sleep(200);
    }
    const bricks = ["b1", "b2", "b3"].map((brick) => `${address}:${join(base, brick, "v")}`);
    must(gluster("volume", "create", "dvs", "replica", "3", ...bricks, "force"));
    must(gluster("volume", "start", "dvs"));
    must(
      spawnSync(
        "nsenter",
        [
          ...inside,
          ...["glusterfs", `--volfile-server=${address}`, "--volfile-id=dvs"],
          ...["--attribute-timeout=0", "--entry-timeout=0", "-l", join(base, "log/mount.log"), dir],
        ],
        { encoding: "utf8", timeout: 60_000 },
      ),
    );
    return { dir, close };
  } catch (e) {
    await close();
    throw e;
  }
}

/** Host processes of that namespace: the daemon, its bricks and the mount, and nobody else's. */
function pidsIn(namespace: string): number[] {
  const { stdout } = spawnSync("ip", ["netns", "pids", namespace], { encoding: "utf8" });
  return (stdout ?? "").split("\n").filter(Boolean).map(Number);
}

function endAll(namespace: string, signal: "SIGTERM" | "SIGKILL"): void {
  for (const pid of pidsIn(namespace)) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended meanwhile.
    }
  }
}

function must(run: { status: number | null; stderr: string; stdout: string }): void {
  if (run.status !== 0) throw new Error(`GlusterFS: ${run.stderr || run.stdout || "no answer"}`);
}
