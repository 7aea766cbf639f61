/** A volume that gives way to a backed-up one: what is kept, what is left behind, and what a backup has to be for that. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { type AttributesRow, kinds } from "../../../../core/files/attributes.ts";
import { files } from "../../../../core/files/module/files.ts";
import { neededBlobs } from "../../../../core/files/module/backup.ts";
import type { FileResult, SeedEntry } from "../../../../core/files/operations.ts";
import type { BackupBytes, OpenModule } from "../../../../core/state/module.ts";
import { encodePiece, restoreModule } from "../../../../core/state/modules/restore.ts";
import { superuser, TestVolume } from "./test-volume.ts";

const MiB = 1024 * 1024;
const rules = files.restore!;
let source: TestVolume;
let place: TestVolume;
let restore: OpenModule;
beforeEach(() => {
  source = new TestVolume();
  place = new TestVolume();
  const module = restoreModule([files]);
  module.create(place.db);
  restore = module.open(place.db, place.blocks);
});
afterEach(() => {
  source.close();
  place.close();
});

const image = new Map<string, Uint8Array>(
  [100, 300_000, 70 * MiB].map((length, i) => [
    String(i).repeat(64),
    new Uint8Array(length).map((_, at) => (at * 7 + (at >> 10) + i) & 255),
  ]),
);
const imageEntries: SeedEntry[] = [
  ["/image", kinds.directory | 0o755, 0, ""],
  ...[...image].map(([digest, bytes]): SeedEntry => [
    `/image/${bytes.length}`,
    kinds.file | 0o644,
    bytes.length,
    digest,
  ]),
  ["/image/same", kinds.file | 0o600, 100, [...image.keys()][0]!],
];

function make(volume: TestVolume, name: string, bytes = new Uint8Array(0), parent = 1, open = 0): number {
  const made = volume.operate([1, superuser, parent, name, kinds.file | 0o644, "", open, 1]);
  const [ino] = made[1] as AttributesRow;
  if (bytes.length > 0) volume.operate([7, superuser, ino, 0, bytes]);
  return ino;
}
function inoOf(volume: TestVolume, path: string): number {
  return (volume.ask(["path", superuser, path, 0]) as AttributesRow)[0];
}
async function read(volume: TestVolume, path: string): Promise<Uint8Array> {
  const [ino, , , , , size] = volume.ask(["path", superuser, path, 0]) as AttributesRow;
  const parts: Uint8Array[] = [];
  for (let at = 0; at < size; at += MiB) {
    const [error, bytes] = (await volume.module.read(["read", ino, at, MiB])) as FileResult;
    expect(error).toBe("");
    parts.push(bytes as Uint8Array);
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** What a backup of the source has beside its database, as the database says it. */
function bytesOf(volume: TestVolume): BackupBytes & { all: Uint8Array } {
  const segments = volume.db
    .prepare(
      "SELECT segment, bytes FROM files_segment UNION SELECT segment, head FROM files_counter WHERE head > 0 ORDER BY 1",
    )
    .all() as { segment: number; bytes: number }[];
  volume.db.exec(
    "CREATE TABLE IF NOT EXISTS segment (number INTEGER PRIMARY KEY, length INTEGER); DELETE FROM segment",
  );
  const parts: Uint8Array[] = [];
  for (const { segment, bytes } of segments) {
    volume.db.prepare("INSERT INTO segment VALUES (?, ?)").run(segment, bytes);
    parts.push(volume.blocks.readNow(segment, 0, bytes)!);
  }
  for (const { digest, length } of neededBlobs(volume.db)) parts.push(image.get(digest)!.subarray(0, length));
  const all = new Uint8Array(Buffer.concat(parts));
  return { all, size: all.length, read: (at, length) => all.subarray(at, at + length) };
}

function act(operation: unknown): void {
  const index = ++place.index;
  const context = { index, timeMs: place.timeMs, random: new Uint8Array(16), client: "", level: 2 };
  place.db.exec("SAVEPOINT operation");
  try {
    restore.apply(restore.encode(operation), context);
  } catch (e) {
    place.db.exec("ROLLBACK TO operation");
    throw e;
  } finally {
    place.db.exec("RELEASE operation");
    place.module.tablesChanged!();
  }
}

/** As the replicas carry it out. `beforeCommit`: what others do meanwhile. */
function restoreAll(id: string, beforeCommit: () => void = () => undefined): void {
  const bytes = bytesOf(source);
  expect(rules.problem!(source.db)).toBeNull();
  const plan = rules.plan!(source.db, bytes);
  let number = 0;
  act({ op: "begin", id, reserve: [{ module: "files", ids: plan.ids, segments: plan.segments.length }] });
  for (const [segment, [from, length]] of plan.segments.entries()) {
    for (let position = 0; position < length; position += MiB / 2) {
      const part = bytes.read(from + position, Math.min(MiB / 2, length - position));
      act({ op: "blocks", id, number: number++, module: "files", segment, position, bytes: part });
    }
  }
  for (const { name, take } of rules.tables)
    if (take)
      for (const row of plan.rows(name))
        act({ op: "piece", id, number: number++, content: encodePiece(name, [row]) });
  beforeCommit();
  act({ op: "commit", id, pieces: number });
}

