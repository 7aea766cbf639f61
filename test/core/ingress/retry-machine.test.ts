import { describe, expect, test } from "bun:test";
import { type Attempt, RetryBudget, whyNotRetry } from "../../../core/ingress/retry-machine.ts";

const attempt: Attempt = { method: "GET", attempts: 1, responded: false, kept: true };

const scenarios: [string, Partial<Attempt>, boolean][] = [
  ["GET whose upstream died", {}, true],
  ["HEAD", { method: "HEAD" }, true],
  ["OPTIONS", { method: "OPTIONS" }, true],
  ["PUT whose body is kept", { method: "PUT" }, true],
  ["DELETE", { method: "DELETE" }, true],
  ["PUT whose body was too large to keep", { method: "PUT", kept: false }, false],
  ["POST", { method: "POST" }, false],
  ["PATCH", { method: "PATCH" }, false],
  ["an unknown method", { method: "other" }, false],
  ["GET that was answered in part", { responded: true }, false],
  ["GET that was tried twice", { attempts: 2 }, false],
];

describe("may be sent again", () => {
  for (const [name, change, may] of scenarios) {
    test(`${name}: ${may ? "yes" : "no"}`, () => {
      expect(whyNotRetry({ ...attempt, ...change }) === null).toBe(may);
    });
  }
});

describe("the retry budget", () => {
  const limits = { share: 0.1, perSecond: 10, stockMax: 1_000 };
  const spendAll = (budget: RetryBudget, nowMs: number) => {
    let n = 0;
    while (n < 10_000 && budget.spend(nowMs)) n++;
    return n;
  };

  test("holds at the start what one dead upstream of three may hold at 2,000 requests/s", () => {
    expect(spendAll(new RetryBudget(limits, 0), 0)).toBeGreaterThanOrEqual((2_000 / 3) * 0.8);
  });

  test("grows by a tenth of the requests, and a little by time", () => {
    const budget = new RetryBudget(limits, 0);
    spendAll(budget, 0);
    for (let i = 0; i < 1_005; i++) budget.earn();
    expect(spendAll(budget, 0)).toBe(100);
    expect(spendAll(budget, 2_010)).toBe(20);
  });

  test("does not grow beyond its stock", () => {
    const budget = new RetryBudget(limits, 0);
    for (let i = 0; i < 100_000; i++) budget.earn();
    expect(spendAll(budget, 1e9)).toBe(1_000);
  });
});
