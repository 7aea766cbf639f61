import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dataDirOf } from "../../../core/agent/data-dir.ts";
import { saveIdentity } from "../../../core/agent/identity.ts";
import { FakeCoordinator } from "./fake-coordinator.ts";
import { TestNode } from "./test-node.ts";

setDefaultTimeout(30_000);

let coordinator: FakeCoordinator;

// Only a file system of its own can be full without harm to others; mounting one needs root.
const dir = mkdtempSync(join(tmpdir(), "dvs-"));
const isMounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", dir]).status === 0;

beforeAll(async () => {
  coordinator = await FakeCoordinator.start();
});
afterAll(async () => {
  await coordinator.down();
  if (isMounted) spawnSync("umount", ["-l", dir]);
  rmSync(dir, { recursive: true, force: true });
});

test.skipIf(!isMounted)(
  "a full disk (skipped where no tmpfs can be mounted): what runs goes on, what starts says why it cannot, and recovers",
  async () => {
    const node = new TestNode(dir, coordinator);
    await saveIdentity(dataDirOf(dir), await coordinator.enrolled());
    try {
      node.start();
      node.want([node.spec("u1")]);
      const before = await node.ready("u1");
      fill(join(dir, "filler"));
      node.want([node.spec("u1"), node.spec("u2")]);
      await node.until("reason", () => /disk is full|ENOSPC/.test(node.container("u2")?.reason ?? ""));
      await node.until("warning", () =>
        (coordinator.report?.warnings ?? []).some((w) => w.startsWith("disk full")),
      );
      expect(node.container("u1")).toMatchObject({ state: "ready", incarnation: before.incarnation });
      rmSync(join(dir, "filler"));
      await node.ready("u2");
      await node.until("no warning", () => coordinator.report?.warnings.length === 0);
      const desired = JSON.parse(readFileSync(join(dir, "desired.json"), "utf8")) as { revision: number };
      expect(desired.revision).toBe(2);
    } finally {
      await node.powerOff();
    }
  },
);

/** To the last byte. */
function fill(path: string): void {
  for (const bytes of [64 * 1024, 4 * 1024, 512]) {
    const piece = new Uint8Array(bytes);
    try {
      for (;;) writeFileSync(path, piece, { flag: "a" });
    } catch {
      // Full for pieces of this size.
    }
  }
}