/** Of the tables: sums that have to be those of the rows. */
function expectCounted(volume: TestVolume): void {
  const counted = volume.db.prepare("SELECT bytes, inodes FROM files_counter").get();
  const sums = volume.db.prepare("SELECT sum(allocated) AS bytes, count(*) AS inodes FROM files_inode").get();
  expect(counted).toEqual(sums);
  const wrong = `SELECT s.segment FROM files_segment s WHERE live <>
    (SELECT ifnull(sum(length), 0) FROM files_extent e WHERE e.segment = s.segment)`;
  expect(volume.db.prepare(wrong).all()).toEqual([]);
  expect(
    volume.db
      .prepare("SELECT 1 FROM files_extent WHERE segment NOT IN (SELECT segment FROM files_segment)")
      .all(),
  ).toEqual([]);
}

test("ids, segments and all that belongs to clients are others than before; the old segments are given back", async () => {
  const kept = make(source, "kept", new Uint8Array(200_000).fill(1));
  make(source, "other", new Uint8Array(10).fill(2));
  const gone = make(source, "gone", new Uint8Array(70_000).fill(3), 1, 1);
  source.operate([10, kept, 0, 2, 0, -1, "me", 1, 0]);
  source.operate([3, superuser, 1, "gone", gone]);
  const here = make(place, "here", new Uint8Array(50_000).fill(4), 1, 1);
  place.operate([10, here, 0, 2, 0, -1, "me", 1, 0]);
  const follower = place.module.follow!(["changes", -1]);
  const waiter = place.module.follow!(["granted", "one", 0]);
  follower.next(10);
  const before = [...place.blocks.segments];
  let meanwhile = 0;
  restoreAll("1", () => {
    expect(place.errorOf(["attributes", here])).toBe("");
    meanwhile = make(place, "meanwhile", new Uint8Array(5_000).fill(5));
    expect(follower.next(10).length).toBeGreaterThan(0);
  });
  expect(() => follower.next(10)).toThrow("restored");
  expect(() => waiter.next(10)).toThrow("restored");
  for (const ino of [here, meanwhile, kept, gone]) expect(place.errorOf(["attributes", ino])).toBe("ESTALE");
  expect(await read(place, "/kept")).toEqual(new Uint8Array(200_000).fill(1));
  expect(place.ask(["lockedBy", inoOf(place, "/kept"), 0, 2, 0, -1, "you", "two"])).toBeNull();
  for (const segment of before) expect(place.blocks.segments).not.toContain(segment);
  expectCounted(place);

  // It goes on as any volume, and behind all that was there.
  const after = make(place, "after", new Uint8Array(5_000).fill(6));
  expect(after).toBeGreaterThan(inoOf(place, "/kept"));
  expect(await read(place, "/after")).toEqual(new Uint8Array(5_000).fill(6));
  restoreAll("2");
  expect(place.errorOf(["attributes", after])).toBe("ESTALE");
  expect(await read(place, "/other")).toEqual(new Uint8Array(10).fill(2));
  expectCounted(place);
});

test("files of the image come with the backup, and are the volume's own then", async () => {
  source.operate([19, "a".repeat(64), 0, imageEntries, 1]);
  const large = inoOf(source, `/image/${70 * MiB}`);
  source.operate([7, superuser, large, 65 * MiB, new Uint8Array(1_000).fill(9)]);
  const cut = inoOf(source, "/image/300000");
  source.operate([6, superuser, cut, -1, -1, -1, 290_001, null, null, 0]);
  restoreAll("1");
  const expected = [...image.values()][2]!.slice();
  expected.fill(9, 65 * MiB, 65 * MiB + 1_000);
  expect(Buffer.compare(await read(place, `/image/${70 * MiB}`), expected)).toBe(0);
  expect(
    Buffer.compare(await read(place, "/image/300000"), [...image.values()][1]!.subarray(0, 290_001)),
  ).toBe(0);
  for (const name of ["100", "same"])
    expect(await read(place, `/image/${name}`)).toEqual([...image.values()][0]!);
  expect(place.db.prepare("SELECT count(*) AS n FROM files_blob").get()).toEqual({ n: 0 });
  // It does not begin with the image once more.
  expect(place.operate([19, "a".repeat(64), 0, [], 0])).toEqual(["", imageEntries.length, 1]);
  expectCounted(place);
}, 30_000);

