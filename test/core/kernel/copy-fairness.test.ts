/** Copies share the way to another kernel, with each other and with calls. */
import { expect, test } from "bun:test";
import { type KernelMessage, messageTable } from "../../../core/kernel/messages.ts";
import { copyFrameBytes } from "../../../core/limits.ts";
import { Lab, type LabKernel } from "./lab.ts";

/** Two kernels, the far one with a buffer that is open to all; frames of `copies` writes into it are counted. */
function apart(copies: number, frames: number) {
  const lab = new Lab(2);
  const [near, far] = lab.kernels as [LabKernel, LabKernel];
  const owner = far.bind();
  const buffer = new Uint8Array(frames * copyFrameBytes);
  const id = far.machine.grant(owner, { buffer, access: "write", grantee: -1 });
  const callers = Array.from({ length: copies }, () => near.bind());
  // So that the way to the owner is known.
  near.sendrec(callers[0]!, owner);
  lab.settle();
  far.taken(owner);
  const sent = new Map(callers.map(({ endpoint }) => [endpoint, 0]));
  const begin = () =>
    callers.map((caller) =>
      near.machine.copy(caller, {
        ...{ direction: "write", owner: owner.endpoint, grant: id, offset: 0 },
        buffer: new Uint8Array(buffer.byteLength),
      }),
    );
  const count = (message: KernelMessage): void => {
    const [, source] = message as KernelMessage<"data">;
    sent.set(source, sent.get(source)! + 1);
  };
  return { lab, near, far, owner, callers, sent, begin, count };
}

test("copies for which there is not room at once get the same share of it, whoever began first", () => {
  const copies = 12;
  const { lab, near, far, sent, begin, count } = apart(copies, 40);
  const roomFrames = 5;
  let room = roomFrames;
  const transmit = near.transmit.bind(near);
  near.transmit = (to, message) => {
    const more = transmit(to, message);
    if (message[0] !== messageTable.data.number) return more;
    count(message);
    return --room > 0;
  };
  const calls = begin();
  lab.settle();
  while (calls.some((call) => call.outcome === null)) {
    const counts = [...sent.values()];
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(3);
    room = roomFrames;
    near.machine.writable(far.id, "bulk");
    lab.settle();
  }
  expect(calls.every((call) => call.outcome === "OK")).toBe(true);
});

test("calls do not wait for copies that wait for room, nor copies for calls", () => {
  const { lab, near, far, owner, callers, begin } = apart(1, 10);
  const transmit = near.transmit.bind(near);
  let jammed: "calls" | "bulk" = "bulk";
  near.transmit = (to, message) => {
    transmit(to, message);
    return (message[0] === messageTable.data.number ? "bulk" : "calls") !== jammed;
  };
  const [copy] = begin();
  lab.settle();
  expect(copy!.outcome).toBeNull();
  const calls = [1, 2, 3].map((body) => near.send(callers[0]!, owner, body));
  lab.settle();
  expect([1, 2, 3].map(() => far.taken(owner)?.body)).toEqual([1, 2, 3]);
  lab.settle();
  expect(calls.every((call) => call.outcome === "OK")).toBe(true);
  jammed = "calls";
  near.machine.writable(far.id, "bulk");
  lab.settle();
  expect(copy!.outcome).toBe("OK");
});
