import { expect, test } from "bun:test";
import { encodeLink } from "../../../../core/kernel/proxy/link-codec.ts";
import { wireRows } from "../../../../core/kernel/proxy/rows.ts";
import {
  copyFrameBytes,
  frameBlockBytes,
  gatherFramesMax,
  linkBytesHigh,
  linkFramesHigh,
  linkHandshakeMs,
  linkSilentMs,
  linkTickMs,
  messageBytesMax,
  strangersMax,
} from "../../../../core/limits.ts";
import { beacon, data, Lab, type LabKernel, LabWire, memberOf, request, taken, trusting } from "./lab.ts";

test("messages arrive in order, bodies whole, on both channels", () => {
  const [lab, a, b] = Lab.pair();
  a.proxies.transmit(2, taken(1));
  lab.run(200);
  const body = { list: [1, -2.5, "ü", null, true], bytes: new Uint8Array([1, 2, 3]) };
  const big = new Uint8Array(messageBytesMax).fill(9);
  a.proxies.transmit(2, request(2, body));
  a.proxies.transmit(2, request(3, big));
  a.proxies.transmit(2, data(4, new Uint8Array(copyFrameBytes).fill(5)));
  b.proxies.transmit(1, taken(7));
  lab.settle();
  expect(b.numbers().toSorted((x, y) => x - y)).toEqual([1, 2, 3, 4]);
  expect(b.received.find((m) => m[2] === 2)?.[7]).toEqual(body);
  expect(b.received.find((m) => m[2] === 3)?.[7]).toEqual(big);
  expect(a.numbers()).toEqual([7]);
});

test("only one of two kernels dials when nothing is wrong", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(1_000);
  expect(a.channel(2).counters).toMatchObject({ links: 1, duplicates: 0 });
  expect(b.channel(1).counters).toMatchObject({ links: 1, duplicates: 0 });
  expect(a.channel(2).link?.role).toBe("dialler");
});

test("when both dial at once, the dial of the lower number stands, on both sides and for good", () => {
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const [lab, a, b] = Lab.pair();
    lab.tick(100);
    const dials = [a, b].map((kernel) => kernel.dials.splice(0).find((dial) => dial.channel === "calls")!);
    expect(dials).toHaveLength(2);
    const wires = order.map((i) => lab.letThrough(dials[i]!));
    // Both connections get as far as they can, step by step.
    for (let i = 0; i < 8; i++) for (const wire of wires) for (const end of [wire, wire.far]) end.pump();
    lab.run(2_000);
    expect(a.channel(2).link).toMatchObject({ role: "dialler", attempt: 1 });
    expect(b.channel(1).link).toMatchObject({ role: "acceptor", attempt: 1 });
  }
});

test("a dial of the peer replaces a connection that the peer has taken and lost", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  const old = a.channel(2).link!;
  // Only b hears that it broke; a still believes in it.
  const far = b.channel(1).link!.wire as LabWire;
  far.user!.onClose();
  far.user = null;
  lab.run(200);
  expect(a.channel(2).link).not.toBe(old);
  expect(a.channel(2).link?.role).toBe("acceptor");
  b.proxies.transmit(1, taken(1));
  lab.settle();
  expect(a.numbers()).toEqual([1]);
});

test("a dial that was on its way for long does not replace a later one", () => {
  for (const dialler of [1, 2]) {
    const [lab, a, b] = Lab.pair();
    const by = dialler === 1 ? a : b;
    const to = dialler === 1 ? b : a;
    lab.tick(100);
    // The first one is on its way, and the other kernel's do not get through.
    const late = by.channel(to.proxies.self.kernel).hello(1);
    by.dials = [];
    const [standing] = stand(lab, by, to);
    const wire = new LabWire();
    wire.user = to.proxies.accept(wire, trusting);
    wire.user!.onData(encodeLink(late));
    expect(to.channel(dialler).link).toBe(standing!);
    expect(wire.ended).toBe("close");
  }
});

