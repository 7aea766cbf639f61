import { describe, expect, test } from "bun:test";
import { type Candidate, type Reach, choose } from "../../../core/ingress/balancing-machine.ts";
import type { HealthStatus } from "../../../core/ingress/health-machine.ts";

interface Named extends Candidate {
  name: string;
  reach: Reach;
}

const nowMs = 100_000;

/**
 * `L:healthy a:failed@20 b:suspect/later`: L is local, `@` counts seconds since it got its status, `!` says that it
 * was refused rather than silent, `/` what it has (else: now).
 */
function upstreams(text: string): Named[] {
  return text.split(" ").map((word) => {
    const [, name, status, bang, seconds, reach] = /^(\w+):(\w+)(!?)(?:@(\d+))?(?:\/(\w+))?$/.exec(word)!;
    const since = nowMs - Number(seconds ?? 1) * 1_000;
    return {
      name: name!,
      local: name === "L",
      health: { status: status as HealthStatus, silent: bang === "", since },
      reach: (reach ?? "now") as Reach,
    };
  });
}

function chosen(text: string, times: number, crowded: boolean): string {
  const turn = { next: 0 };
  const all = upstreams(text);
  return Array.from(
    { length: times },
    () => choose(all, turn, (u) => u.reach, { crowded, nowMs })?.name ?? "-",
  ).join(" ");
}

const scenarios: [string, string, string][] = [
  ["a healthy local one gets everything", "a:healthy L:healthy b:healthy", "L L L"],
  ["healthy ones take turns", "a:healthy b:healthy c:healthy", "a b c a b"],
  ["an untested one counts as healthy", "a:untested b:healthy", "a b a"],
  ["a suspect is passed over", "a:healthy b:suspect c:healthy", "a c a c"],
  ["a suspect local one is passed over", "L:suspect b:healthy", "b b"],
  ["one that has nothing now is passed over by others that are as good", "a:healthy/later b:healthy", "b b"],
  ["a healthy one is worth waiting for", "a:healthy/later b:suspect c:failed", "-"],
  ["a local one is worth waiting for", "L:healthy/later b:healthy", "-"],
  ["a local one that is full is helped out", "L:healthy/full b:healthy c:healthy", "b c b"],
  ["healthy ones that are full get no help from suspects", "a:healthy/full b:suspect", "-"],
  [
    "if none is healthy, suspects and the freshly failed take turns",
    "a:failed b:suspect c:failed",
    "a b c a",
  ],
  ["then the local one is one of them", "a:suspect L:suspect", "a L a"],
  ["but not those that refused", "a:failed! b:suspect c:failed!", "b b"],
  ["nor those that failed long ago", "a:failed@20 b:suspect c:failed@9", "b c b"],
  ["unless that leaves none", "a:failed@20 b:failed! c:failed!@99", "a b c a"],
  ["one that may be alive is worth waiting for", "a:suspect/later b:failed!", "-"],
  ["the one that was tried is not tried again", "a:healthy/never b:healthy", "b b"],
  ["a failed one is tried when the only healthy one was", "a:healthy/never b:failed!", "b"],
  ["nothing is left", "a:healthy/never", "-"],
];

const panic: [string, string, string][] = [
  ["most have failed together and the rest is crowded", "a:healthy b:failed c:failed d:suspect", "a b c d a"],
  ["also when the rest has nothing now", "a:healthy/later b:failed c:failed", "b c b"],
  ["also when the rest is local", "L:healthy/later b:failed c:suspect", "b c b"],
  ["not when half of them are healthy", "a:healthy b:failed", "a a"],
  ["not those that refused", "a:healthy b:failed! c:failed!", "a a"],
];

describe("choose", () => {
  for (const [name, text, wanted] of scenarios) {
    test(name, () => expect(chosen(text, wanted.split(" ").length, false)).toBe(wanted));
  }

  for (const [name, text, wanted] of panic) {
    test(`panic: ${name}`, () => expect(chosen(text, wanted.split(" ").length, true)).toBe(wanted));
  }

  test("without a crowd the healthy minority gets everything", () => {
    expect(chosen("a:healthy b:failed c:failed", 3, false)).toBe("a a a");
  });

  test("no upstreams at all", () => {
    expect(choose([], { next: 5 }, () => "now", { crowded: false, nowMs })).toBeNull();
  });

  test("a turn beyond the end of a shorter table", () => {
    const all = upstreams("a:healthy b:healthy");
    expect(choose(all, { next: 7 }, () => "now", { crowded: false, nowMs })?.name).toBe("b");
  });
});
