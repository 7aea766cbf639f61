/** send, receive, sendrec, reply, receiveRequest: the same on one kernel and between two. */
import { describe, expect, test } from "bun:test";
import { SELF } from "../../../core/kernel/endpoint.ts";
import { bodiesOf, places } from "./lab.ts";

describe.each(places)("%s", (_place, where) => {
  test("a send is over when the receiver has taken the message, not before", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const call = near.send(a, b, "hello");
    lab.run(5_000);
    expect(call.outcome).toBeNull();
    expect(far.receive(b).result).toMatchObject({
      type: 1,
      body: "hello",
      source: a.endpoint,
      isRequest: false,
    });
    lab.settle();
    expect(call.outcome).toBe("OK");
  });

  test("a receive that waits gets what comes", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const receive = far.receive(b);
    expect(receive.outcome).toBeNull();
    const call = near.send(a, b, 7);
    lab.settle();
    expect(receive).toMatchObject({ outcome: "OK", result: { body: 7 } });
    expect(call.outcome).toBe("OK");
    expect(far.taken(b)).toBeNull();
  });

  test("messages of one process to another arrive in order, also of send and sendrec mixed", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    for (let i = 0; i < 200; i++) near[i % 3 === 0 ? "sendrec" : "send"](a, b, i);
    const got: unknown[] = [];
    for (let call = far.taken(b); call; call = far.taken(b)) got.push(call.body);
    expect(got).toEqual(Array.from({ length: 200 }, (_, i) => i));
    lab.settle();
    expect(a.underWay).toBe(67);
  });

  test("a receive from one process leaves the messages of others where they are, in order", () => {
    const { lab, near, far } = where();
    const [a, b, c] = [near.bind(), far.bind(), near.bind()];
    for (const [from, body] of [
      [a, 1],
      [c, 2],
      [a, 3],
      [c, 4],
    ] as const)
      near.send(from, b, body);
    lab.settle();
    expect(far.receive(b, c).result?.body).toBe(2);
    expect(bodiesOf([far.taken(b), far.taken(b), far.taken(b), far.taken(b)])).toEqual([1, 3, 4, undefined]);
  });

  test("receives that wait are served in the order in which they were made, each by what it takes", () => {
    const { lab, near, far } = where();
    const [a, b, c] = [near.bind(), far.bind(), near.bind()];
    const receives = [far.receive(b, c), far.receive(b), far.receive(b), far.receiveRequest(b)];
    near.send(a, b, "first");
    lab.settle();
    near.sendrec(a, b, "second");
    near.sendrec(a, b, "third");
    lab.settle();
    expect(bodiesOf(receives.map((receive) => receive.result))).toEqual([
      undefined,
      "first",
      "second",
      "third",
    ]);
    near.send(c, b, "fourth");
    lab.settle();
    expect(receives[0]!.result?.body).toBe("fourth");
  });

  test("a sendrec is over with the reply to it, whatever the order of replies", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const calls = [near.sendrec(a, b, 1), near.sendrec(a, b, 2)];
    lab.settle();
    const requests = [far.taken(b)!, far.taken(b)!];
    expect(requests.map((request) => request.isRequest)).toEqual([true, true]);
    lab.run(5_000);
    expect(calls.map((call) => call.outcome)).toEqual([null, null]);
    expect(far.reply(b, requests[1]!, "to 2")).toBe("OK");
    expect(far.reply(b, requests[0]!, "to 1")).toBe("OK");
    lab.settle();
    expect(calls.map((call) => [call.outcome, call.result])).toEqual([
      ["OK", { type: 2, body: "to 1" }],
      ["OK", { type: 2, body: "to 2" }],
    ]);
  });

  test("a request is replied to once, by the process that has received it, and a send never", () => {
    const { lab, near, far } = where();
    const [a, b, c] = [near.bind(), far.bind(), far.bind()];
    near.sendrec(a, b);
    near.send(a, b);
    lab.settle();
    const [request, message] = [far.taken(b)!, far.taken(b)!];
    expect(far.reply(c, request)).toBe("NOT_WAITING");
    expect(far.reply(b, message)).toBe("NOT_WAITING");
    expect(far.reply(b, request)).toBe("OK");
    expect(far.reply(b, request)).toBe("NOT_WAITING");
  });

  test("receiveRequest takes requests only; messages and notifications stay for receive", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    near.send(a, b, "message");
    near.machine.notify(a, b.endpoint);
    near.sendrec(a, b, "request");
    lab.settle();
    expect(far.receiveRequest(b).result?.body).toBe("request");
    expect(far.receiveRequest(b, 0).outcome).toBe("TIMED_OUT");
    expect(far.taken(b)).toMatchObject({ isNotification: true });
    expect(far.taken(b)).toMatchObject({ body: "message" });
  });

  test("bodies of every plain kind arrive as they were sent", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const bodies = [
      null,
      true,
      -1.5,
      "é€😀",
      new Uint8Array([1, 2, 3]),
      [1, [2, { x: null }]],
      { path: "/", n: 2 ** 40 },
    ];
    for (const body of bodies) near.send(a, b, body);
    lab.settle();
    expect(bodiesOf(bodies.map(() => far.taken(b)))).toEqual(bodies);
  });

  test("a message with too many bytes, or a type that is none, is refused and nothing of it arrives", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const tooLarge = near.send(a, b, new Uint8Array(256 * 1024 + 1));
    const types = [-1, 1.5, NaN, 2 ** 53].map((type) =>
      near.machine.send(a, b.endpoint, { type, body: null }),
    );
    lab.settle();
    expect(tooLarge.outcome).toBe("TOO_LARGE");
    expect(types.map((call) => call.outcome)).toEqual(types.map(() => "BAD_MESSAGE"));
    expect(far.taken(b)).toBeNull();
    expect(near.send(a, b, new Uint8Array(256 * 1024)).outcome).not.toBe("TOO_LARGE");
    expect(a.underWay).toBe(1);
  });

  test("a reply with too many bytes is refused, and the request can still be answered", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const call = near.sendrec(a, b);
    const request = far.taken(b)!;
    expect(far.reply(b, request, new Uint8Array(256 * 1024 + 1))).toBe("TOO_LARGE");
    expect(far.machine.reply(b, request, { type: -1, body: null })).toBe("BAD_MESSAGE");
    expect(far.reply(b, request, "short")).toBe("OK");
    lab.settle();
    expect(call.result?.body).toBe("short");
  });

  test("a process that ends: what it has not taken and not answered is DIED, and so is what comes later", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const open = near.sendrec(a, b, "taken");
    const waiting = near.send(a, b, "not taken");
    expect(far.taken(b)?.body).toBe("taken");
    far.machine.unbind(b);
    lab.settle();
    const later = near.send(a, b);
    lab.settle();
    expect([open, waiting, later].map((call) => call.outcome)).toEqual(["DIED", "DIED", "DIED"]);
    expect(a.underWay).toBe(0);
  });

  test("the calls of a process that ends are given up: nobody takes them", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    near.send(a, b, 1);
    const open = near.sendrec(a, b, 2);
    lab.settle();
    near.machine.unbind(a);
    lab.settle();
    expect(far.taken(b)).toBeNull();
    expect(open.outcome).not.toBeNull();
    expect(near.receive(a).outcome).toBe("NOT_BOUND");
    expect(near.send(a, b).outcome).toBe("NOT_BOUND");
  });

  test("a reply to a caller that has ended does no harm", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const call = near.sendrec(a, b);
    const request = far.taken(b)!;
    near.machine.unbind(a);
    lab.settle();
    expect(far.reply(b, request)).toBe("NOT_WAITING");
    lab.settle();
    expect(call.outcome).toBe("OUTCOME_UNKNOWN");
  });
});