/** Until they are linked by a dial of `by`; the link on the side of `to`. */
function stand(lab: Lab, by: LabKernel, to: LabKernel) {
  const channel = to.channel(by.proxies.self.kernel);
  for (let i = 0; i < 500 && !channel.link; i++) {
    lab.tick();
    to.dials = [];
    lab.settle();
  }
  return [channel.link];
}

test("what was under way when a connection broke arrives once, over the next", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  for (let i = 1; i <= 10; i++)
    a.proxies.transmit(2, i % 3 === 0 ? request(i, new Uint8Array(20_000)) : taken(i));
  lab.settle();
  for (let i = 11; i <= 20; i++) a.proxies.transmit(2, taken(i));
  a.proxies.flush();
  (a.channel(2).link!.wire as LabWire).cut();
  expect(b.numbers()).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  for (let i = 21; i <= 25; i++) a.proxies.transmit(2, taken(i));
  lab.run(500);
  expect(b.numbers()).toEqual(Array.from({ length: 25 }, (_, i) => i + 1));
  expect(a.channel(2).counters).toMatchObject({ resumes: 1, broken: 1 });
  // Both sides said what they had.
  expect(b.channel(1).counters.repeats).toBe(0);
  expect(a.channel(2).outbox.bytes).toBe(0);
});

test("the first message of a turn leaves at once, then so many together, the rest at its end", () => {
  const [lab, a] = Lab.pair();
  lab.run(200);
  const wire = a.channel(2).link!.wire as LabWire;
  for (let i = 1; i <= gatherFramesMax; i++) a.proxies.transmit(2, taken(i));
  expect(wire.sent).toHaveLength(1);
  a.proxies.transmit(2, taken(0));
  expect(wire.sent).toHaveLength(2);
  a.proxies.transmit(2, taken(0));
  expect(wire.sent).toHaveLength(2);
  a.proxies.flush();
  expect(wire.sent).toHaveLength(3);
});

test("answers that are made while a chunk is read leave in one write, with an acknowledgement", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  for (let i = 1; i <= 50; i++) a.proxies.transmit(2, taken(i));
  a.proxies.flush();
  const wire = b.channel(1).link!.wire as LabWire;
  const chunk = Buffer.concat((a.channel(2).link!.wire as LabWire).sent.splice(0));
  const { push } = b.received;
  b.received.push = (...messages) => {
    b.proxies.transmit(1, messages[0]!);
    return push.apply(b.received, messages);
  };
  wire.user!.onData(chunk);
  const [answers, ...more] = wire.sent;
  expect(answers!.length).toBeGreaterThan(50 * 8);
  expect(more).toEqual([]);
  lab.run(200);
  expect(b.channel(1).outbox.acknowledged).toBe(50);
  expect(a.channel(2).outbox.acknowledged).toBe(50);
});

test("frames of copies leave together, but one by one while there are calls", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  const wire = a.channel(2, "bulk").link!.wire as LabWire;
  const writes = (): number => {
    const from = b.channel(1, "bulk").link!.wire as LabWire;
    for (let i = 1; i <= 2; i++) b.proxies.transmit(1, data(i, new Uint8Array(1)));
    b.proxies.flush();
    const chunk = Buffer.concat(from.sent.splice(0));
    wire.user!.onData(chunk);
    return wire.sent.splice(0).length;
  };
  // Each is answered with one, as a copy's data with its acknowledgement.
  const { push } = a.received;
  a.received.push = (...messages) => {
    a.proxies.transmit(2, data(1, new Uint8Array(1)));
    return push.apply(a.received, messages);
  };
  expect(writes()).toBe(1);
  a.proxies.flush();
  a.channel(2).outbox.add(wireRows[taken(1)[0]]!, taken(1));
  a.proxies.tick(lab.nowMs);
  wire.sent.length = 0;
  expect(writes()).toBe(2);
  a.proxies.flush();
  a.proxies.tick(lab.nowMs);
  wire.sent.length = 0;
  expect(writes()).toBe(1);
});

