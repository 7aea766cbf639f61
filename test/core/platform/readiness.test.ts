import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readinessOf } from "../../../core/platform/readiness.ts";

test.skipIf(process.platform !== "linux")(
  "a descriptor is readable when something is there, and waits as it is told",
  async () => {
    const dir = mkdtempSync(join(tmpdir(), "dvs-readiness-"));
    const path = join(dir, "fifo");
    spawnSync("mkfifo", [path]);
    const fd = openSync(path, "r+");
    try {
      const readiness = (await readinessOf(fd))!;
      expect(readiness.isReadable(0)).toBe(false);
      const began = performance.now();
      expect(readiness.isReadable(30)).toBe(false);
      expect(performance.now() - began).toBeGreaterThan(25);
      writeSync(fd, "a");
      expect(readiness.isReadable(0)).toBe(true);
      const bytes = new Uint8Array(8);
      expect(readSync(fd, bytes)).toBe(1);
      readiness.setWaiting(false);
      expect(() => readSync(fd, bytes)).toThrow("EAGAIN");
      readiness.setWaiting(true);
      writeSync(fd, "b");
      expect(readSync(fd, bytes)).toBe(1);
    } finally {
      closeSync(fd);
      rmSync(dir, { recursive: true });
    }
  },
);
