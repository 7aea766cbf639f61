import { afterEach, beforeEach, expect, test } from "bun:test";
import { type AttributesRow, kinds } from "../../../../core/files/attributes.ts";
import { grantsKept, locksPerFileMax, lockWaitersMax } from "../../../../core/limits.ts";
import { Random } from "../../../sim/harness/random.ts";
import { LockModel } from "./lock-model.ts";
import { superuser, TestVolume } from "./test-volume.ts";

const [flock, posix] = [0, 1];
const [none, shared, exclusive] = [0, 1, 2];

let volume: TestVolume;
let ino: number;
beforeEach(() => {
  volume = new TestVolume();
  const made = volume.operate([1, superuser, 1, "a", kinds.file | 0o644, "", 0, 1]);
  ino = (made[1] as AttributesRow)[0];
});
afterEach(() => volume.close());

function lock(client: string, kind: number, start = 0, end = -1, wait = 0, owner = "p", type = posix) {
  const result = volume.operate([10, ino, type, kind, start, end, owner, 1, wait], client);
  return result[0] === "" ? result[1] : result[0];
}
/** `[kind, start, end]` of what is in a stranger's way. */
function inWay(kind: number, start: number, end: number, type = posix): unknown {
  const found = volume.ask(["lockedBy", ino, type, kind, start, end, "nobody", "nobody"]) as number[] | null;
  return found && found.slice(0, 3);
}
function granted(client: string, after = 0): unknown[] {
  return volume.module.follow!(["granted", client, after]).next(100);
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`ranges are split, merged, converted, waited for and granted as byte by byte (seed ${seed})`, () => {
    const random = new Random(seed);
    const model = new LockModel();
    const clients = ["one", "two", "three"];
    const owners = ["p", "q"];
    const told = new Map<string, number>(clients.map((client) => [client, 0]));
    let ticket = 0;
    for (let i = 0; i < 700; i++) {
      const client = random.pick(clients);
      const owner = random.pick(owners);
      const type = random.integer(0, 1);
      const start = random.integer(0, 30);
      const end = random.chance(0.1) ? -1 : random.integer(start + 1, 32);
      const kind = random.pick([none, none, shared, exclusive]);
      const cancelled = random.chance(0.1) ? model.anyTicket(random, client) : 0;
      if (cancelled > 0) {
        const [, was] = volume.operate([11, ino, cancelled], client);
        expect(was).toBe(model.cancel(client, cancelled));
      } else if (random.chance(0.01)) {
        volume.operate([9, [ino]], client);
        model.release(client);
      } else {
        const wait = random.chance(0.5) && kind !== none ? ++ticket : 0;
        const got = lock(client, kind, start, end, wait, owner, type);
        expect(got as string | number).toBe(model.lock({ client, owner, type, kind, start, end }, wait));
      }
      for (const each of clients) {
        const events = granted(each, told.get(each)) as [number, number][];
        expect(events.map(([got]) => got).sort((a, b) => a - b)).toEqual(model.takeGranted(each));
        told.set(each, volume.index);
      }
      for (const at of [0, 5, 13, 29]) {
        for (const each of [flock, posix]) {
          expect(inWay(exclusive, at, at + 1, each) !== null).toBe(model.isHeld(each, at, false));
          expect(inWay(shared, at, at + 1, each) !== null).toBe(model.isHeld(each, at, true));
        }
      }
    }
    expect(model.counts.granted).toBeGreaterThan(20);
    expect(model.counts.deadlocks).toBeGreaterThan(0);
  }, 60_000);
}

test("a lock that goes lets those in who have waited longest, as far as they go together", () => {
  expect(lock("one", exclusive)).toBe(1);
  expect(lock("two", shared, 0, -1, 1)).toBe(0);
  expect(lock("three", exclusive, 0, -1, 2)).toBe(0);
  expect(lock("four", shared, 0, -1, 3)).toBe(0);
  expect(granted("two")).toEqual([]);
  expect(lock("one", none)).toBe(1);
  expect(granted("two")).toEqual([[1, volume.index]]);
  expect(granted("three")).toEqual([]);
  expect(granted("four")).toEqual([[3, volume.index]]);
  // What it was told of does not come again.
  expect(granted("four", volume.index)).toEqual([]);
});

