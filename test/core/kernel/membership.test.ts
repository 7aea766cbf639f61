/** Who may run: leases, freeze and thaw, the grantor, removals, and what all of it means for calls. */
import { describe, expect, test } from "bun:test";
import { endpointOf } from "../../../core/kernel/endpoint.ts";
import {
  cancelGraceMs,
  grantorPromiseMs,
  kernelLeaseMs,
  kernelTickMs,
  leaseDriftMs,
  leaseMarginMs,
  newcomerSilenceMs,
} from "../../../core/limits.ts";
import { Lab, type LabKernel } from "./lab.ts";

const removals = (lab: Lab) =>
  lab.records.flatMap(({ record }) => (record.type === "remove" ? [record] : []));

/** One grants leases, the other two are members. */
function three() {
  const lab = new Lab(3);
  lab.run(1_000);
  const grantor = lab.kernels.find(({ id }) => id === lab.view.grantor.kernel)!;
  const [one, two] = lab.kernels.filter((kernel) => kernel !== grantor);
  return { lab, grantor, one: one!, two: two! };
}
function isolate(lab: Lab, kernel: LabKernel): void {
  for (const other of lab.kernels) {
    if (other === kernel) continue;
    other.cut.add(kernel);
    kernel.cut.add(other);
  }
}
function heal(lab: Lab): void {
  for (const kernel of lab.kernels) kernel.cut.clear();
}

test("an instance whose members hear each other stays as it is", () => {
  const { lab } = three();
  const records = lab.records.length;
  lab.run(10_000);
  expect(lab.records.length).toBe(records);
  expect(lab.kernels.map(({ states }) => states)).toEqual([["thaw"], ["thaw"], ["thaw"]]);
});

describe("a member that hears nobody", () => {
  test("freezes before its lease is over, and the grantor removes it no earlier than that", () => {
    const { lab, one } = three();
    isolate(lab, one);
    const cutMs = lab.nowMs;
    lab.until(() => one.machine.frozen);
    expect(lab.nowMs - cutMs).toBeLessThanOrEqual(kernelLeaseMs - leaseMarginMs + kernelTickMs);
    expect(removals(lab)).toEqual([]);
    const frozenMs = lab.nowMs;
    lab.until(() => removals(lab).length > 0);
    expect(lab.nowMs - frozenMs).toBeGreaterThanOrEqual(leaseMarginMs);
    expect(removals(lab)).toMatchObject([{ kernel: one.id, reason: "lease" }]);
  });

  test("exits when it reads that it was removed, and never runs again", () => {
    const { lab, one } = three();
    isolate(lab, one);
    lab.until(() => removals(lab).length > 0);
    lab.settle();
    heal(lab);
    lab.run(5_000);
    expect(one.states).toEqual(["thaw", "freeze", "exit"]);
    expect(one.machine.exited).toBe(true);
    expect(lab.view.members.has(one.id)).toBe(false);
  });

  test("thaws when it is heard again in time", () => {
    const { lab, one } = three();
    isolate(lab, one);
    lab.until(() => one.machine.frozen);
    heal(lab);
    lab.until(() => !one.machine.frozen);
    lab.run(5_000);
    expect(one.machine.frozen).toBe(false);
    expect(one.states).not.toContain("exit");
    expect(removals(lab)).toEqual([]);
  });
});

test("while a kernel is frozen nothing of it runs, leaves or arrives; when it thaws all of it happens, in order", () => {
  const { lab, grantor, one, two } = three();
  const [a, b, c] = [one.bind(), one.bind(), two.bind()];
  const receive = one.receive(b);
  isolate(lab, one);
  lab.until(() => one.machine.frozen);
  const sent = one.sent.length;
  const calls = [one.send(a, b, 1), one.send(a, c, 2), one.send(a, b, 3), one.send(a, endpointOf(60_000, 1))];
  const timed = one.send(a, c, 4, 20);
  two.send(c, b, 5);
  lab.run(50);
  expect([receive, ...calls, timed].map((call) => call.outcome)).toEqual([
    null,
    null,
    null,
    null,
    null,
    null,
  ]);
  expect(one.sent.length).toBe(sent);
  expect(one.machine.tryReceive(b, -1, false)).toBeNull();
  heal(lab);
  lab.until(() => !one.machine.frozen);
  expect(receive.result?.body).toBe(1);
  expect(new Set([one.taken(b)?.body, one.taken(b)?.body])).toEqual(new Set([3, 5]));
  expect(two.taken(c)?.body).toBe(2);
  lab.run(300);
  expect(calls.map((call) => call.outcome)).toEqual(["OK", "OK", "OK", "NOT_BOUND"]);
  expect(timed.outcome).not.toBeNull();
  expect(grantor.machine.exited).toBe(false);
});

