/** Time-outs and cancellation: which of TIMED_OUT, CANCELLED and OUTCOME_UNKNOWN a caller is told. */
import { describe, expect, test } from "bun:test";
import { cancelGraceMs, kernelTickMs, windowMessages } from "../../../core/limits.ts";
import { Lab, places } from "./lab.ts";

/** A time-out counts from the first tick after the call, and is found by the first tick after it. */
const lateMs = 2 * kernelTickMs;

describe.each(places)("%s", (_place, where) => {
  test("a call that nobody takes ends with TIMED_OUT, not before its time, and is taken by nobody afterwards", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const calls = [near.send(a, b, 1, 500), near.sendrec(a, b, 2, 500)];
    lab.run(490);
    expect(calls.map((call) => call.outcome)).toEqual([null, null]);
    lab.run(10 + lateMs + cancelGraceMs);
    expect(calls.map((call) => call.outcome)).toEqual(["TIMED_OUT", "TIMED_OUT"]);
    expect(far.taken(b)).toBeNull();
    expect(a.underWay).toBe(0);
  });

  test("a request that was taken and not answered in time is OUTCOME_UNKNOWN; its reply comes too late", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const call = near.sendrec(a, b, 1, 500);
    const request = far.taken(b)!;
    lab.run(500 + lateMs + cancelGraceMs);
    expect(call.outcome).toBe("OUTCOME_UNKNOWN");
    expect(far.reply(b, request)).toBe("NOT_WAITING");
    expect(b.open.length).toBe(0);
  });

  test("cancelling what was not taken ends with CANCELLED, what was taken with OUTCOME_UNKNOWN", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const taken = near.sendrec(a, b, 1);
    expect(far.taken(b)?.body).toBe(1);
    const waiting = [near.send(a, b, 2), near.sendrec(a, b, 3)];
    lab.settle();
    for (const call of [taken, ...waiting]) near.machine.cancel(a, call);
    lab.settle();
    expect([taken, ...waiting].map((call) => call.outcome)).toEqual([
      "OUTCOME_UNKNOWN",
      "CANCELLED",
      "CANCELLED",
    ]);
    expect(far.taken(b)).toBeNull();
  });

  test("cancelling a call that is over changes nothing, nor does another process that cancels it", () => {
    const { lab, near, far } = where();
    const [a, b, c] = [near.bind(), far.bind(), near.bind()];
    const call = near.sendrec(a, b, 1);
    near.machine.cancel(c, call);
    lab.settle();
    expect(call.outcome).toBeNull();
    far.reply(b, far.taken(b)!, 2);
    lab.settle();
    near.machine.cancel(a, call);
    lab.settle();
    expect(call).toMatchObject({ outcome: "OK", result: { body: 2 } });
  });

  test("a receive that times out or is cancelled takes nothing any more", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const [late, cancelled] = [far.receive(b, -1, 100), far.receive(b)];
    far.machine.cancel(b, cancelled);
    lab.run(100 + lateMs);
    expect([late.outcome, cancelled.outcome]).toEqual(["TIMED_OUT", "CANCELLED"]);
    near.send(a, b, "for the next");
    expect(far.taken(b)?.body).toBe("for the next");
  });

  test("a timeout of 0 takes what is there: a receive, and on one kernel a send to whoever waits", () => {
    const { near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    expect(far.receive(b, -1, 0).outcome).toBe("TIMED_OUT");
    if (near !== far) return;
    expect(near.send(a, b, 1, 0).outcome).toBe("TIMED_OUT");
    const receive = far.receive(b);
    expect(near.send(a, b, 2, 0).outcome).toBe("OK");
    expect(receive.result?.body).toBe(2);
  });

  test("a call that ends in time is not ended again by its time-out", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const call = near.sendrec(a, b, 1, 50);
    far.reply(b, far.taken(b)!, "in time");
    lab.settle();
    lab.run(200);
    expect(call).toMatchObject({ outcome: "OK", result: { body: "in time" } });
    expect(near.machine.timers.length).toBe(0);
  });
});

function apart() {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  const [a, b] = [near.bind(), far.bind()];
  const first = near.sendrec(a, b);
  far.reply(b, far.taken(b)!);
  lab.settle();
  expect(first.outcome).toBe("OK");
  return { lab, near, far, a, b };
}

test("when no word comes whether it was taken, the outcome is unknown, after the grace and not before", () => {
  const { lab, near, far, a, b } = apart();
  const call = near.send(a, b, 1, 100);
  lab.settle();
  near.cut.add(far);
  lab.run(100 + lateMs);
  expect(call.outcome).toBeNull();
  lab.run(cancelGraceMs + lateMs);
  expect(call.outcome).toBe("OUTCOME_UNKNOWN");
});

test("a cancellation and the word that it was taken cross: OUTCOME_UNKNOWN for a request, OK for a send", () => {
  const { lab, near, far, a, b } = apart();
  const calls = [near.send(a, b, 1), near.sendrec(a, b, 2)];
  lab.settle();
  far.cut.add(near);
  far.receive(b);
  far.receive(b);
  lab.settle();
  for (const call of calls) near.machine.cancel(a, call);
  lab.settle();
  far.cut.clear();
  lab.settle();
  expect(calls.map((call) => call.outcome)).toEqual(["OK", "OUTCOME_UNKNOWN"]);
});

test("a call that waits for room in its own kernel has not left it: it ends with TIMED_OUT at once", () => {
  const { lab, near, far, a, b } = apart();
  near.cut.add(far);
  const calls = Array.from({ length: windowMessages + 1 }, (_, i) =>
    near.send(a, b, i, i === windowMessages ? 100 : undefined),
  );
  lab.run(100 + lateMs);
  expect(calls.map((call) => call.outcome)).toEqual([...calls.slice(1).map(() => null), "TIMED_OUT"]);
});
