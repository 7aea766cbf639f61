/** Moves, step by step: what the simulator meets by chance, here by design. */
import { expect, test } from "bun:test";
import type { Call } from "../../../core/kernel/call.ts";
import { ANY } from "../../../core/kernel/endpoint.ts";
import { privilegeBits } from "../../../core/kernel/privileges.ts";
import type { Proc } from "../../../core/kernel/proc.ts";
import { slotsPerLease } from "../../../core/limits.ts";
import { bodiesOf, Lab, type LabKernel } from "./lab.ts";

const image = new Uint8Array([1, 2, 3]);

/** A server on the first kernel, a client on the third; the second is where the server goes. */
function scene() {
  const lab = new Lab(3);
  const [from, to, third] = lab.kernels as [LabKernel, LabKernel, LabKernel];
  for (const kernel of lab.kernels) undecided(kernel);
  const server = from.bind();
  const client = third.bind();
  // So that the client's kernel knows the server.
  const first = third.send(client, server, "first");
  lab.until(() => from.taken(server) !== null);
  lab.settle();
  expect(first.outcome).toBe("OK");
  return { lab, from, to, third, server, client };
}

const ignore = () => {};

/** Its host leaves moves to the test. */
function undecided(kernel: LabKernel): LabKernel {
  kernel.moveStarted = () => {};
  kernel.moveOffered = () => {};
  return kernel;
}

/** A process of the first kernel, of which the second has asked already. */
function known(kernel: LabKernel, by: LabKernel): Proc {
  const proc = kernel.bind();
  by.send(by.bind(), proc);
  expect(kernel.taken(proc)).not.toBeNull();
  return proc;
}

/** Up to where the destination holds the image. */
function offer(lab: Lab, proc: Proc, from: LabKernel, to: LabKernel, g: number): void {
  expect(from.machine.startMove(proc, to.id)).toBe("OK");
  lab.until(() => proc.held);
  from.machine.offerMove(proc.endpoint, g, image);
  lab.until(() => to.machine.moves.incoming.get(proc.endpoint)?.phase === "held");
}

function move(lab: Lab, proc: Proc, from: LabKernel, to: LabKernel, g: number): Proc {
  offer(lab, proc, from, to, g);
  to.machine.acceptMove(proc.endpoint, g, null, ignore);
  lab.until(() => to.machine.table.find(proc.endpoint) !== undefined);
  return to.machine.table.find(proc.endpoint)!;
}

/** What the process takes until there is nothing more. */
function takeAll(kernel: LabKernel, proc: Proc): Call[] {
  const all: Call[] = [];
  for (let call = kernel.taken(proc); call; call = kernel.taken(proc)) all.push(call);
  return all;
}

test("messages from a third kernel follow a process where it has gone, in order, and each is taken once", () => {
  const { lab, from, to, third, server, client } = scene();
  const sends = [1, 2, 3].map((n) => third.send(client, server, n));
  lab.settle();
  offer(lab, server, from, to, 1);
  sends.push(third.send(client, server, 4));
  lab.settle();
  to.machine.acceptMove(server.endpoint, 1, null, ignore);
  lab.until(() => to.machine.table.find(server.endpoint) !== undefined);
  sends.push(third.send(client, server, 5));
  lab.settle();
  const moved = to.machine.table.find(server.endpoint)!;
  expect(bodiesOf(takeAll(to, moved))).toEqual([1, 2, 3, 4, 5]);
  lab.settle();
  expect(sends.map(({ outcome }) => outcome)).toEqual(["OK", "OK", "OK", "OK", "OK"]);
});

test("a request that was taken is replied to where its receiver has gone, and where its caller has gone", () => {
  const { lab, from, to, third, server, client } = scene();
  const call = third.sendrec(client, server, "question");
  lab.until(() => from.taken(server) !== null);
  lab.settle();
  const server2 = move(lab, server, from, to, 1);
  const answers: unknown[] = [];
  offer(lab, client, third, from, 1);
  from.machine.acceptMove(client.endpoint, 1, null, (own) => answers.push(own.outcome, own.result?.body));
  lab.until(() => from.machine.table.find(client.endpoint) !== undefined);
  expect(call.outcome).toBe("MOVED");
  expect(to.reply(server2, server2.open.head!, "answer")).toBe("OK");
  lab.settle();
  expect(answers).toEqual(["OK", "answer"]);
});

