/** grant and copy. */
import { describe, expect, test } from "bun:test";
import type { Call } from "../../../core/kernel/call.ts";
import { ANY, type Endpoint, endpointOf } from "../../../core/kernel/endpoint.ts";
import type { Proc } from "../../../core/kernel/proc.ts";
import { copyFrameBytes, copyOutstandingBytes, processGrantsMax } from "../../../core/limits.ts";
import { Lab, type LabKernel, places } from "./lab.ts";

type Access = "read" | "write" | "both";

function grant(
  kernel: LabKernel,
  owner: Proc,
  buffer: Uint8Array,
  access: Access = "both",
  grantee: Endpoint = ANY,
) {
  return kernel.machine.grant(owner, { buffer, access, grantee });
}
function copy(
  kernel: LabKernel,
  direction: "read" | "write",
  caller: Proc,
  owner: Proc | Endpoint,
  grant: number,
  buffer: Uint8Array,
  offset = 0,
  timeoutMs?: number,
): Call {
  const of = typeof owner === "number" ? owner : owner.endpoint;
  return kernel.machine.copy(caller, { direction, owner: of, grant, offset, buffer }, timeoutMs);
}
function numbered(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));
}

const lengths = [0, 1, 1_000, copyFrameBytes, 5 * copyFrameBytes + 3];

describe.each(places)("%s", (_place, where) => {
  test.each(lengths)("%i bytes are read and written whole", (length: number) => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const theirs = numbered(length);
    const id = grant(far, b, theirs);
    const into = new Uint8Array(length);
    const read = copy(near, "read", a, b, id, into);
    lab.settle();
    expect(read).toMatchObject({ outcome: "OK", result: { body: length } });
    expect(into).toEqual(theirs);
    const mine = numbered(length).reverse();
    const write = copy(near, "write", a, b, id, mine);
    lab.settle();
    expect(write.outcome).toBe("OK");
    expect(theirs).toEqual(mine);
    expect([a.underWay, a.copies, b.copies]).toEqual([0, 0, 0]);
    expect(near.machine.copies.streams.size + far.machine.copies.streams.size).toBe(0);
  });

  test("a copy touches its range of the grant and nothing beside it", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const memory = new Uint8Array(100);
    const id = grant(far, b, memory.subarray(10, 90));
    copy(near, "write", a, b, id, new Uint8Array(5).fill(9), 20);
    lab.settle();
    expect([...memory.keys()].filter((i) => memory[i] !== 0)).toEqual([30, 31, 32, 33, 34]);
  });

  test("what the owner has not opened cannot be copied", () => {
    const { lab, near, far } = where();
    const [a, b, c] = [near.bind(), far.bind(), near.bind()];
    const buffer = new Uint8Array(100);
    const readOnly = grant(far, b, buffer, "read");
    const forC = grant(far, b, buffer, "both", c.endpoint);
    const revoked = grant(far, b, buffer);
    far.machine.revoke(b, revoked);
    const ten = new Uint8Array(10).fill(1);
    const calls = [
      copy(near, "write", a, b, readOnly, ten),
      copy(near, "read", a, b, forC, ten),
      copy(near, "read", a, b, revoked, ten),
      copy(near, "read", a, b, 99, ten),
      copy(near, "read", a, b, readOnly, ten, 91),
      copy(near, "read", a, b, readOnly, ten, Number.MAX_SAFE_INTEGER),
      copy(near, "read", c, b, forC, new Uint8Array(101)),
    ];
    const allowed = copy(near, "read", c, b, forC, new Uint8Array(100));
    lab.settle();
    expect(calls.map((call) => call.outcome)).toEqual(calls.map(() => "NO_GRANT"));
    expect(allowed.outcome).toBe("OK");
    expect(buffer.every((byte) => byte === 0)).toBe(true);
  });

  test("a copy with a process that has ended is DIED, with one that never was NOT_BOUND", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const id = grant(far, b, new Uint8Array(10));
    far.machine.unbind(b);
    const died = copy(near, "read", a, b, id, new Uint8Array(10));
    const never = copy(near, "read", a, endpointOf(60_000, 1), id, new Uint8Array(10));
    lab.settle();
    expect([died.outcome, never.outcome]).toEqual(["DIED", "NOT_BOUND"]);
    expect(a.underWay).toBe(0);
  });

  test("a process has so many grants at most", () => {
    const { near } = where();
    const a = near.bind();
    const buffer = new Uint8Array(1);
    const ids = Array.from({ length: processGrantsMax }, () => grant(near, a, buffer));
    expect(new Set(ids).size).toBe(processGrantsMax);
    expect(grant(near, a, buffer)).toBe(0);
    near.machine.revoke(a, ids[0]!);
    expect(grant(near, a, buffer)).toBeGreaterThan(0);
  });
});

