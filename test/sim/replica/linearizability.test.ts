/** The judge itself: it must see each kind of wrong history, and let every right one pass. */
import { describe, expect, test } from "bun:test";
import { Random } from "../harness/random.ts";
import type { Action, Call, Value } from "./history.ts";
import { violation } from "./linearizability.ts";

/**
 * One line a call, in a column of time: `A |--w:x--|` is client A writing x from the first bar to the second; a call
 * without a second bar has no known outcome. r:x read x, w:x wrote it, d deleted, c:x>y:z expected x, set y, found z.
 */
function drawn(picture: string): Call[] {
  return picture
    .trim()
    .split("\n")
    .map((line) => {
      const [, client, lead, what, tail] = /^\s*(\w+)(\s*)\|-*([^-|]+)(-*\|)?/.exec(line)!;
      const called = 2 * (client!.length + lead!.length);
      const end = line.trim().lastIndexOf("|");
      return {
        client: client!,
        key: "k",
        action: actionOf(what!.trim()),
        called,
        returned: tail ? 2 * end + 1 : Infinity,
        at: "",
      };
    });
}

function actionOf(text: string): Action {
  const value = (word: string): Value => (word === "" ? null : word);
  const [kind, rest = "", found = ""] = text.split(":");
  if (kind === "r") return { kind: "read", value: value(rest) };
  if (kind === "w") return { kind: "write", value: rest };
  if (kind === "d") return { kind: "write", value: null };
  const [expected = "", next = ""] = rest.split(">");
  return { kind: "cas", expected: value(expected), value: next, actual: value(found) };
}

const wrong: Record<string, string> = {
  "a stale read at a backup": `
    A |-w:a-|
    A         |-w:b-|
    B                 |-r:a-|`,
  "a lost write": `
    A |-w:a-|
    B         |-r:-|`,
  "a write carried out twice": `
    A |-w:a-|
    B         |-w:b-|
    C                 |-r:b-|
    C                         |-r:a-|`,
  "a retry carried out again after its outcome was unknown": `
    A |-w:a
    C   |-r:a-|
    B           |-w:b-|
    C                   |-r:b-|
    C                           |-r:a-|`,
  "a value of unknown outcome that was read and then vanished": `
    A |-w:a-|
    B         |-w:b
    C           |-r:b-|
    C                   |-r:a-|`,
  "reads that go back in time between two replicas": `
    A |-w:a-|
    A         |-----w:b-----|
    B           |-r:b-|
    C                   |-r:a-|`,
  "a compare-and-set that succeeded twice": `
    A |-w:a-|
    B         |-c:a>b:a-|
    C           |-c:a>c:a-|`,
  "a compare-and-set that succeeded twice, once of unknown outcome": `
    A |-w:a-|
    B         |-c:a>b:
    C           |-c:a>c:a-|
    D                        |-r:b-|
    D                                |-r:c-|`,
  "a compare-and-set that succeeded without what it expected": `
    A |-w:a-|
    B         |-w:b-|
    C                 |-c:a>c:a-|`,
  "a compare-and-set that failed and was carried out": `
    A |-w:a-|
    B         |-c:x>b:a-|
    C                     |-r:b-|`,
  "a value that nobody wrote": `
    A |-w:a-|
    B         |-r:z-|`,
  "a value read before it was written": `
    B |-r:a-|
    A         |-w:a-|`,
  "a delete that came undone": `
    A |-w:a-|
    A         |-d-|
    B               |-r:a-|`,
  "a delete of unknown outcome that came undone": `
    A |-w:a-|
    A         |-d
    B            |-r:-|
    B                   |-r:a-|`,
};

const right: Record<string, string> = {
  "nothing at all was ever written": `
    A |-r:-|`,
  "reads during a write see either value, in order": `
    A |-w:a-|
    A         |---------w:b---------|
    B          |-r:a-|
    C                  |-r:b-|`,
  "a write of unknown outcome is seen late": `
    A |-w:a
    B        |-w:b-|
    C                |-r:b-|
    C                        |-r:a-|`,
  "a write of unknown outcome is never seen": `
    A |-w:a
    B        |-w:b-|
    C                |-r:b-|
    C                        |-r:b-|`,
  "a compare-and-set on a value of unknown outcome": `
    A |-w:a
    B  |-c:a>b:
    C   |-r:-|
    C           |-r:b-|`,
  "an unseen write of unknown outcome that an unseen one expected": `
    A |-w:a
    B  |-c:a>b:
    C            |-r:-|`,
  "a delete of unknown outcome that takes effect later": `
    A |-w:a-|
    A         |-d
    B            |-r:a-|
    B                    |-r:-|`,
  "a failed compare-and-set": `
    A |-w:a-|
    B         |-c:x>b:a-|
    C                     |-r:a-|`,
  "concurrent writes in an order that only a later read tells": `
    A |--w:a--|
    B |---w:b---|
    C  |---w:c---|
    D               |-r:b-|`,
};

describe("found out:", () => {
  for (const [name, picture] of Object.entries(wrong)) {
    test(name, () => expect(violation(drawn(picture))).toContain("key k is not linearizable"));
  }
});