test("a kernel thaws only when it has read the View as far as its grantor had", () => {
  const { lab, one } = three();
  isolate(lab, one);
  lab.until(() => one.machine.frozen);
  one.deaf = true;
  lab.propose({ type: "slots", kernel: lab.view.grantor.kernel, count: 1 });
  lab.settle();
  heal(lab);
  lab.run(300);
  expect(one.machine.frozen).toBe(true);
  one.deaf = false;
  lab.run(100);
  expect(one.machine.frozen).toBe(false);
});

test("a grantor that hears not all of its members freezes with its own lease, unless it may remove them first", () => {
  const { lab, grantor, one } = three();
  isolate(lab, one);
  lab.ordering = false;
  lab.run(3_000);
  expect([grantor.machine.frozen, one.machine.frozen]).toEqual([true, true]);
  lab.ordering = true;
  lab.until(() => !grantor.machine.frozen);
  expect(lab.view.members.has(one.id)).toBe(false);
});

test("a grantor that dies is followed by another, which removes nobody uncertified for a whole lease", () => {
  const { lab, grantor, one, two } = three();
  grantor.running = false;
  const deadMs = lab.nowMs;
  lab.until(() => lab.view.grantor.kernel !== grantor.id);
  expect(lab.nowMs - deadMs).toBeGreaterThanOrEqual(grantorPromiseMs - 200);
  const electedMs = lab.nowMs;
  lab.until(() => removals(lab).length > 0);
  expect(lab.nowMs - electedMs).toBeGreaterThanOrEqual(kernelLeaseMs);
  expect(removals(lab)).toMatchObject([{ kernel: grantor.id, reason: "lease" }]);
  lab.until(() => !one.machine.frozen && !two.machine.frozen);
});

test("a grantor that was cut off with one of three is not the one that goes on: there are never two that grant", () => {
  const { lab, grantor, one, two } = three();
  isolate(lab, grantor);
  let both = 0;
  lab.until(() => {
    if (!grantor.machine.frozen && (!one.machine.frozen || !two.machine.frozen) && lab.view.grantor.epoch > 1)
      both++;
    return lab.view.grantor.kernel !== grantor.id && !one.machine.frozen && !two.machine.frozen;
  });
  expect(both).toBe(0);
  expect(grantor.machine.frozen).toBe(true);
});

test("of two that do not hear each other the grantor goes on, and the other is removed", () => {
  const lab = new Lab(2);
  lab.run(1_000);
  const grantor = lab.kernels.find(({ id }) => id === lab.view.grantor.kernel)!;
  const other = lab.kernels.find((kernel) => kernel !== grantor)!;
  isolate(lab, other);
  lab.until(() => removals(lab).length > 0);
  lab.run(3_000);
  expect(removals(lab)).toMatchObject([{ kernel: other.id }]);
  expect(grantor.states).toEqual(["thaw"]);
});

test("an exit certificate removes a kernel at once", () => {
  const { lab, grantor, one } = three();
  one.running = false;
  grantor.machine.certifyExit("nobody's");
  grantor.machine.certifyExit(one.machine.member.incarnation);
  lab.settle();
  expect(removals(lab)).toEqual([{ type: "remove", kernel: one.id, reason: "exit-certificate" }]);
});

test("a kernel that has not looked at the clock for too long is frozen when it looks again", () => {
  const { lab, one } = three();
  one.running = false;
  lab.run(500);
  one.running = true;
  one.machine.tick(lab.nowMs);
  expect(one.machine.frozen).toBe(true);
  lab.run(500);
  expect(one.states).toEqual(["thaw", "freeze", "thaw"]);
});

test("the incarnation of a removed kernel never joins again", () => {
  const { lab, one } = three();
  const { incarnation } = one.machine.member;
  one.die();
  lab.settle();
  const again = lab.add(incarnation);
  lab.run(3_000);
  expect(again.states).toEqual(["exit"]);
  expect(lab.view.members.size).toBe(2);
});

test("a kernel that leaves answers what it has taken first, and its processes' callers are told DIED", () => {
  const { lab, one, two } = three();
  const [a, b] = [one.bind(), two.bind()];
  const call = one.sendrec(a, b);
  lab.settle();
  two.machine.leave();
  lab.until(() => two.machine.exited);
  expect(removals(lab)).toMatchObject([{ kernel: two.id, reason: "left" }]);
  lab.settle();
  expect(call.outcome).toBe("DIED");
  expect(one.machine.frozen).toBe(false);
});