test("a peer that does not read costs one block in the wire and a bounded outbox; then no new calls are wanted", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  const wire = a.channel(2, "bulk").link!.wire as LabWire;
  wire.stuck = true;
  const frame = new Uint8Array(copyFrameBytes);
  let sent = 0;
  while (a.proxies.transmit(2, data(++sent, frame))) if (sent > 1_000) break;
  a.proxies.flush();
  const { outbox } = a.channel(2, "bulk");
  expect(outbox.bytes).toBeLessThanOrEqual(linkBytesHigh + copyFrameBytes + 200);
  expect(wire.queued).toBeLessThanOrEqual(frameBlockBytes + copyFrameBytes + 200);
  // Answers are taken all the same.
  expect(a.proxies.transmit(2, data(++sent, frame))).toBe(false);
  expect(a.writable).toBe(0);
  wire.unstick();
  lab.run(100);
  expect(a.writable).toBe(1);
  expect(b.received).toHaveLength(sent);
});

test("small messages are bounded by their number", () => {
  const [lab, a] = Lab.pair();
  let sent = 0;
  while (a.proxies.transmit(2, taken(++sent))) if (sent > 2 * linkFramesHigh) break;
  expect(sent).toBe(linkFramesHigh);
  lab.run(200);
  expect(a.writable).toBe(1);
});

test("room that a handshake makes is told of, too", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  for (let i = 1; a.proxies.transmit(2, taken(i));) i++;
  a.proxies.flush();
  const wire = a.channel(2).link!.wire as LabWire;
  // Everything arrives, and no acknowledgement comes back.
  for (const bytes of wire.sent.splice(0)) wire.far.user!.onData(bytes);
  wire.cut();
  expect(a.writable).toBe(0);
  lab.run(500);
  expect(b.received).toHaveLength(linkFramesHigh);
  expect(a.writable).toBe(1);
});

test("a beacon is sent once or never; of several that wait the newest is sent", () => {
  const [lab, a, b] = Lab.pair();
  a.proxies.transmit(2, beacon(1));
  expect(a.channel(2).counters.looseDropped).toBe(1);
  lab.run(200);
  const wire = a.channel(2).link!.wire as LabWire;
  wire.stuck = true;
  for (let i = 1; i < 5_000; i++) a.proxies.transmit(2, taken(i));
  a.proxies.flush();
  a.proxies.transmit(2, beacon(2));
  a.proxies.flush();
  a.proxies.transmit(2, beacon(3));
  wire.unstick();
  lab.run(100);
  expect(b.received.filter((m) => m[0] === beacon(0)[0]).map((m) => m[1])).toEqual([3]);
  wire.cut();
  lab.run(500);
  expect(b.received.filter((m) => m[0] === beacon(0)[0])).toHaveLength(1);
});

test("a peer that is silent is given up; our own stop is not its silence", () => {
  const [lab, a] = Lab.pair();
  lab.run(200);
  const { link } = a.channel(2);
  // The whole process was stopped for a minute.
  lab.nowMs += 60_000;
  a.proxies.tick(lab.nowMs);
  expect(a.channel(2).link).toBe(link);
  lab.run(5_000);
  expect(a.channel(2).link).toBe(link);
  // Now nothing comes from the other one any more.
  for (let ms = 0; ms <= linkSilentMs + linkTickMs; ms += linkTickMs) {
    lab.nowMs += linkTickMs;
    a.proxies.tick(lab.nowMs);
  }
  expect(a.channel(2).link).toBeNull();
  expect(a.channel(2).counters.silent).toBe(1);
});

test("an end without a bye is a broken connection, one with it is not", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  b.proxies.remove(1);
  lab.settle();
  expect(a.channel(2).counters.broken).toBe(0);
  expect(a.channel(2).link).toBeNull();
  const [lab2, c] = Lab.pair();
  lab2.run(200);
  (c.channel(2).link!.wire as LabWire).user!.onEnd();
  expect(c.channel(2).counters.broken).toBe(1);
});

test("a peer that leaves the view has its connections closed, and what waits for it is dropped", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  const channel = a.channel(2);
  const wire = channel.link!.wire as LabWire;
  wire.stuck = true;
  for (let i = 1; i < 1_000; i++) a.proxies.transmit(2, taken(i));
  a.proxies.remove(2);
  expect(channel.outbox.bytes).toBe(0);
  expect(wire.ended).toBe("close");
  expect(a.proxies.transmit(2, taken(1))).toBe(true);
  expect(channel.transmit.length).toBe(2);
  lab.run(3_000);
  expect(a.dials).toEqual([]);
  // The other one still has it in its view, and is not welcome.
  expect(b.channel(1).link).toBeNull();
});

