import { expect, test } from "bun:test";
import { Mailbox } from "../../../core/coordinator/mailbox.ts";
import { codeOf } from "./lab.ts";

test("take() gives values in the order of their last put, each key once", async () => {
  const mailbox = new Mailbox<[string, number]>({ key: ([k]) => k, max: 10 });
  for (const value of [
    ["a", 1],
    ["b", 2],
    ["a", 3],
  ] as [string, number][])
    mailbox.put(value);
  expect(await mailbox.take(0)).toEqual(["b", 2]);
  expect(await mailbox.take(0)).toEqual(["a", 3]);
  expect(await mailbox.take(0)).toBeUndefined();
});

test("a put wakes a take() that waits, and one between two takes is not lost", async () => {
  const mailbox = new Mailbox<number>({ max: 10 });
  const waiting = mailbox.take(60_000);
  mailbox.put(1);
  mailbox.put(2);
  expect(await waiting).toBe(1);
  expect(await mailbox.take(60_000)).toBe(2);
});

test("a put in the very turn in which the time ends is not lost", async () => {
  const mailbox = new Mailbox<number>({ max: 10 });
  let taken = 0;
  let put = 0;
  // The timer of take() and this one fire in the same turn, in either order.
  for (let i = 0; i < 50; i++) {
    setTimeout(() => mailbox.put(++put), 1);
    if ((await mailbox.take(1)) !== undefined) taken++;
  }
  while ((await mailbox.take(20)) !== undefined) taken++;
  expect(taken).toBe(put);
  expect(put).toBe(50);
});

test("what waits at close() is still taken, then null; puts after it are nobody's", async () => {
  const mailbox = new Mailbox<number>({ max: 10 });
  mailbox.put(1);
  mailbox.close();
  mailbox.put(2);
  expect(await mailbox.take(60_000)).toBe(1);
  expect(await mailbox.take(60_000)).toBeNull();
});

test("close() wakes a take() that waits", async () => {
  const mailbox = new Mailbox<number>({ max: 10 });
  const waiting = mailbox.take(60_000);
  mailbox.close();
  expect(await waiting).toBeNull();
});

test("a reader that falls too far behind gets an error, never a gap", async () => {
  const mailbox = new Mailbox<number>({ max: 2 });
  for (const n of [1, 2, 3, 4]) mailbox.put(n);
  expect(mailbox.size).toBe(0);
  expect(await codeOf(mailbox.take(0))).toBe("UNAVAILABLE");
});

test("send() waits for room, in order, and close() sends its writers home", async () => {
  const mailbox = new Mailbox<number>({ max: 1 });
  const sent: number[] = [];
  const writer = async () => {
    for (let n = 1; await mailbox.send(n); n++) sent.push(n);
    return "home";
  };
  const ended = Promise.all([writer(), writer()]);
  const taken: unknown[] = [];
  for (let i = 0; i < 6; i++) taken.push(await mailbox.take(60_000));
  expect(taken).toEqual([1, 1, 2, 2, 3, 3]);
  expect(mailbox.size).toBeLessThanOrEqual(1);
  mailbox.close();
  expect(await ended).toEqual(["home", "home"]);
});