describe("a process whose kernel is silent", () => {
  function waiting() {
    const { lab, one, two } = three();
    const [a, b] = [one.bind(), two.bind()];
    const open = one.sendrec(a, b, "taken");
    expect(two.taken(b)?.body).toBe("taken");
    lab.settle();
    two.running = false;
    return { lab, one, two, a, b, open };
  }

  test("calls to it wait until the View says that it is gone; only that ends them with DIED", () => {
    const { lab, one, two, a, b, open } = waiting();
    const later = one.send(a, b, "not taken");
    while (removals(lab).length === 0) {
      expect([open.outcome, later.outcome]).toEqual([null, null]);
      lab.run(kernelTickMs);
    }
    expect([open.outcome, later.outcome]).toEqual(["DIED", "DIED"]);
    expect(one.send(a, b).outcome).toBe("DIED");
    expect(lab.view.members.has(two.id)).toBe(false);
  });

  test("a caller's own time-out before that is OUTCOME_UNKNOWN, and stays so", () => {
    const { lab, one, a, b } = waiting();
    const call = one.sendrec(a, b, "maybe taken", 100);
    lab.run(100 + 2 * kernelTickMs + cancelGraceMs);
    expect(call.outcome).toBe("OUTCOME_UNKNOWN");
    lab.until(() => removals(lab).length > 0);
    lab.run(100);
    expect(call.outcome).toBe("OUTCOME_UNKNOWN");
    expect(a.underWay).toBe(0);
  });

  test("what it had taken has died with it, also where a backup goes on: later calls are that one's", () => {
    const { lab, one, two, a, b, open } = waiting();
    two.running = true;
    one.machine.bindBackup(b.endpoint, { privileges: b.privileges });
    lab.settle();
    two.die();
    lab.settle();
    expect(open.outcome).toBe("DIED");
    expect(one.promotions).toEqual([b.endpoint]);
    const later = one.sendrec(a, b, "to the backup");
    const promoted = one.machine.table.find(b.endpoint)!;
    one.reply(promoted, one.taken(promoted)!, "here");
    lab.settle();
    expect(later.result?.body).toBe("here");
  });

  test("its names are free and its messages here are gone once it is removed", () => {
    const { lab, one, two, a } = waiting();
    two.running = true;
    const named = two.bind({ name: "files" });
    two.send(named, a, "of the dead");
    lab.settle();
    expect(a.mailbox.length).toBe(1);
    two.die();
    lab.settle();
    expect(one.machine.lookup("files")).toBeUndefined();
    expect(one.taken(a)).toBeNull();
    expect(one.bind({ name: "files" }).name).toBe("files");
  });
});

test("messages of a kernel whose joining was not read yet wait for that", () => {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  const a = near.bind();
  near.deaf = true;
  const third = lab.add();
  // It hears of its own joining and of its lease from the others.
  const grantor = lab.kernels.find(({ id }) => id === lab.view.grantor.kernel)!;
  if (grantor === near) near.deaf = false;
  lab.until(() => !third.machine.frozen);
  const b = third.bind();
  third.send(b, a, "hello");
  lab.settle();
  near.deaf = false;
  lab.settle();
  expect(near.taken(a)?.body).toBe("hello");
  expect(far.machine.frozen).toBe(false);
});

test("the drift that is allowed for is part of what a grantor waits", () => {
  const { lab, grantor, one } = three();
  isolate(lab, one);
  const cutMs = lab.nowMs;
  lab.until(() => removals(lab).length > 0);
  // The last lease was granted with the last beacon before the cut, at most one beacon ago.
  expect(lab.nowMs - cutMs).toBeGreaterThan(kernelLeaseMs + leaseDriftMs - 200);
  expect(grantor.machine.frozen).toBe(false);
});

test("a new member of which nothing is heard freezes nobody, and is removed", () => {
  const { lab, grantor, one, two } = three();
  const newcomer = lab.add();
  isolate(lab, newcomer);
  lab.until(() => lab.view.memberOf(newcomer.machine.member.incarnation) !== undefined);
  const { kernel } = lab.view.memberOf(newcomer.machine.member.incarnation)!;
  lab.until(() => removals(lab).some((removal) => removal.kernel === kernel));
  lab.run(1_000);
  for (const { states } of [grantor, one, two]) expect(states).toEqual(["thaw"]);
});

test("a new member that is slow to be heard is waited for, and freezes nobody meanwhile", () => {
  const { lab, grantor, one, two } = three();
  const newcomer = lab.add();
  isolate(lab, newcomer);
  lab.until(() => lab.view.memberOf(newcomer.machine.member.incarnation) !== undefined);
  lab.run(newcomerSilenceMs - 500);
  heal(lab);
  lab.until(() => !newcomer.machine.frozen);
  expect(removals(lab)).toEqual([]);
  for (const { states } of [grantor, one, two, newcomer]) expect(states).toEqual(["thaw"]);
});

test("a new member that no beacon has reached leaves it to the others to elect a grantor", () => {
  const { lab, grantor, one, two } = three();
  for (const kernel of [grantor, one, two]) isolate(lab, kernel);
  const newcomer = lab.add();
  isolate(lab, newcomer);
  lab.until(() => lab.view.grantor.kernel !== grantor.id);
  expect([one.id, two.id]).toContain(lab.view.grantor.kernel);
});
