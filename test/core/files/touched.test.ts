/**
 * A backup answers a read where no record that it has not yet carried out touches what the read depends on. So: whenever
 * an operation changes the answer of a query, what it says to touch has to meet the keys that the query had before.
 */
import { afterEach, expect, test } from "bun:test";
import { DatabaseSync } from "node:sqlite";
import { files } from "../../../core/files/module/files.ts";
import { MemoryBlocks } from "../../../core/files/module/memory-blocks.ts";
import type { By, FileOperation, FileQuery, FileResult } from "../../../core/files/operations.ts";
import type { OpenModule } from "../../../core/state/module.ts";
import { Random } from "../../sim/harness/random.ts";

const root: By = [0, 0, []];
const alice: By = [1_101, 1_101, []];
const names = ["a", "b", "c"];
const clients = ["one", "two"];
const inosMax = 24;
const owners = ["p1", "p2"];

let db: DatabaseSync | null = null;
afterEach(() => db?.close());

for (const seed of [1, 2, 3, 4]) {
  test(`what changes an answer touches its keys, in random operations of seed ${seed}`, async () => {
    db = new DatabaseSync(":memory:");
    files.create(db);
    const module = files.open(db, new MemoryBlocks());
    const random = new Random(seed);
    let index = 0;
    let timeMs = 1_000_000;
    const counts = { changed: 0, done: 0 };
    let before = await answersOf(module);
    for (let step = 0; step < 300; step++) {
      const operation = randomOperation(random, module);
      const encoded = module.encode(operation);
      const touched = module.touched(encoded);
      timeMs += random.integer(0, 20);
      const client = random.pick(clients);
      const context = { index: ++index, timeMs, random: new Uint8Array(16), client, level: files.level };
      db.exec("BEGIN");
      const [error] = module.apply(encoded, context) as FileResult;
      db.exec("COMMIT");
      if (error === "") counts.done++;
      const after = await answersOf(module);
      for (const [query, { answer, keys }] of before) {
        const now = after.get(query);
        if (now === undefined || now.answer === answer) continue;
        counts.changed++;
        const meets = touched === null || keys === null || keys.some((key) => touched.includes(key));
        if (!meets)
          expect({ seed, step, operation, touched, query, keys, was: answer, is: now.answer }).toBeNull();
      }
      before = after;
    }
    // It looks at enough: most operations do something, and change answers.
    expect(counts.done).toBeGreaterThan(60);
    expect(counts.changed).toBeGreaterThan(150);
  }, 60_000);
}

function randomOperation(random: Random, module: OpenModule): FileOperation {
  const by = random.float() < 0.8 ? root : alice;
  const parent = random.float() < 0.5 ? 1 : random.integer(1, inosMax);
  const toParent = random.float() < 0.5 ? 1 : random.integer(1, inosMax);
  const name = random.pick(names);
  const toName = random.pick(names);
  // As a client that has just looked, mostly.
  const at = (dir: number, which: string): number => {
    if (random.float() < 0.1) return random.integer(0, inosMax);
    const [error, row] = module.read(["lookup", null, dir, which]) as FileResult;
    return error === "" ? (row as number[])[0]! : 0;
  };
  // Mostly one that is there.
  const ino = at(random.integer(1, 4), random.pick(names)) || random.integer(1, inosMax);
  const kind = random.pick([0o100644, 0o100600, 0o040755, 0o040700, 0o120777] as const);
  const operations: FileOperation[] = [
    [
      1,
      by,
      parent,
      name,
      kind,
      kind === 0o120777 ? random.pick(["a", "b/c", "/c"]) : "",
      kind === 0o100644 ? 1 : 0,
      1,
    ],
    [1, by, parent, name, 0o100644, "", 0, 0],
    [1, by, parent, name, 0o040755, "", 0, 1],
    [2, by, ino, parent, name],
    [2, root, ino, toParent, toName],
    [3, root, 1, name, at(1, name) || 1],
    [5, root, 1, name, 1, toName, 0, at(1, name) || 1, at(1, toName)],
    [3, by, parent, name, at(parent, name) || 1],
    [4, by, parent, name, at(parent, name) || 1],
    [
      5,
      by,
      parent,
      name,
      toParent,
      toName,
      random.integer(0, 2),
      at(parent, name) || 1,
      at(toParent, toName),
    ],
    [6, by, ino, random.pick([-1, 0o644, 0o711]), -1, -1, random.pick([-1, 0, 5, 9_000]), null, 0, 1],
    [6, by, ino, -1, random.pick([-1, 1_101]), -1, -1, [5, random.integer(0, 9)], null, 0],
    [7, by, ino, random.pick([-1, 0, 3, 4_095]), new TextEncoder().encode(`text ${random.uint32()}`)],
    [20, root, 1, name, at(1, name), 0o644, -1, -1, 0, new Uint8Array(random.integer(0, 9_000))],
    [20, by, parent, name, at(parent, name), 0o644, -1, -1, 0, new Uint8Array(random.integer(0, 9_000))],
    [8, ino],
    [9, [ino]],
    [
      10,
      ino,
      random.integer(0, 1),
      random.integer(0, 2),
      0,
      random.pick([-1, 10]),
      random.pick(owners),
      7,
      0,
    ],
    [10, ino, 1, 2, random.integer(0, 5), -1, random.pick(owners), 7, random.integer(1, 3)],
    [11, ino, random.integer(1, 3)],
    [12, ino, random.pick(["x", "y"])],
    [13, random.pick(["x", "y"])],
    [14, random.pick(["x", "y"]), 3, random.integer(0, 1)],
    [15, random.pick(["x", "y"]), random.integer(0, 9)],
    [16, random.pick(["x", "y"])],
  ];
  return random.pick(operations);
}

/** Of every query that somebody might make; files that nobody can reach any more are nobody's business. */
async function answersOf(
  module: OpenModule,
): Promise<Map<string, { answer: string; keys: readonly string[] | null }>> {
  const queries: FileQuery[] = [
    ["path", root, "/a/b/c", 1],
    ["path", alice, "/a/b", 0],
    ["path", root, "/b/../c/a", 1],
    ["offset", "x"],
    ["offset", "y"],
  ];
  for (let ino = 1; ino <= inosMax; ino++) {
    const [error, row] = module.read(["attributes", ino]) as FileResult;
    if (error === "" && (row as number[])[2] === 0) continue;
    queries.push(["attributes", ino], ["link", ino], ["read", ino, 0, 5_000]);
    queries.push(["extents", ino, 0, 100_000]);
    queries.push(["entries", ino, 0, 10, 0], ["entries", ino, 0, 10, 1]);
    queries.push(["lockedBy", ino, 0, 2, 0, -1, "somebody else", "three"]);
    queries.push(["lockedBy", ino, 1, 2, 0, -1, "somebody else", "three"]);
    for (const name of [...names, ".", ".."]) {
      queries.push(["lookup", null, ino, name], ["lookup", alice, ino, name]);
    }
  }
  const answers = new Map<string, { answer: string; keys: readonly string[] | null }>();
  for (const query of queries) {
    const keys = module.keysOf(query);
    const answer = await (module.read(query) as FileResult | Promise<FileResult>);
    answers.set(JSON.stringify(query), { answer: JSON.stringify(answer), keys });
  }
  return answers;
}