test("a message between two processes of one kernel is not copied", () => {
  const { near } = places[0]![1]();
  const [a, b] = [near.bind(), near.bind()];
  const body = { bytes: new Uint8Array(10) };
  near.send(a, b, body);
  expect(near.taken(b)?.body).toBe(body);
});

test("a process may send to itself, and be its own server", () => {
  const { near } = places[0]![1]();
  const a = near.bind();
  const call = near.machine.sendrec(a, SELF, { type: 1, body: "me" });
  const request = near.taken(a)!;
  expect(request.source).toBe(a.endpoint);
  near.reply(a, request, "it is you");
  expect(call.result?.body).toBe("it is you");
});

test("processes that make one call at a time and call each other in a circle are told", () => {
  const { near } = places[0]![1]();
  const [a, b, c] = [near.bind({ callsMax: 1 }), near.bind({ callsMax: 1 }), near.bind({ callsMax: 1 })];
  near.sendrec(a, b);
  near.sendrec(b, c);
  expect(near.sendrec(c, a).outcome).toBe("DEADLOCK");
  expect(near.machine.sendrec(c, SELF, { type: 1, body: null }).outcome).toBe("DEADLOCK");
  // Once it has said so the process can go on, and answer.
  const request = near.taken(c)!;
  expect(near.reply(c, request)).toBe("OK");
});

test("a process has no more calls under way than it may", () => {
  const { near } = places[0]![1]();
  const [a, b] = [near.bind({ callsMax: 2 }), near.bind()];
  near.send(a, b);
  const second = near.send(a, b);
  expect(near.send(a, b).outcome).toBe("BUSY");
  near.machine.cancel(a, second);
  expect(near.send(a, b).outcome).toBeNull();
  expect([near.receive(a), near.receive(a), near.receive(a)].map((r) => r.outcome)).toEqual([
    null,
    null,
    "BUSY",
  ]);
});