test("one that is given up leaves nothing: its segments and tables are gone, and what is there goes on", async () => {
  make(source, "a", new Uint8Array(100_000).fill(1));
  make(place, "here", new Uint8Array(100_000).fill(2));
  const bytes = bytesOf(source);
  act({ op: "begin", id: "1", reserve: [{ module: "files", ids: 10, segments: 3 }] });
  const put = { op: "blocks", id: "1", module: "files", position: 0, bytes: bytes.read(0, 100_000) };
  act({ ...put, number: 0, segment: 2 });
  for (const wrong of [
    { ...put, number: 2, segment: 1 },
    { ...put, number: 1, segment: 3 },
    { ...put, number: 1, segment: 0, position: 2 ** 40 },
    { ...put, number: 1, segment: 0, module: "kv" },
    { ...put, number: 1, segment: 0, id: "2" },
  ])
    expect(() => act(wrong)).toThrow();
  const staged = place.blocks.segments.length;
  make(place, "meanwhile", new Uint8Array(5_000).fill(3));
  act({ op: "abort", id: "1" });
  expect(place.blocks.segments.length).toBe(staged);
  expect(place.db.prepare("SELECT * FROM restore_reserved").all()).toEqual([]);
  expect(await read(place, "/here")).toEqual(new Uint8Array(100_000).fill(2));
  expect(await read(place, "/meanwhile")).toEqual(new Uint8Array(5_000).fill(3));
  for (const wrong of [
    { op: "begin", id: "3", reserve: [{ module: "files", ids: 2 ** 50, segments: 1 }] },
    { op: "begin", id: "3", reserve: [{ module: "files", ids: 1, segments: 10 ** 10 }] },
    { op: "begin", id: "3", reserve: [{ module: "kv", ids: 1, segments: 1 }] },
  ])
    expect(() => act(wrong)).toThrow();
  expect(restore.read(null)).toMatchObject({ id: "", doneId: "" });
});

test("a tree that is none is found out, whatever is wrong with it", () => {
  const { db } = source;
  const [directory] = source.operate([
    1,
    superuser,
    1,
    "d",
    kinds.directory | 0o755,
    "",
    0,
    1,
  ])[1] as AttributesRow;
  source.operate([1, superuser, directory, "e", kinds.directory | 0o755, "", 0, 1]);
  const file = make(source, "f", new Uint8Array(10_000).fill(1), directory);
  expect(rules.problem!(db)).toBeNull();
  const cases: [string, string][] = [
    ["DELETE FROM files_inode WHERE ino = 1", "root"],
    ["DELETE FROM files_counter", "counted"],
    [`DELETE FROM files_inode WHERE ino = ${file}`, "leads nowhere"],
    ["UPDATE files_entry SET kind = 40960 WHERE name = 'f'", "leads nowhere"],
    ["UPDATE files_entry SET parent = 999 WHERE name = 'f'", "leads nowhere"],
    ["DELETE FROM files_entry WHERE name = 'f'", "names"],
    [`UPDATE files_inode SET nlink = 2 WHERE ino = ${file}`, "names"],
    [
      `UPDATE files_inode SET content = 1 WHERE ino = (SELECT ino FROM files_entry WHERE name = 'e')`,
      "parent",
    ],
    [`UPDATE files_inode SET nlink = 4 WHERE ino = ${directory}`, "directories"],
    [
      `UPDATE files_entry SET parent = (SELECT ino FROM files_entry WHERE name = 'e') WHERE name = 'd';
       UPDATE files_inode SET content = (SELECT ino FROM files_entry WHERE name = 'e') WHERE ino = ${directory};
       UPDATE files_inode SET nlink = 3 WHERE ino = (SELECT ino FROM files_entry WHERE name = 'e');
       UPDATE files_inode SET nlink = 2 WHERE ino = 1`,
      "below itself",
    ],
  ];
  for (const [sql, says] of cases) {
    db.exec(`BEGIN; ${sql}`);
    expect([sql, rules.problem!(db)]).toEqual([sql, expect.stringContaining(says) as string]);
    db.exec("ROLLBACK");
  }
});

test("rows that no file can have, and bytes that are not those of the rows, are found out", () => {
  const { db } = source;
  make(source, "f", new Uint8Array(10_000).fill(1));
  const bytes = bytesOf(source);
  const look = (): void => {
    const plan = rules.plan!(db, bytes);
    for (const { name, take } of rules.tables)
      if (take)
        for (const row of plan.rows(name))
          take(row, { begun: 5, timeMs: 0, reserved: { id: 100, segment: 7 } });
  };
  look();
  for (const sql of [
    "UPDATE files_inode SET mode = 16893 | 8192",
    "UPDATE files_inode SET mtimeNanos = 1000000000",
    "UPDATE files_inode SET uid = -1",
    "UPDATE files_entry SET name = 'a/b'",
    "UPDATE files_entry SET name = '..'",
    "UPDATE files_extent SET lead = 5000",
    "UPDATE files_extent SET position = position + 4096",
    "UPDATE files_extent SET segment = 99",
    "UPDATE files_extent SET segment = -1",
    "UPDATE files_extent SET checksums = x'00000000'",
    "UPDATE files_counter SET next = 9007199254740991",
    "INSERT INTO files_extent SELECT content, 5000, 10, segment, position, 0, 4096, checksums FROM files_extent",
    "UPDATE segment SET length = 9000",
  ]) {
    db.exec(`BEGIN; ${sql}`);
    expect(look).toThrow();
    db.exec("ROLLBACK");
  }
  bytes.all[5_000]! ^= 1;
  expect(look).toThrow("damaged");
});
