/**
 * `dvs instance mount` on real host processes: two nodes of three mount an instance, programs work on both, the primary
 * and an agent die meanwhile. The programs that touch a mount point are never this process.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountedAt, unmount } from "../../core/fuse/mount-point.ts";
import { processStartTime } from "../../core/platform/uptime.ts";
import { obstacleToMounts } from "../core/fuse/obstacle.ts";
import type { TestCluster } from "./cluster.ts";
import { clusterForFile, createHello, stateInSync } from "./fixture.ts";

const why = obstacleToMounts();

/** With mount points in $A and $B. */
function sh(script: string, at: { a: string; b: string }): Promise<{ code: number; out: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, A: at.a, B: at.b };
    const child = spawn("sh", ["-euc", script], { env, timeout: 60_000 });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (bytes: Uint8Array) => (out += new TextDecoder().decode(bytes)));
    }
    child.once("close", (code) => resolve({ code: code ?? -1, out: out.trim() }));
  });
}

describe.skipIf(why !== "")(`a mounted instance${why && ` (${why})`}`, () => {
  const cluster: () => TestCluster = clusterForFile({ nodes: 3 });
  const root = mkdtempSync(join(tmpdir(), "dvs-mount-"));
  const at = { a: join(root, "a"), b: join(root, "b") };
  let uid = "";

  const mountOn = (dir: string, node: number, ...more: string[]) => {
    const { dataDir } = cluster().nodes[node]!;
    return cluster().dvs(["instance", "mount", "box", dir, "--data-dir", dataDir, ...more]);
  };
  const umount = (dir: string, ...more: string[]) => cluster().dvs(["instance", "umount", dir, ...more]);
  /** Pid of the process that serves, as the command says it. */
  const pidIn = ({ stderr }: { stderr: string }) => Number(/\(pid (\d+)\)/.exec(stderr)![1]);

  beforeAll(async () => {
    mkdirSync(at.a);
    mkdirSync(at.b);
    uid = (await createHello(cluster(), "box", 3)).view.uid;
    await stateInSync(cluster(), "box");
  }, 60_000);

  afterEach(async () => {
    for (const dir of [at.a, at.b]) if (await mountedAt(dir)) await unmount(dir, { lazy: true });
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test("is on both nodes what any of them writes, when the command has ended", async () => {
    expect(await mountOn(at.a, 0)).toMatchObject({ code: 0 });
    expect(await mountOn(at.b, 1)).toMatchObject({ code: 0 });
    const script = `
      mkdir -p $A/srv/deep; echo one >$A/srv/deep/f; cat $B/srv/deep/f
      echo two >>$B/srv/deep/f; cat $A/srv/deep/f
      flock $A/srv/deep/f -c 'flock -n $B/srv/deep/f true && echo both; true'
      cp -a /etc/passwd $B/srv/; cmp /etc/passwd $A/srv/passwd; rm -r $B/srv; ls $A`;
    expect(await sh(script, at)).toEqual({ code: 0, out: "one\none\ntwo" });
    expect(await cluster().dvs(["ls", "box:/"])).toMatchObject({ code: 0, stdout: "" });
    await Promise.all([umount(at.a), umount(at.b)]);
  });

  test("has as much room as the quota and the disks leave", async () => {
    expect(await mountOn(at.a, 0)).toMatchObject({ code: 0 });
    const room = async () => {
      const { out } = await sh("stat -f -c '%S %b %a %d' $A", at);
      const [block, blocks, free, inodes] = out.split(" ").map(Number) as [number, number, number, number];
      return { size: block * blocks, free: block * free, inodes };
    };
    const { bavail, blocks, bsize } = statfsSync(root);
    const { free } = await room();
    expect(free).toBeGreaterThan(0);
    expect(free).toBeLessThan(bsize * (bavail + 0.05 * blocks));
    await cluster().dvs(["quota", "box", "--bytes", "1MiB", "--files", "50"]);
    expect(await room()).toEqual({ size: 1_048_576, free: 1_048_576, inodes: 49 });
    const script = "head -c 600000 /dev/zero >$A/a; head -c 600000 /dev/zero >$A/b || rm $A/a $A/b";
    expect((await sh(script, at)).out).toContain("quota exceeded");
    await cluster().dvs(["quota", "box", "--bytes", "1TiB", "--files", "1000000"]);
    await umount(at.a);
  });

  test("goes on when the primary is killed, and when the agent is: nothing that was written is lost", async () => {
    expect(await mountOn(at.a, 0)).toMatchObject({ code: 0 });
    expect(await mountOn(at.b, 1)).toMatchObject({ code: 0 });
    const { state } = await stateInSync(cluster(), "box");
    const primary = state.replicas.find(({ role }) => role === "primary")!;
    const writing = sh("mkdir $A/w; for i in $(seq 60); do echo $i >$A/w/$i; echo $i >>$B/w/all; done", at);
    await new Promise((resolve) => setTimeout(resolve, 300));
    process.kill(primary.pid, "SIGKILL");
    const agent = await cluster().nodes[0]!.pid("agent");
    process.kill(agent, "SIGKILL");
    expect(await writing).toEqual({ code: 0, out: "" });
    cluster().nodes[0]!.start();
    const seen = await sh(
      "cat $B/w/all | tr '\\n' ' '; cat $(ls $B/w/[0-9]* | sort -V) | tr '\\n' ' '; rm -r $A/w",
      at,
    );
    const numbers = Array.from({ length: 60 }, (_, i) => `${i + 1}`).join(" ");
    expect(seen).toEqual({ code: 0, out: `${numbers} ${numbers}` });
    await cluster().allUp();
    await Promise.all([umount(at.a), umount(at.b)]);
  });

  test("cannot be mounted where it is not, twice, or where there is nothing; the exit code says which", async () => {
    expect(await mountOn(at.a, 0)).toMatchObject({ code: 0 });
    const refused: [Promise<{ code: number; stderr: string }>, number, string][] = [
      [mountOn(at.a, 1), 4, "is mounted there"],
      [mountOn(join(root, "none"), 0), 3, "no such directory"],
      [
        cluster().dvs(["instance", "mount", "nobody", at.b, "--data-dir", cluster().nodes[0]!.dataDir]),
        3,
        "nobody",
      ],
      [cluster().dvs(["instance", "mount", "box", at.b, "--data-dir", root]), 6, "no node"],
      [mountOn(at.b, 0, "--node", "n2"), 6, "n2"],
      [umount(at.b), 3, "Nothing is mounted"],
    ];
    for (const [asked, code, words] of refused) {
      const answer = await asked;
      expect([answer.code, answer.stderr]).toEqual([
        code,
        expect.stringContaining(words) as unknown as string,
      ]);
    }
    const user = sh("cd $A; exec sleep 20", at);
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(await umount(at.a)).toMatchObject({ code: 4 });
    expect(await umount(at.a, "--force")).toMatchObject({ code: 0 });
    expect(await mountedAt(at.a)).toBeNull();
    void user;
  });

  test("of which the process was killed is taken away by the next mount, and by umount", async () => {
    let mounted = await mountOn(at.a, 0);
    await sh("echo kept >$A/kept", at);
    for (const next of ["mount", "umount"] as const) {
      expect(mounted.code).toBe(0);
      const pid = pidIn(mounted);
      process.kill(pid, "SIGKILL");
      await cluster().until("it is gone", () => processStartTime(pid) === null);
      expect((await sh("cat $A/kept", at)).code).not.toBe(0);
      mounted = await (next === "mount" ? mountOn(at.a, 0) : umount(at.a));
    }
    expect(mounted.code).toBe(0);
    expect(await mountedAt(at.a)).toBeNull();
  });

  test("in the foreground ends by SIGTERM, and is unmounted then", async () => {
    const { dataDir } = cluster().nodes[0]!;
    const args = ["instance", "mount", "box", at.b, "--data-dir", dataDir, "--foreground", "--read-only"];
    const pid = cluster().spawn("foreground", args);
    await cluster().until("it is mounted", () => cluster().log("foreground").includes("is mounted on"));
    expect(await sh("cat $B/kept; touch $B/new 2>/dev/null && exit 1; true", at)).toEqual({
      code: 0,
      out: "kept",
    });
    process.kill(pid, "SIGTERM");
    expect(await cluster().ended(pid)).toBe(0);
    expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(at.b);
    expect(uid).not.toBe("");
  });
});