for (const [what, options, report] of [
  ["another instance", { instance: "i2" }, /stranger/],
  ["another incarnation", { incarnation: "incarnation-9" }, /stranger|identity/],
  ["no version in common", { protocol: 3, protocolMin: 2 }, /version/],
] as const) {
  test(`a kernel with ${what} is refused, and told why`, () => {
    const [lab, a, b] = Lab.pair({}, options);
    lab.run(3_000);
    expect(a.channel(2).link).toBeNull();
    expect(b.channel(1).link).toBeNull();
    expect([...a.reports, ...b.reports].join("\n")).toMatch(report);
  });
}

test("two versions meet at the highest that both speak", () => {
  const [lab, a, b] = Lab.pair({ protocol: 5, protocolMin: 2 }, { protocol: 3, protocolMin: 1 });
  lab.run(200);
  expect(a.channel(2).link?.protocol).toBe(3);
  expect(b.channel(1).link?.protocol).toBe(3);
});

test("a kernel that is not in the view yet is let in once it is", () => {
  const [lab, a, b] = Lab.pair();
  b.proxies.remove(1);
  a.proxies.transmit(2, taken(1));
  lab.run(1_000);
  expect(b.received).toEqual([]);
  b.proxies.add(memberOf(1));
  lab.run(2_000);
  expect(b.numbers()).toEqual([1]);
  expect([...a.reports, ...b.reports]).toEqual([]);
});

for (const part of ["hello", "welcome"] as const) {
  test(`a proof does not fit when a bit of the ${part} was changed on the way`, () => {
    const [lab, a, b] = Lab.pair();
    lab.tick();
    const dial = a.dials.splice(0).find((each) => each.channel === "calls")!;
    const near = lab.letThrough(dial);
    if (part === "hello") near.sent[0]![near.sent[0]!.length - 1]! ^= 1; // In the nonce.
    near.pump();
    if (part === "welcome") near.far.sent[0]![near.far.sent[0]!.length - 1]! ^= 1;
    lab.settle(false);
    expect(a.channel(2).link).toBeNull();
    expect(b.channel(1).link).toBeNull();
    expect([...a.reports, ...b.reports].join()).toMatch(/proof is not good/);
  });
}

test("a connection on which nobody proves anything is closed in time, and there are not too many of them", () => {
  const [lab, a] = Lab.pair();
  const wires = Array.from({ length: strangersMax }, () => new LabWire());
  for (const wire of wires) wire.user = a.proxies.accept(wire, trusting);
  expect(wires.every((wire) => wire.user !== null)).toBe(true);
  expect(a.proxies.accept(new LabWire(), trusting)).toBeNull();
  lab.tick(linkHandshakeMs + linkTickMs);
  expect(wires.every((wire) => wire.ended === "destroy")).toBe(true);
  expect(a.proxies.accept(new LabWire(), trusting)).not.toBeNull();
});

test("a stranger's large frame is refused before it is read", () => {
  const [, a] = Lab.pair();
  const wire = new LabWire();
  wire.user = a.proxies.accept(wire, trusting);
  wire.user!.onData(Uint8Array.of(2, 0, 255, 255, 1, 2, 3));
  expect(wire.closed).toBe(true);
});

test("what is not of the protocol closes the connection, is told to people, and is not tried again at once", () => {
  const [lab, a, b] = Lab.pair();
  lab.run(200);
  const wire = b.channel(1).link!.wire as LabWire;
  wire.user!.onData(Uint8Array.of(0, 0, 0, 6, 0, 0, 0, 1, 0x92, 0x3f));
  lab.settle();
  expect(b.reports.join()).toMatch(/kernel 1 has sent message 63/);
  expect(a.reports.join()).toMatch(/kernel 2 cannot read what we send/);
  expect(b.channel(1).counters.defects).toBe(1);
  expect(a.channel(2).link).toBeNull();
});
