/** What a disk gives back wrongly is noticed, never cut away where it was acknowledged, and repaired from another replica. */
import { expect, test } from "bun:test";
import type { LogRecord } from "../../../core/log/log.ts";
import { DamagedRecords } from "../../../core/log/read-records.ts";
import { scrubOnce } from "../../../core/log/scrub.ts";
import { run } from "../../../core/log/steps.ts";
import { Disk } from "../../sim/harness/disk.ts";
import { Random } from "../../sim/harness/random.ts";
import { diskId, type Life, live, readAll, readFrom, record } from "./bench-of-logs.ts";
import { DiskFiles } from "./disk-files.ts";

interface Written {
  random: Random;
  files: DiskFiles;
  life: Life;
  records: LogRecord[];
}

/** Several segments of durable records, in several epochs, and a last mark that says so. */
function written(seed: number): Written {
  const random = new Random(seed);
  const files = new DiskFiles(new Disk(random));
  const life = live(files, random, { tailBytes: 0 });
  const records: LogRecord[] = [];
  let epoch = 1;
  while (records.length < 80) {
    if (random.chance(0.05)) epoch++;
    const group = Array.from({ length: random.integer(1, 5) }, (_, i) => {
      const bytes = new Uint8Array(random.integer(1, 150)).fill(random.integer(1, 255));
      return record(records.length + 1 + i, epoch, bytes);
    });
    records.push(...group);
    life.log.append(group);
    if (random.chance(0.5)) life.settle();
  }
  life.settle();
  // The log is quiet: it says that all of it is durable.
  life.step(true);
  while (life.step(true));
  return { random, files, life, records };
}

/** Flips a bit somewhere in the chain of a segment. */
function damage({ random, files, life }: Written): void {
  const segment = random.pick(life.log.segments);
  files.disk.file(segment.name)!.flip(random.integer(0, segment.end - 1), 1 << random.integer(0, 7));
}

/** Each record is as it was, or is known to be damaged and an error to read. */
function checkAll(life: Life, records: LogRecord[]): number {
  let damaged = 0;
  for (const { index, bytes, epoch } of records) {
    const known = life.log.damage.some(({ from, to }) => from <= index && index <= to);
    let found: LogRecord | undefined;
    try {
      found = readFrom(life, index, 1)?.[0];
    } catch (e) {
      expect(e).toBeInstanceOf(DamagedRecords);
    }
    if (known) {
      damaged++;
      continue;
    }
    expect(found).toBeDefined();
    expect(found).toMatchObject({ index, epoch });
    expect(Buffer.compare(found!.bytes, bytes)).toBe(0);
    expect(life.log.epochAt(index)).toBe(epoch);
  }
  return damaged;
}

test("a flipped bit among acknowledged records is reported at the next start, and nothing is cut", () => {
  let damaged = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const log = written(seed);
    damage(log);
    const life = live(log.files, log.random, { tailBytes: 0 });
    expect(life.log.lastIndex).toBe(log.records.length);
    const here = checkAll(life, log.records);
    if (here > 0) damaged++;
    // It stays: another start finds it again.
    const again = live(log.files, log.random, { tailBytes: 0 });
    expect(again.log.damage).toEqual(life.log.damage);
  }
  expect(damaged).toBeGreaterThan(75);
});

test("damaged records are repaired with those of another replica, for good", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const log = written(seed);
    for (let n = log.random.integer(1, 3); n > 0; n--) damage(log);
    const life = live(log.files, log.random, { tailBytes: 0 });
    const { damage: ranges } = life.log;
    const needed = log.records.filter(({ index }) =>
      ranges.some(({ from, to }) => from <= index && index <= to),
    );
    let outcome: Error | null | undefined;
    life.log.repair(needed, (error) => (outcome = error));
    life.settle();
    expect(outcome).toBeNull();
    expect(life.log.damage).toEqual([]);
    expect(checkAll(life, log.records)).toBe(0);
    // And it goes on.
    const next = record(log.records.length + 1, 99, new Uint8Array(5));
    life.log.append([next]);
    life.settle();
    expect(life.heard.durable).toBe(next.index);
    log.files.disk.powerCut();
    const again = live(log.files, log.random, { tailBytes: 0 });
    expect(again.log.damage).toEqual([]);
    expect(checkAll(again, [...log.records, next])).toBe(0);
  }
});

