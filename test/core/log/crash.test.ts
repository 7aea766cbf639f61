/** What a log has after its host process or its machine has ended at any moment: all that it promised, nothing else. */
import { expect, test } from "bun:test";
import { Disk } from "../../sim/harness/disk.ts";
import { Random } from "../../sim/harness/random.ts";
import { type Life, live, readAll, record } from "./bench-of-logs.ts";
import { DiskFiles } from "./disk-files.ts";

/** What was appended, by (epoch, index), and what has to be there after a crash. */
class Model {
  readonly known = new Map<string, Uint8Array>();
  /** The log as its machine sees it, [0] is the record `base` + 1. */
  log: { index: number; epoch: number }[] = [];
  base = 0;
  /** On the disk; the log may be given back up to there. */
  snapshot: { index: number; epoch: number } | null = null;
  epoch = 1;
  /** The highest position that was reported and not cut off since. */
  written = 0;
  durable = 0;

  get lastIndex(): number {
    return this.base + this.log.length;
  }
}

function someBytes(random: Random): Uint8Array {
  const bytes = new Uint8Array(random.chance(0.05) ? random.integer(0, 9_000) : random.integer(0, 120));
  const fill = random.integer(0, 255);
  for (let i = 0; i < bytes.length; i++) bytes[i] = fill + i * 7;
  return bytes;
}

function act(life: Life, model: Model, random: Random): void {
  const { log } = life;
  const what = random.float();
  if (what < 0.75) {
    const records = Array.from({ length: random.integer(1, 6) }, (_, i) =>
      record(model.lastIndex + 1 + i, model.epoch, someBytes(random)),
    );
    for (const { index, epoch, bytes } of records) {
      model.known.set(`${epoch}:${index}`, bytes);
      model.log.push({ index, epoch });
    }
    log.append(records);
  } else if (what < 0.85) {
    const lowest = Math.max(log.firstIndex - 1, model.lastIndex - 30, model.snapshot?.index ?? 0);
    const index = random.integer(lowest, model.lastIndex);
    log.truncateAfter(index);
    model.log.length = index - model.base;
    model.written = Math.min(model.written, index);
    model.durable = Math.min(model.durable, index);
    life.heard.written = Math.min(life.heard.written, index);
    life.heard.durable = Math.min(life.heard.durable, index);
    expect([log.written, log.durable]).toEqual([life.heard.written, life.heard.durable]);
    model.epoch++;
  } else if (what < 0.9) {
    const index = random.integer(model.snapshot?.index ?? 1, model.durable);
    const epoch = log.epochAt(index);
    if (index < 1 || epoch === null) return;
    model.snapshot = { index, epoch };
    log.discardUpTo(index);
  } else {
    log.eager = random.chance(0.5);
    if (random.chance(0.5)) log.wantDurable();
  }
}

function listen(life: Life, model: Model): void {
  const { written, durable, failed } = life.heard;
  if (failed || Math.max(written, durable) > model.lastIndex) {
    throw failed ?? new Error(`told written ${written}, durable ${durable} of ${model.lastIndex} records`);
  }
  model.written = Math.max(model.written, written);
  model.durable = Math.max(model.durable, durable);
}

/** The log that was found keeps the promises; the model goes on from it. */
function check(life: Life, model: Model, promised: number): void {
  const { log } = life;
  expect(log.damage).toEqual([]);
  expect(log.lastIndex).toBeGreaterThanOrEqual(promised);
  expect(log.durable).toBe(log.lastIndex);
  expect(log.firstIndex).toBeLessThanOrEqual((model.snapshot?.index ?? 0) + 1);
  const found = readAll(life);
  expect(found.length).toBe(log.lastIndex - log.firstIndex + 1);
  let epoch = 0;
  for (const [i, { index, epoch: its, bytes }] of found.entries()) {
    const appended = model.known.get(`${its}:${index}`);
    const right = index === log.firstIndex + i && its >= epoch && log.epochAt(index) === its;
    const promisedOne = model.log[index - model.base - 1];
    const kept = index > promised || index <= model.base || promisedOne?.epoch === its;
    if (!right || !kept || !appended || Buffer.compare(appended, bytes) !== 0) {
      throw new Error(`record ${index} of epoch ${its} is not what was promised`);
    }
    epoch = its;
  }
  model.base = log.firstIndex - 1;
  model.log = found.map(({ index, epoch }) => ({ index, epoch }));
  model.written = log.lastIndex;
  model.durable = log.lastIndex;
  model.epoch++;
}

function runLives(seed: number, lives: number, counts: { torn: number; cuts: number }): void {
  const random = new Random(seed);
  const files = new DiskFiles(new Disk(random));
  const model = new Model();
  let life = live(files, random);
  for (let n = 0; n < lives; n++) {
    for (let steps = random.integer(1, 120); steps > 0; steps--) {
      if (random.chance(0.3)) act(life, model, random);
      else life.step(random.chance(0.1));
      listen(life, model);
    }
    const power = random.chance(0.7);
    // The process dies: of what is under way, something may still happen.
    files.onOperation = undefined;
    if (power) files.disk.powerCut();
    const promised = power ? model.durable : model.written;
    const sizes = { segmentBytes: random.pick([512, 2_048, 16_384]), aheadBytes: random.pick([64, 4_096]) };
    life = live(files, random, { snapshot: model.snapshot, ...sizes });
    if (life.torn > 0) counts.torn++;
    if (power) counts.cuts++;
    check(life, model, promised);
  }
}

test("after a power cut or a kill at any moment, a log has all that was promised and nothing that was never appended", () => {
  const counts = { torn: 0, cuts: 0 };
  for (let seed = 1; seed <= 300; seed++) {
    try {
      runLives(seed, 6, counts);
    } catch (e) {
      throw new Error(`seed ${seed}: ${e instanceof Error ? e.message : String(e)}`, { cause: e });
    }
  }
  // It met what it is for.
  expect(counts.torn).toBeGreaterThan(40);
  expect(counts.cuts).toBeGreaterThan(500);
}, 30_000);
