/** Credit: how much a kernel sends to a destination whose process does not take it, and who waits for whom. */
import { expect, test } from "bun:test";
import { processCallsMax, windowBytes, windowMessages } from "../../../core/limits.ts";
import { Lab } from "./lab.ts";

function apart() {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  return { lab, near, far, a: near.bind(), b: far.bind(), c: far.bind() };
}

test("at most a window of messages is under way to a process that takes none; the rest waits at the sender's", () => {
  const { lab, near, far, a, b } = apart();
  for (let i = 0; i < 5 * windowMessages; i++) near.send(a, b, i);
  lab.settle();
  expect(b.mailbox.length).toBe(windowMessages);
  const got: unknown[] = [];
  for (let call = far.taken(b); call; call = far.taken(b)) {
    got.push(call.body);
    expect(b.mailbox.length).toBeLessThanOrEqual(windowMessages);
  }
  expect(got).toEqual(Array.from({ length: 5 * windowMessages }, (_, i) => i));
});

test("the window is one of bytes, too, but one message always goes", () => {
  const { lab, near, far, a, b } = apart();
  const bytes = 200 * 1024;
  for (let i = 0; i < 6; i++) near.send(a, b, new Uint8Array(bytes).fill(i));
  lab.settle();
  expect(b.mailbox.length).toBe(Math.floor(windowBytes / bytes));
  const got = [];
  for (let call = far.taken(b); call; call = far.taken(b)) got.push((call.body as Uint8Array)[0]);
  expect(got).toEqual([0, 1, 2, 3, 4, 5]);
  // All of it can be had again.
  for (let i = 0; i < 6; i++) near.send(a, b, new Uint8Array(bytes));
  lab.settle();
  expect(b.mailbox.length).toBe(Math.floor(windowBytes / bytes));
});

test("each sending kernel has a window of its own", () => {
  const lab = new Lab(3);
  const b = lab.kernels[2]!.bind();
  for (const kernel of lab.kernels.slice(0, 2)) {
    const a = kernel.bind();
    for (let i = 0; i < 2 * windowMessages; i++) kernel.send(a, b, i);
  }
  lab.settle();
  expect(b.mailbox.length).toBe(2 * windowMessages);
});

test("a process that takes nothing delays nobody but its own callers", () => {
  const { lab, near, far, a, b, c } = apart();
  for (let i = 0; i < 10 * windowMessages; i++) near.send(a, b, i);
  const call = near.sendrec(a, c, "for another");
  lab.settle();
  far.reply(c, far.taken(c)!, "at once");
  lab.settle();
  expect(call.result?.body).toBe("at once");
});

test("a proxy without room stops new calls to that kernel, not answers to it, and not calls to others", () => {
  const lab = new Lab(3);
  const [near, full, other] = [lab.kernels[0]!, lab.kernels[1]!, lab.kernels[2]!];
  const [a, b, c] = [near.bind(), full.bind(), other.bind()];
  const fromFull = full.sendrec(b, a, "asks");
  const request = near.taken(a)!;
  for (const to of [b, c]) near.sendrec(a, to);
  lab.settle();
  near.jammed.add(full);
  near.send(a, b, "tells that it is full");
  const before = near.sent.filter((name) => name === "send").length;
  const waits = near.send(a, b, "waits");
  const goes = near.send(a, c, "goes");
  near.reply(a, request, "answer");
  lab.settle();
  expect(fromFull.result?.body).toBe("answer");
  expect(near.sent.filter((name) => name === "send").length).toBe(before + 1);
  expect(c.mailbox.length).toBe(2);
  near.unjam(full);
  lab.settle();
  expect(b.mailbox.length).toBe(3);
  expect([waits.outcome, goes.outcome]).toEqual([null, null]);
});

test("what waits in a kernel is bounded by the calls that its processes may have", () => {
  const { lab, near, a, b } = apart();
  const calls = Array.from({ length: processCallsMax + 10 }, () => near.send(a, b));
  lab.settle();
  expect(calls.filter((call) => call.outcome === "BUSY").length).toBe(10);
});

test("a destination that nobody calls any more is forgotten once there are many, and found again", () => {
  const { lab, near, far, a, b } = apart();
  const { peers } = near.machine;
  for (let i = 0; i < 3; i++) {
    const call = near.sendrec(a, b, i);
    far.reply(b, far.taken(b)!, i);
    lab.settle();
    expect(call.result?.body).toBe(i);
    expect(peers.outlets.get(b.endpoint)?.isIdle).toBe(true);
    peers.outlets.clear();
  }
});
