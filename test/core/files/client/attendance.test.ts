import { expect, test } from "bun:test";
import { attend } from "../../../../core/files/client/attendance.ts";
import { Changed } from "../../../../core/files/client/results.ts";
import { DvsError } from "../../../../core/errors.ts";

/** What it is told of its losses, while its words are answered so. */
async function attending(ttlMs: number, answers: (() => Promise<void>)[]): Promise<number> {
  const stop = new AbortController();
  let lost = 0;
  const operate = async () => {
    const answer = answers.shift();
    if (answers.length === 0) stop.abort();
    await answer?.();
  };
  await attend({ ttlMs, operate, lost: () => lost++, signal: stop.signal });
  return lost;
}

const heard = () => Promise.resolve();
const unheard = () => Promise.reject(new DvsError("UNAVAILABLE", "no replica answers"));
const changed = () => Promise.reject(new Changed());
const heardLate = (ms: number) => () => Bun.sleep(ms);

test("a client that is heard in time has lost nothing", async () => {
  expect(await attending(60_000, [heardLate(5)])).toBe(0);
});

test("one that is being taken apart when it speaks again has lost what it had", async () => {
  expect(await attending(100, [heard, changed, changed, heard])).toBe(1);
});

test("so has, perhaps, one that was not heard for its time: all of it may have been taken already", async () => {
  expect(await attending(90, [heard, unheard, unheard, unheard, unheard, heard])).toBe(1);
  expect(await attending(30, [heard, heardLate(60), heard])).toBeGreaterThan(0);
});