test("a move that is aborted leaves everything as it was, and its image serves no later move", () => {
  const { lab, from, to, third, server, client } = scene();
  offer(lab, server, from, to, 1);
  const send = third.send(client, server, "meanwhile");
  from.machine.abortMove(server.endpoint, 1);
  lab.until(() => !server.held);
  expect(bodiesOf(takeAll(from, server))).toEqual(["meanwhile"]);
  lab.settle();
  expect(send.outcome).toBe("OK");
  offer(lab, server, from, to, 2);
  to.machine.acceptMove(server.endpoint, 1, null, ignore);
  lab.run(100);
  expect(to.machine.table.find(server.endpoint)).toBeUndefined();
  to.machine.acceptMove(server.endpoint, 2, null, ignore);
  lab.until(() => to.machine.table.find(server.endpoint) !== undefined);
});

test("a message for an earlier stay of a process is not taken before older ones when it has come back", () => {
  const { lab, from, to, third, server, client } = scene();
  third.send(client, server, 1);
  lab.settle();
  // The second is on its way while the process goes and comes back.
  third.cut.add(from);
  third.deaf = true;
  third.send(client, server, 2);
  const away = move(lab, server, from, to, 1);
  const back = move(lab, away, to, from, 2);
  third.cut.clear();
  lab.settle();
  expect(bodiesOf(takeAll(from, back))).toEqual([1, 2]);
});

test("a notification comes once, though the kernel that had its destination dies behind the move", () => {
  const { lab, from, to, third, server, client } = scene();
  offer(lab, server, from, to, 1);
  expect(third.machine.notify(client, server.endpoint)).toBe("OK");
  lab.settle();
  from.deaf = true;
  to.machine.acceptMove(server.endpoint, 1, null, ignore);
  lab.until(() => to.machine.table.find(server.endpoint) !== undefined);
  from.die();
  lab.settle();
  const taken = takeAll(to, to.machine.table.find(server.endpoint)!);
  expect(taken.map(({ isNotification, body }) => [isNotification, body])).toEqual([[true, 1]]);
});

test("when the old kernel dies behind a move, what it had not given out is sent again; of the rest nobody knows", () => {
  const { lab, from, to, third, server, client } = scene();
  const waiting = third.send(client, server, "arrived");
  const asked = third.sendrec(client, server, "taken");
  lab.settle();
  const request = from.machine.receive(server, ANY, true);
  expect(request.outcome).toBe("OK");
  lab.settle();
  offer(lab, server, from, to, 1);
  third.cut.add(from);
  const onItsWay = third.send(client, server, "on its way");
  lab.settle();
  from.deaf = true;
  to.machine.acceptMove(server.endpoint, 1, null, ignore);
  lab.until(() => to.machine.table.find(server.endpoint) !== undefined);
  from.die();
  lab.settle();
  const moved = to.machine.table.find(server.endpoint)!;
  expect(bodiesOf(takeAll(to, moved))).toEqual(["arrived"]);
  expect(to.reply(moved, moved.open.head!, "answer")).toBe("OK");
  lab.settle();
  expect([waiting, asked, onItsWay].map(({ outcome }) => outcome)).toEqual(["OK", "OK", "OUTCOME_UNKNOWN"]);
});

test("a reply finds its caller, though the replier's kernel has not read where that comes from", () => {
  const { lab, from, to, third } = scene();
  const far = known(third, to);
  // It reads nothing any more, and is called by a process of slots that are leased from now on.
  third.deaf = true;
  const clients = Array.from({ length: slotsPerLease + 1 }, () => from.bind());
  const caller = move(lab, clients.at(-1)!, from, to, 1);
  const call = to.sendrec(caller, far, "question");
  lab.settle();
  const request = third.taken(far)!;
  lab.settle();
  expect(third.reply(far, request, "answer")).toBe("OK");
  lab.settle();
  expect([call.outcome, call.result?.body]).toEqual(["OK", "answer"]);
});

test("a reply finds its caller, though the replier's kernel has it where it was, and that kernel has died", () => {
  const { lab, from, to, third } = scene();
  const far = known(third, to);
  const client = from.bind();
  third.deaf = true;
  const caller = move(lab, client, from, to, 1);
  from.die();
  lab.settle();
  const call = to.sendrec(caller, far, "question");
  lab.settle();
  const request = third.taken(far)!;
  lab.settle();
  expect(third.reply(far, request, "answer")).toBe("OK");
  lab.settle();
  expect([call.outcome, call.result?.body]).toEqual(["OK", "answer"]);
});