test("a repair without all that is damaged changes nothing and says what is missing", () => {
  const log = written(3);
  const segment = log.life.log.segments[1]!;
  log.files.disk.file(segment.name)!.flip(segment.end - 1, 1);
  const life = live(log.files, log.random);
  const before = life.log.damage;
  expect(before.length).toBe(1);
  let outcome: Error | null | undefined;
  life.log.repair([], (error) => (outcome = error));
  life.settle();
  expect(outcome?.message).toContain("was not given");
  expect(life.log.damage).toEqual(before);
});

test("while its end is damaged a log takes no records; cut before the damage it does", () => {
  const log = written(5);
  const segment = log.life.log.segments.at(-1)!;
  const file = log.files.disk.file(segment.name)!;
  for (let at = segment.end - 1; at >= segment.end - 200; at--) file.flip(at, 255);
  const life = live(log.files, log.random, { durable: log.records.length });
  const [range] = life.log.damage;
  expect(range!.to).toBe(log.records.length);
  const next = (index: number) => record(index, 99, new Uint8Array(3));
  expect(() => life.log.append([next(log.records.length + 1)])).toThrow("damaged");
  life.log.truncateAfter(range!.from - 1);
  life.log.append([next(range!.from)]);
  life.settle();
  expect(life.heard).toMatchObject({ durable: range!.from, failed: null });
  const again = live(log.files, log.random);
  expect(again.log.damage).toEqual([]);
  expect(readAll(again).at(-1)).toMatchObject({ index: range!.from, epoch: 99 });
});

test("a log can be cut before what is damaged, wherever that is, and goes on from there", () => {
  let cut = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const log = written(seed);
    for (let n = log.random.integer(1, 3); n > 0; n--) damage(log);
    const life = live(log.files, log.random, { tailBytes: 0 });
    const [range] = life.log.damage;
    // What is before all records is not cut, but begun anew.
    if (!range || range.from === 1) continue;
    cut++;
    life.log.truncateAfter(range.from - 1);
    life.log.append([record(range.from, 99, new Uint8Array(3))]);
    life.settle();
    expect(life.heard).toMatchObject({ durable: range.from, failed: null });
    const again = live(log.files, log.random, { tailBytes: 0 });
    expect(again.log.damage).toEqual([]);
    expect(readAll(again).map(({ index }) => index)).toEqual(
      Array.from({ length: range.from }, (_, i) => i + 1),
    );
  }
  expect(cut).toBeGreaterThan(75);
});

test("records go on behind damage that is found while the log is open", () => {
  const log = written(6);
  const { life, files, records, random } = log;
  const { length } = records;
  const segment = life.log.segments.at(-1)!;
  for (let at = segment.end - 1; at >= segment.end - 60; at--) files.disk.file(segment.name)!.flip(at, 255);
  let outcome: Error | null | undefined;
  run(scrubOnce(life.log, { files, disk: diskId }), (error) => (outcome = error));
  life.settle();
  expect(outcome).toBeNull();
  expect(life.log.damage.at(-1)!.to).toBe(length);
  life.log.append([record(length + 1, 99, new Uint8Array(3))]);
  life.settle();
  expect(life.heard.durable).toBe(length + 1);
  const again = live(files, random, { tailBytes: 0 });
  expect(again.log.damage).toEqual([...life.log.damage]);
  expect(readFrom(again, length + 1, 1)![0]).toMatchObject({ index: length + 1, epoch: 99 });
});

test("a whole segment that is gone is damage", () => {
  const log = written(8);
  const segment = log.life.log.segments[1]!;
  log.files.disk.remove(segment.name);
  const life = live(log.files, log.random);
  expect(life.log.damage).toEqual([{ from: segment.firstIndex, to: segment.nextIndex - 1 }]);
  let outcome: Error | null | undefined;
  life.log.repair(log.records, (error) => (outcome = error));
  life.settle();
  expect(outcome).toBeNull();
  expect(checkAll(life, log.records)).toBe(0);
});

test("a log that was known to be durable and has gone altogether is damage", () => {
  const random = new Random(1);
  const life = live(new DiskFiles(new Disk(random)), random, {
    durable: 7,
    snapshot: { index: 3, epoch: 2 },
  });
  expect(life.log.damage).toEqual([{ from: 4, to: 7 }]);
  life.log.repair(
    [4, 5, 6, 7].map((index) => record(index, 2, new Uint8Array(1))),
    () => {},
  );
  life.settle();
  expect(readAll(life).map(({ index }) => index)).toEqual([4, 5, 6, 7]);
});

