/** After acknowledged records were lost their indices come again, and revisions do not: who knows of a lost one is told. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { nextEra } from "../../../core/replica/era.ts";
import { recordKinds } from "../../../core/replica/record.ts";
import { files } from "../../../core/files/module/files.ts";
import { kv } from "../../../core/state/modules/kv.ts";
import type { KvFound, KvResult } from "../../../core/state/modules/kv-messages.ts";
import { ReplicaDatabase } from "./replica-database.ts";

/** The one that had everything, and the one that has less and goes on. */
let lost: ReplicaDatabase;
let left: ReplicaDatabase;
beforeEach(() => {
  [lost, left] = [new ReplicaDatabase([kv, files]), new ReplicaDatabase([kv, files])];
});
afterEach(() => {
  for (const replica of [lost, left]) {
    expect(replica.failures).toEqual([]);
    replica.end();
  }
});

function put(replica: ReplicaDatabase, key: string, ifRevision?: number): KvResult {
  const value = new TextEncoder().encode("x");
  const result = replica.kv({ op: "put", key, value, ...(ifRevision !== undefined && { ifRevision }) });
  if (!result.ok) throw new Error(result.message);
  return result.value as KvResult;
}
/** As a primary that was chosen by a person. */
function goOn(): void {
  left.epoch = nextEra(Math.max(left.epoch, lost.epoch));
  left.apply(left.record({ kind: recordKinds.epochStart }));
}

test("a revision of a lost record is given to no other: a compare-and-set that goes by it is refused", () => {
  for (const replica of [lost, left]) put(replica, "key");
  const known = [1, 2, 3, 4].map(() => put(lost, "key").revision);
  goOn();
  const given = [1, 2, 3, 4].map(() => put(left, "key").revision);
  expect(left.db.appliedIndex).toBeGreaterThan(lost.db.appliedIndex);
  for (const revision of given) expect(known).not.toContain(revision);
  for (const revision of known) expect(put(left, "key", revision).done).toBe(false);
  // It goes on as before: rising, and by takeovers, too.
  left.epoch++;
  left.apply(left.record({ kind: recordKinds.epochStart }));
  const next = put(left, "key", given.at(-1)).revision;
  expect(next).toBeGreaterThan(given.at(-1)!);
  expect((left.read({ get: "key", key: "key" }) as KvFound).entries[0]!.revision).toBe(next);
});

test("who watches from a lost record on is told to look anew; whose place is still there goes on", () => {
  for (const replica of [lost, left]) put(replica, "key");
  const { revision } = put(lost, "key");
  const watching = left.db.module("kv").follow!({ prefix: "" });
  const { revision: before } = put(left, "key");
  put(lost, "other");
  const lostLater = put(lost, "other").revision;
  goOn();
  const { revision: after } = put(left, "key");
  expect(before).toBe(revision);
  for (const place of [lostLater, lostLater + 1_000, after - 2])
    expect(() => left.db.module("kv").follow!({ prefix: "", after: place })).toThrow("List the keys");
  const since = left.db.module("kv").follow!({ prefix: "", after: before });
  expect(since.next(10)).toMatchObject([{ revision: after }]);
  expect(watching.next(10)).toMatchObject([{ revision: before }, { revision: after }]);
  // Also after another loss, and by a replica that has begun anew.
  lost.epoch = left.epoch;
  goOn();
  left.db.close();
  left.db = left.open();
  expect(() => left.db.module("kv").follow!({ prefix: "", after: lostLater })).toThrow("List the keys");
  expect(left.db.module("kv").follow!({ prefix: "", after }).next(10)).toEqual([]);
});

test("who follows files looks anew, and who waits for a lock asks again", () => {
  const changes = left.db.module("files").follow!(["changes", -1]);
  const locks = left.db.module("files").follow!(["granted", "one", 0]);
  changes.next(10);
  goOn();
  for (const follower of [changes, locks]) expect(() => follower.next(10)).toThrow("anew");
  expect(left.db.module("files").follow!(["granted", "one", 0]).next(10)).toEqual([]);
});

test("a takeover that loses nothing forgets nothing", () => {
  const { revision } = put(left, "key");
  const watching = left.db.module("kv").follow!({ prefix: "" });
  const changes = left.db.module("files").follow!(["changes", -1]);
  changes.next(10);
  left.epoch++;
  left.apply(left.record({ kind: recordKinds.epochStart }));
  const next = put(left, "key", revision);
  expect(next.done).toBe(true);
  expect(watching.next(10)).toMatchObject([{ revision: next.revision }]);
  expect(changes.next(10)).toEqual([]);
});
