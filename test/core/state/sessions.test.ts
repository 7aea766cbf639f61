/** Sessions in the database against a model of them: whatever the sizes of results, and however often it is looked at. */
import { expect, test } from "bun:test";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { array, type Arbitrary, assert, constantFrom, property, record as fields } from "fast-check";
import type { SessionRow } from "../../../core/replica/sink.ts";
import { decodeResults, encodeResults } from "../../../core/state/session-results.ts";
import { ReplicaDatabase } from "./replica-database.ts";

interface Step {
  client: string;
  bytes: number;
  /** How many of its oldest results it has got. */
  acked: number;
  after: "nothing" | "commit" | "look";
}

const step: Arbitrary<Step> = fields({
  client: constantFrom("a", "b", "c"),
  bytes: constantFrom(0, 1, 30, 900, 4_096),
  acked: constantFrom(0, 0, 1, 2, 20),
  after: constantFrom("nothing", "nothing", "commit", "look"),
});

test("are what was said of them, in the open transaction and after a kill", () => {
  assert(
    property(array(step, { minLength: 1, maxLength: 60 }), (steps) => {
      const replica = new ReplicaDatabase();
      const model = new Map<
        string,
        { ackedBelow: number; next: number; results: Map<number, [Uint8Array, number]> }
      >();
      const expected = (): SessionRow[] =>
        [...model]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([client, { ackedBelow, results }]) => ({
            client,
            ackedBelow,
            results: [...results].map(([sequence, [result, index]]) => [sequence, result, index] as const),
          }));
      const put = replica.db.module("kv").encode({ op: "put", key: "k", value: new Uint8Array(1) });
      try {
        for (const { client, bytes, acked, after } of steps) {
          const record = replica.record({ module: "kv", operation: put });
          replica.db.execute(record);
          let session = model.get(client);
          if (!session) model.set(client, (session = { ackedBelow: 0, next: 1, results: new Map() }));
          const ackedBelow = Math.min(session.next, Math.max(1, session.ackedBelow + acked));
          if (ackedBelow > session.ackedBelow) {
            session.ackedBelow = ackedBelow;
            for (const each of session.results.keys()) if (each < ackedBelow) session.results.delete(each);
            replica.db.sessionChanged({ type: "acked", client, ackedBelow });
          }
          const sequence = session.next++;
          const result = new Uint8Array(bytes).fill(sequence);
          session.results.set(sequence, [result, record.index]);
          replica.db.sessionChanged({ type: "result", client, sequence, result, index: record.index });
          replica.db.applied(record);
          if (after === "commit") replica.db.commit();
          if (after === "look") expect(replica.db.state().sessions.sessions).toEqual(expected());
        }
        replica.db.commit();
        const digest = replica.db.digest();
        for (const end of ["", "-wal"]) copyFileSync(replica.path + end, join(replica.dir, `copy.db${end}`));
        const copy = replica.open(join(replica.dir, "copy.db"));
        expect(copy.state().sessions.sessions).toEqual(expected());
        expect(copy.digest()).toBe(digest);
        copy.close();
        expect(replica.failures).toEqual([]);
      } finally {
        replica.end();
      }
    }),
    { numRuns: 30 },
  );
});

test("of a database that an older dvs has made are taken over", () => {
  const replica = new ReplicaDatabase();
  replica.db.close();
  const old = new DatabaseSync(replica.path);
  old.exec("ALTER TABLE session DROP COLUMN recent; PRAGMA user_version = 1");
  old.exec("INSERT INTO session VALUES ('a', 3); INSERT INTO session_result VALUES ('a', 4, x'07', 9)");
  old.close();
  replica.db = replica.open();
  const sessions = [{ client: "a", ackedBelow: 3, results: [[4, new Uint8Array([7]), 9] as const] }];
  expect(replica.db.state().sessions.sessions).toEqual(sessions);
  replica.end();
});

test("bytes of results that end too early are no results", () => {
  const bytes = encodeResults([{ sequence: 2 ** 47, result: new Uint8Array([1, 2]), index: 2 ** 46 }]);
  expect(decodeResults(bytes)).toEqual([
    { sequence: 2 ** 47, result: new Uint8Array([1, 2]), index: 2 ** 46 },
  ]);
  for (let end = 1; end < bytes.length; end++)
    expect(() => decodeResults(bytes.slice(0, end))).toThrow(RangeError);
});