test("two processes that would wait for each other's ranges: the second is told", () => {
  expect(lock("one", exclusive, 0, 10)).toBe(1);
  expect(lock("two", exclusive, 10, 20)).toBe(1);
  expect(lock("one", exclusive, 10, 20, 1)).toBe(0);
  const before = volume.digest();
  expect(lock("two", exclusive, 0, 10, 1)).toBe("EDEADLK");
  expect(volume.digest()).toBe(before);
  expect(lock("two", none, 10, 20)).toBe(1);
  expect(granted("one").length).toBe(1);
});

test("two who share a flock and both want it alone get it one after the other", () => {
  for (const client of ["one", "two"]) expect(lock(client, shared, 0, -1, 0, "f", flock)).toBe(1);
  expect(lock("one", exclusive, 0, -1, 1, "f", flock)).toBe(0);
  // The first has given up its share to wait.
  expect(lock("two", exclusive, 0, -1, 1, "f", flock)).toBe(1);
  expect(granted("one").length).toBe(0);
  expect(lock("two", none, 0, -1, 0, "f", flock)).toBe(1);
  expect(granted("one").length).toBe(1);
});

test("a client that is gone holds nothing and waits for nothing", () => {
  expect(lock("one", exclusive, 0, 10)).toBe(1);
  expect(lock("two", exclusive, 0, 10, 1)).toBe(0);
  expect(lock("three", exclusive, 0, 10, 1)).toBe(0);
  const gone = (client: string) =>
    volume.apply({ index: volume.index + 1, timeMs: volume.timeMs, client, operation: null });
  gone("two");
  gone("one");
  expect(granted("two")).toEqual([]);
  expect(granted("three").length).toBe(1);
});

test("a wait that is asked for twice is one, and its ticket is known after it was granted", () => {
  expect(lock("one", exclusive)).toBe(1);
  expect(lock("two", exclusive, 0, -1, 7)).toBe(0);
  expect(lock("two", exclusive, 0, -1, 7)).toBe(0);
  expect(lock("one", none)).toBe(1);
  expect(lock("two", exclusive, 0, -1, 7)).toBe(1);
  expect(volume.operate([11, ino, 7], "two")).toEqual(["", 1]);
  expect(volume.db.prepare("SELECT count(*) AS n FROM files_waiter").get()).toEqual({ n: 0 });
});

test("an empty range is no range", () => {
  expect(lock("one", shared, 5, 5)).toBe("EINVAL");
});

test("locks and waiters of one file are bounded, and so is what is remembered of them", () => {
  for (let i = 0; i < locksPerFileMax; i++) expect(lock("one", shared, 2 * i, 2 * i + 1)).toBe(1);
  expect(lock("one", shared, 100_000, 100_001)).toBe("ENOLCK");
  // As a neighbour it is no more.
  expect(lock("one", shared, 1, 2)).toBe(1);
  for (let i = 0; i < lockWaitersMax; i++) expect(lock("two", exclusive, 0, 1, i + 1, `o${i}`)).toBe(0);
  expect(lock("two", exclusive, 0, 1, 100_000)).toBe("ENOLCK");
  volume.operate([9, [ino]], "one");
  expect(granted("two").length).toBe(1);
  // Long ago granted, and forgotten.
  expect(lock("two", none, 0, 1, 0, "o0")).toBe(1);
  volume.operate([9, [ino]], "two");
  expect(lock("three", exclusive, 0, 1)).toBe(1);
  expect(lock("two", exclusive, 0, 1, grantsKept + 10)).toBe(0);
  expect(lock("three", none, 0, 1)).toBe(1);
  expect(granted("two").map((event) => (event as number[])[0])).not.toContain(1);
}, 60_000);
