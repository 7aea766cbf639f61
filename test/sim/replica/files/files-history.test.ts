import { afterEach, beforeEach, expect, test } from "bun:test";
import { type AttributesRow, kinds } from "../../../../core/files/attributes.ts";
import type { By, FileOperation, FileQuery, FileResult } from "../../../../core/files/operations.ts";
import { TestVolume } from "../../../core/files/module/test-volume.ts";
import { type FilesCall, filesViolation } from "./files-history.ts";
import type { Commit } from "./files-model.ts";

const root: By = [0, 0, []];
const dir = 1;
const [flock, exclusive, none] = [0, 2, 0];

/** A log that the module carries out, and calls at times that a test chooses. */
class Told {
  readonly volume = new TestVolume();
  readonly commits: (Commit | undefined)[] = [];
  readonly calls: FilesCall[] = [];

  /** The next record. */
  carryOut(operation: FileOperation, client = "one"): number {
    const result = this.volume.operate(operation, client);
    this.commits[this.volume.index] = { client, operation, result };
    return this.volume.index;
  }

  removed(client: string): void {
    const { index, timeMs } = this.volume;
    this.volume.apply({ index: index + 1, timeMs, client, operation: null });
    this.commits[this.volume.index] = { client, operation: null, result: [""] };
  }

  changed(called: number, returned: number, operation: FileOperation, client = "one"): number {
    const index = this.carryOut(operation, client);
    this.#call(called, returned, null, this.commits[index]!.result, index, client);
    return index;
  }

  read(called: number, returned: number, query: FileQuery, result: FileResult): void {
    this.#call(called, returned, query, result, this.volume.index, "two");
  }

  /** What is true now. */
  answer(query: FileQuery): FileResult {
    return this.volume.module.read(query) as FileResult;
  }

  make(called: number, name: string, kind: number = kinds.file): number {
    const index = this.changed(called, called + 1, createOf(name, kind));
    return (this.commits[index]!.result[1] as AttributesRow)[0];
  }

  get wrong(): string | null {
    return filesViolation(this.calls, { commits: this.commits, from: 0, to: Infinity, kept: 0 });
  }

  #call(
    called: number,
    returned: number,
    query: FileQuery | null,
    result: FileResult,
    index: number,
    client: string,
  ): void {
    const what = query ? query.join(" ") : "changes";
    this.calls.push({ client, query, what, called, returned, result, index, at: "n2 backup" });
  }
}

let told: Told;
beforeEach(() => (told = new Told()));
afterEach(() => told.volume.close());

const listing: FileQuery = ["entries", dir, 0, 100, 1];

function createOf(name: string, kind: number = kinds.file): FileOperation {
  return [1, root, dir, name, kind | 0o644, "", 0, 1];
}
function renameOf(ino: number, from: string, to: string, replaced = 0): FileOperation {
  return [5, root, dir, from, dir, to, 0, ino, replaced];
}
function lockOf(ino: number, kind: number, owner = "o"): FileOperation {
  return [10, ino, flock, kind, 0, -1, owner, 7, 0];
}
function writeOf(ino: number, byte: number): FileOperation {
  return [7, root, ino, 0, new Uint8Array(6_000).fill(byte)];
}

test("a listing that lacks what was created before it was asked for is refused; one that was under way may lack it", () => {
  told.make(1, "a");
  const before = told.answer(listing);
  told.changed(5, 8, createOf("b"));
  told.read(4, 9, listing, before);
  expect(told.wrong).toBeNull();
  told.read(10, 11, listing, before);
  expect(told.wrong).toContain("entries 1 0 100 1 at n2 backup told");
});

test("a listing is of one moment: what was moved is not in two places, nor in none", () => {
  const ino = told.make(1, "a");
  const before = told.answer(listing);
  told.changed(5, 9, renameOf(ino, "a", "b"));
  const after = told.answer(listing);
  told.read(6, 7, listing, after);
  expect(told.wrong).toBeNull();
  told.read(6, 8, listing, ["", [...(before[1] as unknown[]), ...(after[1] as unknown[])]]);
  expect(told.wrong).toContain("never was while it was under way");
  told.calls.pop();
  told.read(6, 8, listing, ["", []]);
  expect(told.wrong).toContain("never was while it was under way");
});

test("a rename that was acknowledged is seen by all who look later", () => {
  const ino = told.make(1, "a");
  const lookup: FileQuery = ["lookup", null, dir, "a"];
  const before = told.answer(lookup);
  told.changed(4, 5, renameOf(ino, "a", "b"));
  told.read(6, 7, lookup, told.answer(lookup));
  expect(told.wrong).toBeNull();
  told.read(8, 9, lookup, before);
  expect(told.wrong).toContain("never was while it was under way");
});

