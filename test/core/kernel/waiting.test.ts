/** waitForBind, waitForUnbind, waitForName, getInfo; and what a kernel does that looked in the wrong place. */
import { describe, expect, test } from "bun:test";
import { endpointOf, generationOf, slotOf } from "../../../core/kernel/endpoint.ts";
import type { EndpointInfo } from "../../../core/kernel/calls/do-get-info.ts";
import { Lab, places } from "./lab.ts";

/** The endpoint that a kernel is going to give out next but `n`. */
function nextOf(endpoint: number, n: number): number {
  return endpointOf(slotOf(endpoint) + n, generationOf(endpoint));
}

describe.each(places)("%s", (_place, where) => {
  test("whoever waits for an endpoint is told when it is bound, however long that takes", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const call = near.machine.waitForBind(a, nextOf(b.endpoint, 1));
    lab.run(3_000);
    expect(call.outcome).toBeNull();
    expect(far.bind().endpoint).toBe(nextOf(b.endpoint, 1));
    lab.settle();
    expect(call.outcome).toBe("OK");
  });

  test("what is bound already need not be waited for; what was bound and has ended never comes", () => {
    const { lab, near, far } = where();
    const [a, b, c] = [near.bind(), far.bind(), far.bind()];
    far.machine.unbind(c);
    const [bound, ended] = [b, c].map(({ endpoint }) => near.machine.waitForBind(a, endpoint));
    lab.settle();
    expect([bound!.outcome, ended!.outcome]).toEqual(["OK", "DIED"]);
  });

  test("whoever waits for the end of a process is told by its unbind", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const call = near.machine.waitForBind(a, b.endpoint, false);
    lab.run(3_000);
    expect(call.outcome).toBeNull();
    far.machine.unbind(b);
    lab.settle();
    expect(call.outcome).toBe("OK");
  });

  test("a wait ends with its time-out, or when it is cancelled, and leaves nothing at the other kernel", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    const late = near.machine.waitForBind(a, b.endpoint, false, 100);
    const cancelled = near.machine.waitForBind(a, b.endpoint, false);
    const named = near.machine.waitForName(a, "files", 100);
    lab.settle();
    near.machine.cancel(a, cancelled);
    lab.run(150);
    expect([late, cancelled, named].map((call) => call.outcome)).toEqual([
      "TIMED_OUT",
      "CANCELLED",
      "TIMED_OUT",
    ]);
    expect(far.machine.bindings.watching()).toEqual([]);
    expect(near.machine.bindings.watchingNames()).toEqual([]);
    expect(a.underWay).toBe(0);
  });

  test("a wait of a process that ends is forgotten", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    near.machine.waitForBind(a, b.endpoint, false);
    near.machine.waitForName(a, "files");
    lab.settle();
    near.machine.unbind(a);
    lab.settle();
    expect(far.machine.bindings.watching()).toEqual([]);
    expect(near.machine.bindings.watchingNames()).toEqual([]);
  });

  test("whoever waits for a name is told the endpoint that gets it", () => {
    const { lab, near, far } = where();
    const a = near.bind();
    const waits = [near.machine.waitForName(a, "files"), near.machine.waitForName(a, "files")];
    lab.run(3_000);
    expect(waits.map((call) => call.outcome)).toEqual([null, null]);
    const files = far.bind({ name: "files" });
    lab.settle();
    expect(waits.map((call) => call.result?.body)).toEqual([files.endpoint, files.endpoint]);
    expect(near.machine.waitForName(a, "files").result?.body).toBe(files.endpoint);
  });

  test("getInfo tells of a process what its kernel knows", () => {
    const { lab, near, far } = where();
    const a = near.bind();
    const b = far.bind({ name: "files", privileges: { level: "server", group: 4 } });
    near.sendrec(a, b, "to be open");
    near.send(a, b, "to wait");
    expect(far.taken(b)?.body).toBe("to be open");
    const call = near.machine.getInfo(a, b.endpoint);
    lab.settle();
    const info = call.result!.body as EndpointInfo;
    const own = { endpoint: b.endpoint, kernel: far.id, name: "files", level: "server", group: 4 } as const;
    expect(info).toMatchObject({ ...own, waiting: 1, open: 1, calls: 0, receives: 0, moving: false });
    const { counters } = info;
    expect(counters.receivedLocal + counters.receivedRemote).toBe(1);
    expect(counters.bytesReceived > 0).toBe(near !== far);
  });
});

test("a wait for a process ends with DIED when its kernel is removed, whichever of both it waited for", () => {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  const [a, b] = [near.bind(), far.bind()];
  const calls = [
    near.machine.waitForBind(a, b.endpoint, false),
    near.machine.waitForBind(a, nextOf(b.endpoint, 1)),
    near.machine.getInfo(a, b.endpoint),
  ];
  far.running = false;
  lab.settle();
  expect(calls.map((call) => call.outcome)).toEqual([null, null, null]);
  far.die();
  lab.settle();
  expect(calls.map((call) => call.outcome)).toEqual(["DIED", "DIED", "DIED"]);
});

test("a kernel that sends to where an endpoint was is told where it is, before it has read the record of the move", () => {
  const lab = new Lab(3);
  const [near, from, to] = [lab.kernels[0]!, lab.kernels[1]!, lab.kernels[2]!];
  const [a, b] = [near.bind(), from.bind()];
  const first = near.sendrec(a, b, "before");
  from.reply(b, from.taken(b)!, "there");
  lab.settle();
  expect(first.result?.body).toBe("there");
  // A backup takes over when its holder ends: the endpoint lives on at another kernel.
  to.machine.bindBackup(b.endpoint, { privileges: b.privileges });
  lab.settle();
  near.deaf = true;
  from.machine.unbind(b);
  lab.settle();
  expect(to.promotions).toEqual([b.endpoint]);
  const call = near.sendrec(a, b, "after");
  const info = near.machine.getInfo(a, b.endpoint);
  const promoted = to.machine.table.find(b.endpoint)!;
  to.reply(promoted, to.taken(promoted)!, "here");
  lab.settle();
  expect(near.machine.view.holderOf(b.endpoint)).toBe(from.id);
  expect(call.result?.body).toBe("here");
  expect((info.result!.body as EndpointInfo).kernel).toBe(to.id);
  near.deaf = false;
  lab.settle();
  expect(near.machine.view.holderOf(b.endpoint)).toBe(to.id);
});