function apart() {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  const [a, b] = [near.bind(), far.bind()];
  // So that what follows is about the copy alone.
  near.sendrec(a, b);
  lab.settle();
  return { lab, near, far, a, b };
}

test("a copy is never further ahead of the other side than its bound", () => {
  const { lab, near, far, a, b } = apart();
  const id = grant(far, b, new Uint8Array(40 * copyFrameBytes));
  near.cut.add(far);
  const write = copy(near, "write", a, b, id, numbered(40 * copyFrameBytes));
  lab.run(50);
  expect(near.held.filter((name) => name === "data").length).toBe(copyOutstandingBytes / copyFrameBytes);
  near.cut.clear();
  lab.settle();
  expect(write.outcome).toBe("OK");
});

test("a copy waits for a proxy without room, and goes on", () => {
  const { lab, near, far, a, b } = apart();
  const id = grant(far, b, new Uint8Array(10 * copyFrameBytes));
  near.jammed.add(far);
  const write = copy(near, "write", a, b, id, numbered(10 * copyFrameBytes));
  lab.settle();
  const sent = near.sent.filter((name) => name === "data").length;
  expect(sent).toBeLessThan(10);
  near.unjam(far);
  lab.settle();
  expect(write.outcome).toBe("OK");
});

test("a write that is given up on its way is OUTCOME_UNKNOWN, a read has done nothing: TIMED_OUT", () => {
  const { lab, near, far, a, b } = apart();
  const theirs = new Uint8Array(4 * copyFrameBytes);
  const id = grant(far, b, theirs);
  near.cut.add(far);
  const write = copy(near, "write", a, b, id, numbered(4 * copyFrameBytes), 0, 50);
  const read = copy(near, "read", a, b, id, new Uint8Array(10), 0, 50);
  const cancelled = copy(near, "read", a, b, id, new Uint8Array(10));
  lab.settle();
  near.machine.cancel(a, cancelled);
  lab.run(100);
  expect([write, read, cancelled].map((call) => call.outcome)).toEqual([
    "OUTCOME_UNKNOWN",
    "TIMED_OUT",
    "CANCELLED",
  ]);
  near.cut.clear();
  lab.settle();
  expect(near.machine.copies.streams.size + far.machine.copies.streams.size).toBe(0);
});

test("nothing is put into a caller's buffer after its copy is over", () => {
  const { lab, near, far, a, b } = apart();
  const id = grant(far, b, numbered(100));
  const into = new Uint8Array(100);
  far.cut.add(near);
  const read = copy(near, "read", a, b, id, into, 0, 20);
  lab.run(50);
  expect(read.outcome).toBe("TIMED_OUT");
  far.cut.clear();
  lab.settle();
  expect(into.every((byte) => byte === 0)).toBe(true);
});

test("an owner that ends while bytes are on their way: DIED; its kernel removed: DIED", () => {
  for (const end of ["unbind", "die"] as const) {
    const { lab, near, far, a, b } = apart();
    const id = grant(far, b, numbered(40 * copyFrameBytes));
    near.jammed.add(far);
    const write = copy(near, "write", a, b, id, numbered(40 * copyFrameBytes));
    lab.settle();
    if (end === "die") far.die();
    else far.machine.unbind(b);
    lab.settle();
    near.unjam(far);
    lab.settle();
    expect(write.outcome).toBe("DIED");
    expect(near.machine.copies.streams.size).toBe(0);
  }
});

test("a caller that ends while bytes are on their way leaves nothing at the owner's", () => {
  const { lab, near, far, a, b } = apart();
  const id = grant(far, b, new Uint8Array(40 * copyFrameBytes));
  near.jammed.add(far);
  copy(near, "write", a, b, id, numbered(40 * copyFrameBytes));
  lab.settle();
  near.machine.unbind(a);
  near.unjam(far);
  lab.settle();
  expect(far.machine.copies.streams.size).toBe(0);
  expect(b.copies).toBe(0);
});