test("notifications of a process that leaves as their destination comes are counted once each, and later ones, too", () => {
  const { lab, from, to, third, server, client } = scene();
  // The destination is on its way to the client's kernel; of two notifications it has not heard.
  offer(lab, server, from, third, 1);
  for (let i = 0; i < 2; i++) {
    expect(third.machine.notify(client, server.endpoint)).toBe("OK");
    lab.settle();
  }
  third.send(client, server, "message");
  offer(lab, client, third, to, 1);
  third.machine.acceptMove(server.endpoint, 1, null, ignore);
  lab.until(() => third.machine.table.find(server.endpoint) !== undefined);
  to.cut.add(third);
  to.machine.acceptMove(client.endpoint, 1, null, ignore);
  lab.until(() => to.machine.table.find(client.endpoint) !== undefined);
  expect(to.machine.notify(to.machine.table.find(client.endpoint)!, server.endpoint)).toBe("OK");
  lab.settle();
  to.cut.clear();
  lab.settle();
  const taken = takeAll(third, third.machine.table.find(server.endpoint)!);
  const counts = taken.filter(({ isNotification }) => isNotification).map(({ body }) => body as number);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(3);
  expect(bodiesOf(taken.filter(({ isNotification }) => !isNotification))).toEqual(["message"]);
});

/** A request whose reply has died with a kernel that its caller has left; its receiver's kernel reads no records. */
function lostReply() {
  const { lab, from, to, third } = scene();
  const far = known(third, from);
  const client = from.bind();
  from.sendrec(client, far, "question");
  const request = third.taken(far)!;
  lab.settle();
  const next = undecided(lab.add());
  lab.until(() => !next.machine.frozen);
  third.deaf = true;
  return { lab, from, to, third, next, far, client, request };
}

test("a caller that moves on while it is asked what became of its request hears of it where it goes", () => {
  const { lab, from, to, third, next, far, client, request } = lostReply();
  const caller = move(lab, client, from, to, 1);
  third.reply(far, request, "answer");
  from.die();
  lab.settle();
  // The audit waits for its answer.
  const outcomes: unknown[] = [];
  expect(to.machine.startMove(caller, next.id)).toBe("OK");
  lab.until(() => caller.held);
  to.machine.offerMove(caller.endpoint, 2, image);
  const accept = () =>
    next.machine.acceptMove(caller.endpoint, 2, null, ({ outcome }) => outcomes.push(outcome));
  for (const deaf of [true, false]) {
    third.deaf = deaf;
    lab.run(100);
    accept();
    lab.run(100);
  }
  lab.until(() => next.machine.table.find(caller.endpoint) !== undefined);
  lab.settle();
  expect(outcomes).toEqual(["OUTCOME_UNKNOWN"]);
});

test("a caller whose image is on its way when a kernel dies that may have had its reply asks where it arrives", () => {
  const { lab, from, to, third, next, far, client, request } = lostReply();
  const caller = move(lab, client, from, to, 1);
  offer(lab, caller, to, next, 2);
  const outcomes: unknown[] = [];
  // Its old kernel does not hear what it asks.
  third.cut.add(to);
  third.reply(far, request, "answer");
  from.die();
  lab.settle();
  next.machine.acceptMove(caller.endpoint, 2, null, ({ outcome }) => outcomes.push(outcome));
  lab.until(() => next.machine.table.find(caller.endpoint) !== undefined);
  third.deaf = false;
  third.cut.clear();
  lab.settle();
  expect(outcomes).toEqual(["OUTCOME_UNKNOWN"]);
});

test("of what a process took before it ended, its backup hears again only if it was a notification", () => {
  const { lab, from, to, third, server, client } = scene();
  const privileges = privilegeBits();
  const backup = to.machine.bindBackup(server.endpoint, { privileges });
  lab.settle();
  // Nobody is told what it has taken.
  from.cut.add(third);
  third.machine.notify(client, server.endpoint);
  const send = third.send(client, server, "taken");
  expect(takeAll(from, server).length).toBe(2);
  from.machine.unbind(server);
  lab.until(() => to.promotions.length === 1);
  const next = third.send(client, server, "next");
  from.die();
  lab.settle();
  const taken = takeAll(to, backup);
  expect(taken.map(({ isNotification, body }) => [isNotification, body])).toEqual([
    [true, 1],
    [false, "next"],
  ]);
  lab.settle();
  expect([send.outcome, next.outcome]).toEqual(["OUTCOME_UNKNOWN", "OK"]);
});
