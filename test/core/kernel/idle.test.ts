/** Kernels that are told the time only when they want to be: when something is due, or has come. */
import { expect, test } from "bun:test";
import { array, assert, integer, property } from "fast-check";
import { Call, callKinds } from "../../../core/kernel/call.ts";
import { Ticker } from "../../../core/kernel/ticker.ts";
import { TimerWheel } from "../../../core/kernel/timer-wheel.ts";
import {
  grantorAliveMs,
  kernelIdleTickMs,
  kernelTickMs,
  leaseMarginMs,
  linkGapMs,
  linkIdleTickMs,
} from "../../../core/limits.ts";
import { Lab, type LabKernel } from "./lab.ts";

/** Drives a Lab as core/kernel/ticker.ts drives a kernel; counts the ticks of each. */
class Sparse {
  readonly lab: Lab;
  readonly ticks = new Map<LabKernel, number>();
  readonly #nextMs = new Map<LabKernel, number>();

  constructor(lab: Lab) {
    this.lab = lab;
    for (const kernel of lab.kernels) {
      const { machine } = kernel;
      Object.assign(kernel, { wantTick: () => this.#at(kernel, lab.nowMs + kernelTickMs) });
      const arrived = machine.arrived.bind(machine);
      machine.arrived = (...message) => {
        machine.tick(lab.nowMs);
        arrived(...message);
        this.#arm(kernel);
      };
      this.#arm(kernel);
    }
  }

  run(ms: number): void {
    this.ticks.clear();
    const { lab } = this;
    lab.settle();
    for (const endMs = lab.nowMs + ms; lab.nowMs < endMs;) {
      lab.nowMs++;
      for (const kernel of lab.kernels) {
        if (!kernel.running || lab.nowMs < this.#nextMs.get(kernel)!) continue;
        this.ticks.set(kernel, (this.ticks.get(kernel) ?? 0) + 1);
        kernel.machine.tick(lab.nowMs);
        this.#arm(kernel);
      }
      lab.settle();
    }
  }

  #arm(kernel: LabKernel): void {
    const { nowMs } = this.lab;
    const inMs = Math.min(Math.max(kernel.machine.dueMs - nowMs, kernelTickMs), kernelIdleTickMs);
    this.#nextMs.set(kernel, nowMs + inMs);
  }
  #at(kernel: LabKernel, ms: number): void {
    this.#nextMs.set(kernel, Math.min(this.#nextMs.get(kernel)!, ms));
  }
}

test.each([1, 3])(
  "%d kernels that wait for nothing are told the time seldom, and never freeze by it",
  (count) => {
    const lab = new Lab(count);
    const sparse = new Sparse(lab);
    sparse.run(10_000);
    for (const kernel of lab.kernels) {
      expect(kernel.states).toEqual(["thaw"]);
      expect(sparse.ticks.get(kernel) ?? 0).toBeLessThan(10_000 / 100);
    }
  },
);

test("a kernel that waits for nothing is told the time so often that only a stop can look like one", () => {
  expect(2 * kernelIdleTickMs).toBeLessThanOrEqual(grantorAliveMs / 2);
  expect(linkIdleTickMs).toBeLessThan(linkGapMs);
  const lab = new Lab(2);
  const member = lab.kernels.find(({ machine }) => !machine.membership.isGrantor)!;
  member.machine.tick(lab.nowMs);
  // Asleep for its longest and stopped for as long again; then stopped for so long that it is known to be a stop.
  member.machine.tick((lab.nowMs += 2 * kernelIdleTickMs));
  expect(member.machine.frozen).toBe(false);
  member.machine.tick((lab.nowMs += grantorAliveMs / 2 + 1));
  expect(member.machine.frozen).toBe(true);
});

test("a member whose grantor falls silent freezes as soon as its lease wants it, whenever it had fallen asleep", () => {
  for (let offsetMs = 0; offsetMs < kernelIdleTickMs; offsetMs += 15) {
    const lab = new Lab(2);
    const sparse = new Sparse(lab);
    sparse.run(1_000 + offsetMs);
    const member = lab.kernels.find(({ machine }) => !machine.membership.isGrantor)!;
    lab.kernels.find((kernel) => kernel !== member)!.cut.add(member);
    while (!member.machine.frozen) sparse.run(1);
    const wantedMs = member.machine.membership.leaseEndsMs - leaseMarginMs;
    expect(lab.nowMs - wantedMs).toBeGreaterThanOrEqual(0);
    expect(lab.nowMs - wantedMs).toBeLessThanOrEqual(kernelTickMs);
  }
});

test("a time-out of a kernel that slept ends in time, also one that is set after it fell asleep", () => {
  const lab = new Lab(1);
  const [kernel] = lab.kernels as [LabKernel];
  const [a, b] = [kernel.bind(), kernel.bind()];
  const sparse = new Sparse(lab);
  for (const timeoutMs of [1, 63, 64, 300, 5_000]) {
    sparse.run(450);
    const call = kernel.sendrec(a, b, null, timeoutMs);
    sparse.run(timeoutMs - 1);
    expect(call.outcome).toBeNull();
    sparse.run(1 + 2 * kernelTickMs);
    expect(call.outcome).toBe("TIMED_OUT");
  }
  // It is not told the time always because of one that is far away.
  kernel.sendrec(a, b, null, 60_000);
  sparse.run(5_000);
  expect(sparse.ticks.get(kernel)!).toBeLessThan(5_000 / 50);
});

test("a wheel says when it has something to do: never too late for a call, and not for nothing for ever", () => {
  const timeouts = array(integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 20 });
  assert(
    property(integer({ min: 0, max: 1e9 }), timeouts, (startMs, timeoutsMs) => {
      const wheel = new TimerWheel(startMs);
      expect(wheel.dueMs).toBe(Infinity);
      const ends = new Map<Call, number>();
      for (const timeoutMs of timeoutsMs) {
        const call = new Call(callKinds.request, null, 1, 2, 0, null, 0);
        wheel.arm(call, timeoutMs);
        ends.set(call, startMs + timeoutMs);
      }
      expect(wheel.dueMs).toBe(startMs);
      wheel.tick(startMs, () => {});
      let looks = 0;
      for (let nowMs = startMs; ends.size > 0; looks++) {
        expect(wheel.dueMs).toBeGreaterThan(nowMs);
        nowMs = wheel.dueMs;
        wheel.tick(nowMs, (call) => {
          expect(ends.get(call)).toBe(nowMs);
          ends.delete(call);
        });
      }
      expect(wheel.dueMs).toBe(Infinity);
      expect(looks).toBeLessThanOrEqual(5 * timeoutsMs.length);
    }),
    { numRuns: 100 },
  );
});

test("a ticker that would sleep for long ticks soon after it was asked to", async () => {
  const ticked = Promise.withResolvers<void>();
  const ticker = new Ticker({
    ...{ tick: () => ticked.resolve(), dueInMs: () => Infinity, leastMs: 1, mostMs: 3_600_000 },
  });
  ticker.start();
  ticker.soon();
  await ticked.promise;
  ticker.stop();
});
