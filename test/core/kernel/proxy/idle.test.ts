/** Links that are told the time only when something is due. */
import { expect, test } from "bun:test";
import { linkIdleTickMs, linkSilentMs, linkTickMs } from "../../../../core/limits.ts";
import { Lab, type LabWire, taken } from "./lab.ts";

/** The proxies of kernels, told the time as core/kernel/ticker.ts does; returns how often. */
function runSparsely(lab: Lab, ms: number, kernels = [...lab.kernels.values()]): number {
  const due = new Map(kernels.map((kernel) => [kernel, lab.nowMs]));
  let ticks = 0;
  for (const endMs = lab.nowMs + ms; lab.nowMs < endMs;) {
    lab.nowMs++;
    for (const kernel of kernels) {
      const { proxies } = kernel;
      // As when something has come.
      proxies.look(lab.nowMs);
      if (lab.nowMs < due.get(kernel)!) continue;
      proxies.tick(lab.nowMs);
      ticks++;
      due.set(kernel, lab.nowMs + Math.min(Math.max(proxies.dueInMs, linkTickMs), linkIdleTickMs));
    }
    lab.settle();
  }
  return ticks;
}

test("links that carry nothing are told the time seldom, and stand", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  const ticks = runSparsely(lab, 10_000);
  expect(ticks).toBeLessThan((2 * 10_000) / 100);
  for (const channel of [a.channel(2), b.channel(1)]) {
    expect(channel.link).not.toBeNull();
    expect(channel.counters).toMatchObject({ links: 1, silent: 0, broken: 0 });
  }
});

test("what has come is acknowledged soon, though nothing else is due", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  expect(b.proxies.dueInMs).toBeGreaterThan(linkTickMs);
  b.wantedTicks = 0;
  a.proxies.transmit(2, taken(1));
  lab.settle();
  expect(b.wantedTicks).toBeGreaterThan(0);
  expect(b.proxies.dueInMs).toBeLessThanOrEqual(0);
  b.proxies.tick(lab.nowMs);
  lab.settle();
  expect(a.channel(2).outbox.acknowledged).toBe(1);
});

test("a peer that falls silent is given up in time", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  b.proxies.transmit(1, taken(1));
  lab.settle();
  const { link } = a.channel(2);
  const wire = link!.wire as LabWire;
  wire.far.user = null;
  runSparsely(lab, linkSilentMs - 3 * linkTickMs, [a]);
  expect(link!.isClosed).toBe(false);
  runSparsely(lab, 4 * linkTickMs, [a]);
  expect(link!.isClosed).toBe(true);
});