test("what a snapshot has needs no repair", () => {
  const log = written(9);
  const segment = log.life.log.segments[0]!;
  log.files.disk.file(segment.name)!.flip(60, 1);
  const damaged = live(log.files, log.random).log.damage[0]!;
  const life = live(log.files, log.random, { snapshot: { index: damaged.to, epoch: 1 } });
  expect(life.log.damage).toEqual([]);
  expect(life.log.firstIndex).toBe(damaged.to + 1);
  expect(readAll(life)).toHaveLength(log.records.length - damaged.to);
});

test("a log that goes on before all that it had lacks nothing at the next start", () => {
  const log = written(7);
  const { life } = log;
  let outcome: Error | null | undefined;
  // It begins in the middle, and then far before that.
  life.log.reset(1_000, 5, (error) => (outcome = error));
  life.settle();
  life.log.append([record(1_001, 5, new Uint8Array(3))]);
  life.settle();
  life.log.reset(10, 6, (error) => (outcome = error));
  life.settle();
  expect(outcome).toBeNull();
  life.log.append([record(11, 6, new Uint8Array(3))]);
  life.settle();
  const snapshot = { index: 10, epoch: 6 };
  const again = live(log.files, log.random, { tailBytes: 0, snapshot });
  expect([again.log.damage, again.log.lastIndex]).toEqual([[], 11]);
});

test("a log of another disk is not taken for this one's", () => {
  const log = written(2);
  const [name] = log.files.disk.names();
  const bytes = log.files.disk.read(name!)!;
  const other = new DiskFiles(new Disk(log.random));
  other.disk.write(name!, 0, bytes);
  expect(diskId).not.toBe("f".repeat(32));
  const life = live(other, log.random, { disk: "f".repeat(32) });
  expect(life.log.lastIndex).toBe(0);
});

test("what is read at once ends before a gap, and goes on behind it", () => {
  let gaps = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const log = written(seed);
    damage(log);
    const { life, records } = log;
    let from = 1;
    while (from <= records.length) {
      let read: LogRecord[] | null = null;
      try {
        read = readFrom(life, from, 1_000_000);
      } catch (e) {
        expect(e).toBeInstanceOf(DamagedRecords);
        from = (e as DamagedRecords).range.to + 1;
        gaps++;
        continue;
      }
      expect(read!.length).toBeGreaterThan(0);
      expect(read!.map(({ index }) => index)).toEqual(Array.from(read!, (_, i) => from + i));
      from += read!.length;
    }
  }
  expect(gaps).toBeGreaterThan(30);
});

test("scrubbing finds what was damaged while the log is open, and readers do, once each", () => {
  let found = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const log = written(seed);
    damage(log);
    const { life, files } = log;
    let ended: Error | null | undefined;
    run(scrubOnce(life.log, { files, disk: diskId }), (error) => (ended = error));
    life.settle();
    expect(ended).toBeNull();
    expect(life.heard.damaged).toEqual([...life.log.damage]);
    if (checkAll(life, log.records) > 0) found++;
    expect(life.heard.damaged).toEqual([...life.log.damage]);
  }
  expect(found).toBeGreaterThan(30);
});

test("scrubbing a log that is sound finds nothing, also while it is written and cut", () => {
  const log = written(4);
  const { life, files, random, records } = log;
  let rounds = 0;
  for (let n = 0; n < 20; n++) {
    run(scrubOnce(life.log, { files, disk: diskId }), (error) => {
      expect(error).toBeNull();
      rounds++;
    });
    const { lastIndex } = life.log;
    if (random.chance(0.3)) life.log.truncateAfter(lastIndex - random.integer(0, 20));
    const next = record(life.log.lastIndex + 1, 100 + n, new Uint8Array(random.integer(0, 400)));
    life.log.append([next]);
    if (random.chance(0.3)) life.log.discardUpTo(life.log.firstIndex + 5);
    for (let steps = random.integer(0, 30); steps > 0; steps--) life.step();
  }
  life.settle();
  expect(rounds).toBe(20);
  expect(life.heard.damaged).toEqual([]);
  expect(records.length).toBeGreaterThan(0);
});
