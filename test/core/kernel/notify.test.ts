import { describe, expect, test } from "bun:test";
import { endpointOf } from "../../../core/kernel/endpoint.ts";
import { Lab, places } from "./lab.ts";

describe.each(places)("%s", (_place, where) => {
  test("notifications come before messages, one for each source, with how often it has notified", () => {
    const { lab, near, far } = where();
    const [a, b, c] = [near.bind(), far.bind(), near.bind()];
    near.send(a, b, "message");
    for (const from of [a, c, a, a]) expect(near.machine.notify(from, b.endpoint)).toBe("OK");
    lab.settle();
    const first = far.taken(b)!;
    expect(first).toMatchObject({ source: a.endpoint, isNotification: true, isRequest: false, type: 0 });
    expect(far.taken(b)).toMatchObject({ source: c.endpoint, isNotification: true, body: 1 });
    expect(far.taken(b)).toMatchObject({ isNotification: false, body: "message" });
    expect(first.body).toBe(3);
    expect(far.taken(b)).toBeNull();
  });

  test("a notification wakes a receive from anybody or from its source, and no other", () => {
    const { lab, near, far } = where();
    const [a, b, c] = [near.bind(), far.bind(), near.bind()];
    const [ofC, ofA] = [far.receive(b, c), far.receive(b, a)];
    near.machine.notify(a, b.endpoint);
    lab.settle();
    expect([ofC.outcome, ofA.outcome]).toEqual([null, "OK"]);
    expect(ofA.result).toMatchObject({ body: 1 });
  });

  test("notifying never waits and holds no memory for what was not taken", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    for (let i = 0; i < 10_000; i++) near.machine.notify(a, b.endpoint);
    lab.settle();
    expect(a.underWay).toBe(0);
    expect(b.notifications.size).toBe(1);
    expect(far.taken(b)?.body).toBe(10_000);
  });

  test("what cannot be notified is told at once where it is known, and is lost where it is not", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    expect(near.machine.notify(a, endpointOf(60_000, 1))).toBe("NOT_BOUND");
    far.machine.unbind(b);
    lab.settle();
    near.machine.notify(a, b.endpoint);
    lab.settle();
    expect(near.machine.peers.outlets.size).toBe(0);
  });

  test("notifications of a process that has ended are still delivered: they said something", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    near.machine.notify(a, b.endpoint);
    lab.settle();
    near.machine.unbind(a);
    lab.settle();
    expect(far.taken(b)).toMatchObject({ source: a.endpoint, body: 1 });
  });
});

test("notifications to a full peer are counted together and follow when there is room", () => {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  const [a, b] = [near.bind(), far.bind()];
  near.jammed.add(far);
  near.machine.notify(a, b.endpoint);
  for (let i = 0; i < 1_000; i++) near.machine.notify(a, b.endpoint);
  lab.settle();
  const told = near.sent.filter((name) => name === "notify").length;
  near.unjam(far);
  lab.settle();
  expect(near.sent.filter((name) => name === "notify").length).toBeLessThanOrEqual(told + 1);
  expect(far.taken(b)?.body).toBe(1_001);
});
