/** Full disks, on small file systems: told with numbers, nothing breaks, and what was asked for goes on when there is room. */
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MiB } from "../../core/limits.ts";
import { clusterForFile, failure, helloRequest, killContainer, lasting, writeSite } from "./fixture.ts";

const reason = whyNot();
if (reason !== null) {
  test.skip(`full disks (skipped: ${reason})`, () => {});
} else {
  const cluster = clusterForFile({ nodes: 1, coordinatorDiskMebibytes: 24 });
  const big = (mebibytes: number) => ({
    "index.html": "<h1>big</h1>\n",
    "big.bin": "x".repeat(mebibytes * MiB),
  });

  test("a node whose disk is full says so, goes on with what it runs, and goes on by itself when there is room", async () => {
    const small = cluster().newNode("small");
    cluster().mountSmallDisk(small.dataDir, 16);
    const { token } = await cluster().api.tokens.create({ kind: "join" });
    small.join(token, ["--label", "disk=small"]);
    await cluster().allUp();
    const spec = { os: "hello", nodes: 1, on: { disk: "small" } };
    await cluster().api.instances.create({ name: "before", spec });
    const before = await cluster().phase("before", "running");

    fill(small.dataDir, 2);
    const site = writeSite(cluster(), "site", big(4));
    const early = await cluster().dvs([
      ...[
        "instance",
        "create",
        "web",
        "--os",
        "web",
        "--site",
        site,
        "--on",
        "disk=small",
        "--timeout",
        "4s",
      ],
    ]);
    expect(early.code).toBe(7);
    // It is tried again each second, and says so while it is.
    await cluster().until("it says why it is not there", async () => {
      const view = await cluster().api.instances.get("web");
      expect(view.phase).toBe("creating");
      const words = view.conditions.map((c) => c.message).join("; ");
      return words.includes("small") && /\d+ are free/.test(words);
    });
    expect((await cluster().api.nodes.get("small")).warnings.join()).toContain("are free");
    expect((await cluster().api.status()).warnings.join()).toContain("node small");
    const during = await cluster().api.instances.get("before");
    expect(during.containers.map(lasting)).toEqual(before.containers.map(lasting));

    rmSync(join(small.dataDir, "filler"));
    await cluster().phase("web", "running");
    await cluster().until(
      "the warning is gone",
      async () => !(await cluster().api.nodes.get("small")).warnings.join().includes("are free"),
    );
  });

  test("on a disk without a free byte nothing that runs ends, what cannot start says why, and a removal works", async () => {
    const small = cluster().node("small");
    fill(small.dataDir, 0);
    const before = await cluster().api.instances.get("before");
    killContainer((await cluster().phase("web", "running")).containers[0]!);
    await cluster().until("it says why it cannot start", async () =>
      (await cluster().api.instances.get("web")).conditions.some((c) =>
        c.message.includes("the disk is full"),
      ),
    );
    expect((await cluster().api.instances.get("before")).containers.map(lasting)).toEqual(
      before.containers.map(lasting),
    );
    expect((await cluster().dvs(["instance", "rm", "before"])).code).toBe(0);
    rmSync(join(small.dataDir, "filler"));
    await cluster().phase("web", "running");
    expect((await cluster().dvs(["instance", "rm", "web"])).code).toBe(0);
    expect((await small.processes()).filter((p) => p.kind === "container")).toEqual([]);
  });

  test("a coordinator whose disk is full refuses changes with 507 and exit code 9, and everything else goes on", async () => {
    await cluster().api.instances.create(helloRequest("kept", 2));
    const kept = await cluster().phase("kept", "running");
    fill(cluster().coordinatorDir, 0);
    // The store's own file may have room for some more records.
    const spec = { os: "hello", nodes: 9, options: { greeting: "g".repeat(900) } };
    let made = 0;
    const refused = await failure(
      (async () => {
        for (; made < 5_000; made++) await cluster().api.instances.create({ name: `x-${made}`, spec });
      })(),
    );
    expect(refused).toMatchObject({ code: "EXHAUSTED", status: 507 });
    const command = await cluster().dvs([
      "instance",
      "create",
      "more",
      "--os",
      "hello",
      "--set",
      `greeting=${"g".repeat(900)}`,
    ]);
    expect(command.code).toBe(9);
    expect(command.stderr).toMatch(/disk|full|space/i);
    const site = writeSite(cluster(), "late", big(3));
    const push = await cluster().dvs(["image", "build", site]);
    expect(push.code).toBe(9);
    expect(push.stderr).toContain("are free");

    // Nodes live on, since heartbeats are no writes; what is there can be looked at.
    expect((await cluster().api.nodes.list()).map((n) => n.state)).toEqual(["up", "up"]);
    expect((await cluster().api.instances.get("kept")).containers.map((c) => c.pid)).toEqual(
      kept.containers.map((c) => c.pid),
    );

    rmSync(join(cluster().coordinatorDir, "filler"));
    const again = await cluster().dvs(["instance", "create", "more", "--os", "hello"]);
    expect({ code: again.code, stderr: again.code === 0 ? "" : again.stderr }).toEqual({
      code: 0,
      stderr: "",
    });
    expect((await cluster().dvs(["image", "build", site])).code).toBe(0);
    expect((await cluster().api.instances.list()).length).toBe(made + 2);
  });

  test("a coordinator that is killed with a full disk starts with it, and has everything that it acknowledged", async () => {
    const before = (await cluster().api.instances.list()).map((i) => i.uid);
    fill(cluster().coordinatorDir, 0);
    cluster().killCoordinator();
    await cluster().coordinatorGone();
    const said = cluster().log("coordinator").length;
    const started = cluster()
      .startCoordinator()
      .then(() => true)
      .catch(() => false);
    // It may need a page or two for its start: then it says so, and goes on when there is room.
    const answered = await Promise.race([
      started,
      cluster().until("it says that the disk is full", () =>
        /full/.test(cluster().log("coordinator").slice(said)),
      ),
    ]);
    rmSync(join(cluster().coordinatorDir, "filler"));
    if (answered !== true && !(await started)) await cluster().startCoordinator();
    await cluster().allUp();
    expect((await cluster().api.instances.list()).map((i) => i.uid)).toEqual(before);
    expect((await failure(cluster().api.instances.create(helloRequest("kept", 1)))).code).toBe("CONFLICT");
  });
}

/** Leaves so many MiB. */
function fill(dir: string, mebibytesLeft: number): void {
  const { bavail, bsize } = statfsSync(dir);
  const bytes = bavail * bsize - mebibytesLeft * MiB;
  const whole = Math.max(0, bytes);
  try {
    writeFileSync(join(dir, "filler"), Buffer.alloc(whole));
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== "ENOSPC") throw e;
  }
}

function whyNot(): string | null {
  if (process.getuid?.() !== 0) return "only root can mount a small file system";
  const dir = mkdtempSync(join(tmpdir(), "dvs-mount-"));
  mkdirSync(dir, { recursive: true });
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "dvs-test", dir]).status === 0;
  if (mounted) spawnSync("umount", [dir]);
  rmdirSync(dir);
  return mounted ? null : "this machine does not let root mount a file system";
}