describe("let pass:", () => {
  for (const [name, picture] of Object.entries(right)) {
    test(name, () => expect(violation(drawn(picture))).toBe(null));
  }
});

test("a wrong key among right ones is found, and its calls are shown", () => {
  const calls = drawn(wrong["a stale read at a backup"]!);
  const others = drawn(right["a failed compare-and-set"]!).map((call) => ({ ...call, key: "other" }));
  expect(violation([...others, ...calls])).toContain("B read a");
});

test("a history whose values are not unique is refused: it cannot be judged", () => {
  const calls = drawn(`
    A |-w:a-|
    B         |-w:a-|`);
  expect(() => violation(calls)).toThrow("set the same value");
});

test("it judges small histories as trying every order does", () => {
  const verdicts = { right: 0, wrong: 0 };
  for (let seed = 1; seed <= 4_000; seed++) {
    const calls = scrambled(new Random(seed));
    const expected = tryAll(calls);
    verdicts[expected ? "right" : "wrong"]++;
    if ((violation(calls) === null) !== expected) {
      throw new Error(`seed ${seed} is ${expected ? "right" : "wrong"}: ${JSON.stringify(calls, null, 1)}`);
    }
  }
  expect(verdicts.right).toBeGreaterThan(500);
  expect(verdicts.wrong).toBeGreaterThan(500);
});

test("thousands of calls, many of them open for long or of unknown outcome, take little", () => {
  const { calls, reads } = played(new Random(7), 6_000);
  expect(violation(calls)).toBe(null);
  const read = reads.findLast((call) => call.action.value !== null)!;
  const before = reads.find((call) => call.action.value !== null && call.action.value !== read.action.value)!;
  read.action.value = before.action.value;
  expect(violation(calls)).not.toBe(null);
}, 10_000);

/** Up to seven calls of a few clients with outcomes that are right by chance only. */
function scrambled(random: Random): Call[] {
  const count = random.integer(3, 7);
  const instants = random.sample(
    Array.from({ length: 2 * count }, (_, i) => i),
    2 * count,
  );
  const values: Value[] = [null];
  const calls: Call[] = [];
  for (let i = 0; i < count; i++) {
    const [a, b] = [instants[2 * i]!, instants[2 * i + 1]!];
    const value = `v${i}`;
    const seen = () => random.pick(values);
    const kind = random.integer(0, 9);
    let action: Action = { kind: "write", value };
    if (kind < 5) action = { kind: "read", value: seen() };
    else if (kind === 5) action = { kind: "write", value: null };
    else if (kind < 8) action = { kind: "cas", expected: seen(), value, actual: seen() };
    if (action.kind !== "read" && action.value !== null) values.push(value);
    const returned = random.chance(0.25) ? Infinity : Math.max(a, b);
    calls.push({ client: `c${i}`, key: "k", action, called: Math.min(a, b), returned, at: "" });
  }
  return calls;
}

/** By definition: some order of all that ended and some of the rest, in which each finds what it says. */
function tryAll(calls: readonly Call[], state: Value = null): boolean {
  if (calls.every((call) => call.returned === Infinity)) return true;
  const firstReturn = Math.min(...calls.map((call) => call.returned));
  return calls.some((call) => {
    if (call.called > firstReturn) return false;
    const { action, returned } = call;
    const rest = calls.filter((other) => other !== call);
    const known = returned !== Infinity;
    if (action.kind === "read") return (!known || action.value === state) && tryAll(rest, state);
    if (action.kind === "write") return tryAll(rest, action.value);
    if (known && action.actual !== state) return false;
    return tryAll(rest, action.expected === state ? action.value : state);
  });
}

/** A right history: a register used by twelve clients at once, some of whom wait for long. */
function played(
  random: Random,
  count: number,
): { calls: Call[]; reads: (Call & { action: { kind: "read" } })[] } {
  let state: Value = null;
  const open: { call: Call; done: boolean }[] = [];
  const calls: Call[] = [];
  const reads: (Call & { action: { kind: "read" } })[] = [];
  for (let clock = 1; calls.length < count || open.length > 0; clock++) {
    if (open.length < 12 && calls.length < count) {
      const value = `v${calls.length}`;
      const action: Action = random.pick([
        { kind: "read", value: null },
        { kind: "write", value },
        { kind: "cas", expected: state, value, actual: null },
        { kind: "write", value: random.chance(0.1) ? null : value },
      ]);
      const call: Call = { client: "c", key: "k", action, called: clock, returned: Infinity, at: "" };
      calls.push(call);
      if (action.kind === "read") reads.push(call as (typeof reads)[number]);
      open.push({ call, done: false });
      continue;
    }
    const i = random.chance(0.9) ? open.length - 1 - random.integer(0, 1) : 0;
    const entry = open[Math.max(0, i)]!;
    const { action } = entry.call;
    if (!entry.done) {
      entry.done = true;
      if (action.kind === "read") action.value = state;
      else if (action.kind === "write") state = action.value;
      else {
        action.actual = state;
        if (state === action.expected) state = action.value;
      }
    } else {
      open.splice(open.indexOf(entry), 1);
      if (!random.chance(0.1)) entry.call.returned = clock;
    }
  }
  return { calls, reads };
}
