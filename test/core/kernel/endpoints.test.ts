/** bind, unbind, names, and what endpoints promise. */
import { describe, expect, test } from "bun:test";
import { ANY, endpointOf, generationOf, NONE, slotOf } from "../../../core/kernel/endpoint.ts";
import { privilegeBits } from "../../../core/kernel/privileges.ts";
import type { Proc } from "../../../core/kernel/proc.ts";
import { slotsPerLease } from "../../../core/limits.ts";
import { Lab, places } from "./lab.ts";

const privileges = privilegeBits();

test("processes of all kernels have endpoints of their own", () => {
  const lab = new Lab(3);
  const all = lab.kernels.flatMap((kernel) => [kernel.bind(), kernel.bind(), kernel.bind()]);
  expect(new Set(all.map((proc) => slotOf(proc.endpoint))).size).toBe(9);
  for (const [i, { endpoint }] of all.entries()) {
    expect(lab.view.holderOf(endpoint)).toBe(lab.kernels[Math.floor(i / 3)]!.id);
  }
});

test("one record leases slots for many binds", () => {
  const lab = new Lab(1);
  const [kernel] = lab.kernels;
  for (let i = 0; i < slotsPerLease; i++) kernel!.bind();
  const leases = () => lab.records.filter(({ record }) => record.type === "slots").length;
  expect(leases()).toBe(1);
  kernel!.bind();
  expect(leases()).toBe(2);
});

test("a slot that is used again has another generation: its old endpoint never leads to the new process", () => {
  const lab = new Lab(1);
  const kernel = lab.kernels[0]!;
  const first = kernel.bind();
  const caller = kernel.bind();
  kernel.machine.unbind(first);
  let again: Proc | undefined;
  for (let i = 0; i < slotsPerLease && !again; i++) {
    const proc = kernel.bind();
    if (slotOf(proc.endpoint) === slotOf(first.endpoint)) again = proc;
  }
  expect(generationOf(again!.endpoint)).toBe(generationOf(first.endpoint) + 1);
  expect(kernel.send(caller, first).outcome).toBe("DIED");
  expect(again!.mailbox.length).toBe(0);
});

describe.each(places)("%s", (_place, where) => {
  test("what was never bound is NOT_BOUND, what was and has ended is DIED", () => {
    const { lab, near, far } = where();
    const [a, b] = [near.bind(), far.bind()];
    far.machine.unbind(b);
    const next = endpointOf(slotOf(b.endpoint), generationOf(b.endpoint) + 1);
    const nobodys = endpointOf(60_000, 1);
    const gone = near.sendrec(a, b);
    const calls = [next, nobodys, NONE, ANY, 17, 0.5, NaN].map((to) => near.sendrec(a, to));
    lab.settle();
    expect(gone.outcome).toBe("DIED");
    expect(calls.map((call) => call.outcome)).toEqual(calls.map(() => "NOT_BOUND"));
  });

  test("a name is found on every kernel once its record is read, and leads to its process", () => {
    const { lab, near, far } = where();
    const a = near.bind();
    expect(near.machine.lookup("files")).toBeUndefined();
    const files = far.bind({ name: "files" });
    expect(near.machine.lookup("files")).toBe(files.endpoint);
    near.send(a, near.machine.lookup("files")!, "to files");
    expect(far.taken(files)?.body).toBe("to files");
    lab.settle();
  });

  test("one endpoint has a name: the second that asks for it is not bound at all", () => {
    const { lab, near, far } = where();
    const first = near.bind({ name: "files" });
    const second = far.machine.bind({ name: "files", privileges });
    lab.settle();
    expect(second.outcome).toBe("NAME_TAKEN");
    expect(lab.view.names.get("files")).toBe(first.endpoint);
    expect([...far.machine.table.all()].every((proc) => proc === first)).toBe(true);
  });

  test("of two that ask for a name at the same time one gets it, and both kernels agree which", () => {
    const { lab, near, far } = where();
    near.bind();
    far.bind();
    const calls = [near, far].map(({ machine }) => machine.bind({ name: "files", privileges }));
    lab.settle();
    expect(calls.filter((call) => call.outcome === "NAME_TAKEN").length).toBe(1);
    const winner = calls.find((call) => call.outcome === "OK")!.result!.body as Proc;
    for (const { machine } of lab.kernels) expect(machine.lookup("files")).toBe(winner.endpoint);
  });

  test("a name is free when its process has ended", () => {
    const { lab, near, far } = where();
    const first = near.bind({ name: "files" });
    near.machine.unbind(first);
    lab.settle();
    expect(far.machine.lookup("files")).toBeUndefined();
    expect(far.bind({ name: "files" }).endpoint).not.toBe(first.endpoint);
  });
});

test("a bind waits until its kernel has joined and leased slots", () => {
  const lab = new Lab(1);
  lab.ordering = false;
  const kernel = lab.add();
  const call = kernel.machine.bind({ privileges });
  lab.run(500);
  expect(call.outcome).toBeNull();
  lab.ordering = true;
  lab.until(() => call.outcome !== null);
  expect(call.outcome).toBe("OK");
});

test("a kernel that is removed has its slots leased to others, under generations that it could not have given out", () => {
  const lab = new Lab(2);
  const [a, b] = lab.kernels;
  const caller = a!.bind();
  const old = b!.bind();
  b!.die();
  lab.settle();
  let again: Proc | undefined;
  for (let i = 0; i < 3 * slotsPerLease && !again; i++) {
    const proc = a!.bind();
    if (slotOf(proc.endpoint) === slotOf(old.endpoint)) again = proc;
  }
  expect(generationOf(again!.endpoint)).toBeGreaterThan(2 ** 20);
  expect(a!.send(caller, old).outcome).toBe("DIED");
});