test("what one has seen is seen by all who look later, though it is not acknowledged yet", () => {
  const ino = told.make(1, "a");
  const lookup: FileQuery = ["lookup", null, dir, "a"];
  const before = told.answer(lookup);
  told.changed(4, 20, renameOf(ino, "a", "b"));
  told.read(6, 9, lookup, before);
  told.read(7, 8, lookup, told.answer(lookup));
  expect(told.wrong).toBeNull();
  told.read(10, 11, lookup, before);
  expect(told.wrong).toContain("was so up to record 1 only; 2 was seen before it was called");
});

test("nothing happens before it was asked for", () => {
  const lookup: FileQuery = ["lookup", null, dir, "a"];
  const index = told.carryOut(createOf("a"));
  told.read(1, 2, lookup, told.answer(lookup));
  const { result } = told.commits[index]!;
  told.calls.push({
    ...{ client: "one", query: null, what: "create a", called: 3, returned: Infinity, result, index, at: "" },
  });
  expect(told.wrong).toContain("create a at  is record 1, and 1 was seen before it was called");
});

test("a lock is not held by two, and goes with its client", () => {
  const ino = told.make(1, "a");
  told.changed(3, 4, lockOf(ino, exclusive), "one");
  const second = told.changed(5, 6, lockOf(ino, exclusive), "two");
  expect(told.commits[second]!.result).toEqual(["EAGAIN"]);
  told.removed("one");
  const third = told.changed(7, 8, lockOf(ino, exclusive), "two");
  expect(told.commits[third]!.result).toEqual(["", 1]);
  expect(told.wrong).toBeNull();
  told.commits[second] = { ...told.commits[second]!, result: ["", 1] };
  expect(told.wrong).toContain(`record ${second}`);
  expect(told.wrong).toContain('should be ["EAGAIN"]');
});

test("a lock that a client has lost with its end is not refused to others", () => {
  const ino = told.make(1, "a");
  told.changed(3, 4, lockOf(ino, exclusive), "one");
  told.removed("one");
  const index = told.changed(5, 6, lockOf(ino, exclusive), "two");
  told.commits[index] = { ...told.commits[index]!, result: ["EAGAIN"] };
  expect(told.wrong).toContain('should be ["",1]');
});

test("who holds a lock is told as it is", () => {
  const ino = told.make(1, "a");
  const lockedBy: FileQuery = ["lockedBy", ino, flock, exclusive, 0, -1, "o", "two"];
  told.changed(3, 4, lockOf(ino, exclusive), "one");
  const held = told.answer(lockedBy);
  told.changed(5, 6, lockOf(ino, none), "one");
  told.read(7, 8, lockedBy, told.answer(lockedBy));
  expect(told.wrong).toBeNull();
  told.read(9, 10, lockedBy, held);
  expect(told.wrong).toContain("lockedBy");
});

test("bytes of two writes are not mixed", async () => {
  const ino = told.make(1, "a");
  const read: FileQuery = ["read", ino, 0, 10_000];
  told.changed(3, 4, writeOf(ino, 1));
  const [, first] = (await told.volume.module.read(read)) as [string, Uint8Array];
  told.changed(5, 9, writeOf(ino, 2));
  const [, second] = (await told.volume.module.read(read)) as [string, Uint8Array];
  told.read(6, 7, read, ["", first]);
  told.read(6, 8, read, ["", second]);
  expect(told.wrong).toBeNull();
  const mixed = first.slice();
  mixed.set(second.subarray(4_096), 4_096);
  told.read(6, 10, read, ["", mixed]);
  expect(told.wrong).toContain("never was while it was under way");
});

test("bytes that were cut off do not come back", async () => {
  const ino = told.make(1, "a");
  const read: FileQuery = ["read", ino, 0, 10_000];
  told.changed(3, 4, writeOf(ino, 1));
  const [, all] = (await told.volume.module.read(read)) as [string, Uint8Array];
  for (const size of [100, 6_000])
    told.changed(size, size + 1, [6, root, ino, -1, -1, -1, size, null, null, 0]);
  told.read(7_000, 7_001, read, (await told.volume.module.read(read)) as FileResult);
  expect(told.wrong).toBeNull();
  told.read(7_002, 7_003, read, ["", all]);
  expect(told.wrong).toContain("never was while it was under way");
});
