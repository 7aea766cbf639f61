/**
 * What has to stay small however much a volume has, as counts and not as times: what a start reads, what a snapshot
 * writes, what a listing asks. The figures of a million files and 20 GB are measured by bench/volume-scale.ts.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { openReplicaDisk } from "../../../core/state/replica-disk.ts";
import { files } from "../../../core/files/module/files.ts";
import type { VolumeClient } from "../../../core/files/client/volume-client.ts";
import { MiB, writeBytesMax } from "../../../core/limits.ts";
import type { LogFiles } from "../../../core/log/log-files.ts";
import { nodeFiles } from "../../../core/log/node-files.ts";
import { blocksDir } from "../../../core/state/schema.ts";
import { segmentsOf, snapshotsDir } from "../../../core/state/snapshots.ts";
import { VolumeLab } from "./client/volume-lab.ts";

let lab: VolumeLab;
let fs: VolumeClient;
beforeEach(async () => {
  lab = await VolumeLab.open();
  fs = lab.volume("somebody");
});
afterEach(async () => {
  expect(lab.complaints).toEqual([]);
  await lab.close();
});

const dataDir = () => join(lab.dir, "data");
const bytesIn = (dir: string) =>
  readdirSync(dir).reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
const small = 400;
const large = 24 * MiB;

async function fill(): Promise<void> {
  const { ino } = await fs.makeDirectory(1, "many", 0o755);
  const bytes = new Uint8Array(writeBytesMax).fill(7);
  const names = Array.from({ length: small }, (_, i) => `f${i}`);
  await Promise.all(names.map((name) => fs.put(ino, name, bytes.subarray(0, 5_000), { mode: 0o644 }, 0)));
  const { file } = await fs.create(1, "large", 0o644, { write: true });
  for (let at = 0; at < large; at += 4 * MiB) await file.write(at, new Uint8Array(4 * MiB).fill(at >> 22));
  await file.close();
}

test("a snapshot writes tables and no bytes of files, and the log before it goes", async () => {
  await fill();
  const logBefore = bytesIn(join(dataDir(), "log"));
  expect(logBefore).toBeGreaterThan(large);
  const info = await lab.host.snapshotNow();
  const named = segmentsOf(info).reduce((sum, [, length]) => sum + length, 0);
  expect(named).toBeGreaterThan(large + small * 5_000);
  expect(bytesIn(snapshotsDir(dataDir()))).toBeLessThan(2 * MiB);
  expect(bytesIn(blocksDir(dataDir()))).toBe(named);
  // What a start reads again is what came since, and what one segment of the log has.
  await until(() => bytesIn(join(dataDir(), "log")) < logBefore / 2);
});

test("a start reads nothing of the bytes of files, and has none of their names or inodes in its hands", async () => {
  await fill();
  await lab.host.close();
  const { blockFiles, uses } = counting(blocksDir(dataDir()));
  const disk = await openReplicaDisk({
    ...{ dir: dataDir(), modules: [files], blockFiles },
    listener: { written() {}, durable() {}, full() {}, failed() {}, damaged() {} },
    databaseFailed: (error) => expect(error).toBeUndefined(),
    log: () => undefined,
  });
  expect(uses).toEqual({ list: 1 });
  expect([...disk.database.segments.values()].reduce((sum, length) => sum + length, 0)).toBeGreaterThan(
    large,
  );
  disk.database.close();
  disk.blocks.close();
  await new Promise<void>((resolve) => disk.log.close(() => resolve()));
  await lab.start();
});

test("a large directory is listed by pages of a thousand, each asked once", async () => {
  const { ino } = await fs.makeDirectory(1, "large", 0o755);
  const none = new Uint8Array(0);
  const names = Array.from({ length: 2_500 }, (_, i) => `f${i}`);
  await Promise.all(names.map((name) => fs.put(ino, name, none, { mode: 0o644 }, 0)));
  const listed: string[] = [];
  let pages = 0;
  for (let after = 0; ; pages++) {
    const page = await fs.entries(ino, after, 1_000, true);
    if (page.length === 0) break;
    listed.push(...page.map(({ name }) => name));
    after = page.at(-1)!.cookie;
  }
  expect(pages).toBe(3);
  expect(listed.toSorted()).toEqual(names.toSorted());
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await Bun.sleep(5);
}

/** What is done with the files of a directory, by the names of the calls. */
function counting(dir: string): { blockFiles: LogFiles; uses: Record<string, number> } {
  mkdirSync(dir, { recursive: true });
  const uses: Record<string, number> = {};
  const real = nodeFiles(dir);
  const blockFiles = new Proxy(real, {
    get: (target, name: keyof LogFiles) => {
      uses[name] = (uses[name] ?? 0) + 1;
      return target[name];
    },
  });
  return { blockFiles, uses };
}
