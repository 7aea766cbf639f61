import { describe, expect, test } from "bun:test";
import { type Candidate, choose } from "../../../core/ingress/balancing-machine.ts";
import type { HealthStatus } from "../../../core/ingress/health-machine.ts";

interface Named extends Candidate {
  name: string;
}

/** `L:healthy a:suspect b:failed*3`: L is local, `*` counts failed probes. */
function upstreams(text: string): Named[] {
  return text.split(" ").map((word) => {
    const [name, health] = word.split(":") as [string, string];
    const [status, failed] = health.split("*") as [HealthStatus, string?];
    return { name, local: name === "L", health: { status, failedInRow: Number(failed ?? 0) } };
  });
}

function chosen(text: string, times: number, excluded = ""): string {
  const turn = { next: 0 };
  const all = upstreams(text);
  return Array.from({ length: times }, () => choose(all, turn, (u) => u.name === excluded)?.name ?? "-").join(
    " ",
  );
}

const scenarios: [string, string, string, string?][] = [
  ["a healthy local one gets everything", "a:healthy L:healthy b:healthy", "L L L"],
  ["healthy ones take turns", "a:healthy b:healthy c:healthy", "a b c a b"],
  ["an untested one counts as healthy", "a:untested b:healthy", "a b a"],
  ["a suspect is passed over", "a:healthy b:suspect c:healthy", "a c a c"],
  ["a suspect local one is passed over", "L:suspect b:healthy", "b b"],
  ["if none is healthy, suspects come before failed ones", "a:failed*2 b:suspect c:failed*2", "b b"],
  ["a local suspect comes before others", "a:suspect L:suspect", "L L"],
  ["if all have failed, those that failed least take turns", "a:failed*9 b:failed*2 c:failed*2", "b c b c"],
  ["the one that was tried is not tried again", "a:healthy b:healthy", "b b b", "a"],
  ["a failed one is tried when the only healthy one was", "a:healthy b:failed*7", "b", "a"],
  ["nothing is left", "a:healthy", "-", "a"],
];

describe("choose", () => {
  for (const [name, text, wanted, excluded] of scenarios) {
    test(name, () => expect(chosen(text, wanted.split(" ").length, excluded)).toBe(wanted));
  }

  test("no upstreams at all", () => expect(choose([], { next: 5 }, () => false)).toBeNull());

  test("a turn beyond the end of a shorter table", () => {
    expect(choose(upstreams("a:healthy b:healthy"), { next: 7 }, () => false)?.name).toBe("b");
  });
});
