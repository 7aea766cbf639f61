import { expect, test } from "bun:test";
import { askAny } from "../../../core/agent/ask-any.ts";
import { DvsError, type ErrorCode } from "../../../core/errors.ts";

const fails = (code: ErrorCode) => Promise.reject<string>(new DvsError(code, code));
/** Until it is told to stop. */
const silent = (signal: AbortSignal) =>
  new Promise<string>((_, reject) => {
    signal.addEventListener("abort", () => reject(new DvsError("TIMEOUT", "stopped")), { once: true });
  });
const codeOf = (asked: Promise<unknown>) =>
  asked.then(
    () => "OK",
    (e: DvsError) => e.code,
  );
const signal = new AbortController().signal;

test("one that is silent is not waited for: the next one is asked beside it, and the silent one is given up", async () => {
  let stopped = false;
  const answer = await askAny(
    ["cut-off", "well"],
    (address, of) => {
      if (address === "well") return Promise.resolve("done");
      of.addEventListener("abort", () => (stopped = true), { once: true });
      return silent(of);
    },
    { signal, besideMs: 10 },
  );
  expect([answer, stopped]).toEqual(["done", true]);
});

test("the answer of the one that was slow counts when the one beside it cannot answer", async () => {
  const slow = Promise.withResolvers<string>();
  const asked = askAny(
    ["slow", "unreachable"],
    (address) => {
      if (address === "slow") return slow.promise;
      setTimeout(() => slow.resolve("done"), 10);
      return fails("UNAVAILABLE");
    },
    { signal, besideMs: 1 },
  );
  expect(await asked).toBe("done");
});

test("where nobody may be asked beside another, one after another is asked, each when the one before has failed", async () => {
  const asked: string[] = [];
  const answer = await askAny(
    ["a", "b", "c"],
    (address) => {
      asked.push(address);
      return address === "c" ? Promise.resolve("done") : fails("UNAVAILABLE");
    },
    { signal, besideMs: Infinity },
  );
  expect([answer, asked]).toEqual(["done", ["a", "b", "c"]]);
});

test("that nobody was reached is told only where that is so", async () => {
  const all = (...codes: ErrorCode[]) =>
    codeOf(askAny(codes.map(String), (code) => fails(code as ErrorCode), { signal, besideMs: Infinity }));
  expect(await all("UNAVAILABLE", "UNAVAILABLE")).toBe("UNAVAILABLE");
  expect(await all("TIMEOUT", "UNAVAILABLE")).toBe("TIMEOUT");
  expect(await all("UNAVAILABLE", "OUTCOME_UNKNOWN", "UNAVAILABLE")).toBe("OUTCOME_UNKNOWN");
});

test("what one refuses the others are not asked", async () => {
  const asked: string[] = [];
  const refused = askAny(
    ["a", "b"],
    (address) => {
      asked.push(address);
      return fails("FORBIDDEN");
    },
    { signal, besideMs: Infinity },
  );
  expect([await codeOf(refused), asked]).toEqual(["FORBIDDEN", ["a"]]);
});

test("it ends with its signal", async () => {
  const stop = new AbortController();
  const asked = askAny(["a", "b"], (_address, of) => silent(of), { signal: stop.signal, besideMs: 1 });
  setTimeout(() => stop.abort(), 10);
  expect(await codeOf(asked)).toBe("TIMEOUT");
});
