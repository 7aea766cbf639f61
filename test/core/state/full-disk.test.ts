/** A database whose disk is full, on a real small one: what is applied stays readable, and is committed when there is room. */
import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StateDatabase } from "../../../core/state/database.ts";
import { ReplicaDatabase } from "./replica-database.ts";

const disk = mkdtempSync(join(tmpdir(), "dvs-"));
const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]).status === 0;
afterAll(() => {
  if (mounted) spawnSync("umount", [disk]);
  rmSync(disk, { recursive: true, force: true });
});
const where = mounted ? "" : " (skipped: it takes root to mount a small disk)";

function fill(): void {
  const fd = openSync(join(disk, "filler"), "w");
  try {
    for (;;) writeSync(fd, new Uint8Array(4_096));
  } catch (e) {
    expect(e).toMatchObject({ code: "ENOSPC" });
  } finally {
    closeSync(fd);
  }
}

test.skipIf(!mounted)(
  `a full disk is told, nothing applied is lost, and all is committed when there is room${where}`,
  () => {
    const replica = new ReplicaDatabase();
    const told: boolean[] = [];
    const db: StateDatabase = replica.open(join(disk, "state.db"), (full) => void told.push(full));
    replica.db.close();
    replica.db = db;
    for (const record of replica.log) {
      db.levelRaised(record.module, record.operation[0]!);
      db.applied(record);
    }
    const put = (key: string) =>
      replica.kv({ op: "put", key, value: new Uint8Array(3_000).fill(key.length) });
    const keys = (from: StateDatabase) =>
      (from.module("kv").read({ get: "list", prefix: "", limit: 1_000 }) as { entries: { key: string }[] })
        .entries.length;
    for (let i = 0; i < 10; i++) put(`before${i}`);
    db.commit();
    const committed = db.appliedIndex;
    fill();
    for (let i = 0; i < 200; i++) {
      expect(put(`full${i}`)).toMatchObject({ ok: true });
      if (i % 20 === 0) replica.runTimers();
    }
    expect(told).toEqual([true]);
    expect(replica.failures).toEqual([]);
    // What was answered is what is read, although the disk does not have it.
    expect(keys(db)).toBe(210);
    expect(replica.committed.at(-1)).toBeLessThan(db.appliedIndex);
    expect(replica.committed.at(-1)).toBeGreaterThanOrEqual(committed);
    const digest = db.digest();
    rmSync(join(disk, "filler"));
    replica.runTimers();
    expect(told).toEqual([true, false]);
    expect(replica.committed.at(-1)).toBe(db.appliedIndex);
    expect(keys(db)).toBe(210);
    put("after");
    db.close();
    replica.db = replica.open(join(disk, "state.db"));
    expect(keys(replica.db)).toBe(211);
    expect(replica.db.digest()).not.toBe(digest);
    replica.end();
  },
);
