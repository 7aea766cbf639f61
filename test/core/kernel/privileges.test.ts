/** Who may call whom: declared at bind, checked by the sender's kernel and again by the receiver's. */
import { describe, expect, test } from "bun:test";
import { isPrivilegeBits, type CallName, privilegeBits } from "../../../core/kernel/privileges.ts";
import { messageTable } from "../../../core/kernel/messages.ts";
import { places, Lab } from "./lab.ts";

const [users, files, disks] = [1, 2, 3];
const all = ["send", "sendrec", "notify", "receive", "reply", "copy", "lookup", "info"] as const;

describe.each(places)("%s", (_place, where) => {
  test.each([
    ["the caller may not call that group", { to: [disks] }, {}],
    ["the other may not be called by the caller's group", {}, { from: [disks] }],
  ])("when %s, no call gets there", (_why, caller, callee) => {
    const { lab, near, far } = where();
    const a = near.bind({ privileges: { group: users, ...caller } });
    const b = far.bind({ privileges: { group: files, ...callee } });
    const id = far.machine.grant(b, { buffer: new Uint8Array(4), access: "both", grantee: -1 });
    const buffer = new Uint8Array(4);
    const read = { direction: "read", owner: b.endpoint, grant: id, offset: 0, buffer } as const;
    const calls = [near.send(a, b), near.sendrec(a, b), near.machine.copy(a, read)];
    lab.settle();
    near.machine.notify(a, b.endpoint);
    lab.settle();
    expect(calls.map((call) => call.outcome)).toEqual(calls.map(() => "NOT_ALLOWED"));
    expect(far.taken(b)).toBeNull();
    expect(a.underWay).toBe(0);
  });

  test("when both agree, it gets there, and may be answered by who may not call back", () => {
    const { lab, near, far } = where();
    const a = near.bind({ privileges: { group: users, to: [files], from: [] } });
    const b = far.bind({ privileges: { group: files, to: [], from: [users] } });
    const call = near.sendrec(a, b, "open");
    expect(far.reply(b, far.taken(b)!, "opened")).toBe("OK");
    lab.settle();
    expect(call.result?.body).toBe("opened");
    const back = far.send(b, a);
    lab.settle();
    expect(back.outcome).toBe("NOT_ALLOWED");
  });

  test.each(all)("a process that may not %s cannot, and can do the rest", (forbidden) => {
    const { lab, near, far } = where();
    const calls: CallName[] = all.filter((name) => name !== forbidden);
    const [a, b] = [near.bind({ privileges: { calls } }), far.bind()];
    far.sendrec(b, a, "a request");
    near.bind({ name: "files" });
    const grant = far.machine.grant(b, { buffer: new Uint8Array(4), access: "both", grantee: -1 });
    lab.settle();
    const { machine } = near;
    const received = near.receive(a);
    const request = received.result ?? a.mailbox.head!;
    const copy = {
      direction: "read",
      owner: b.endpoint,
      grant,
      offset: 0,
      buffer: new Uint8Array(4),
    } as const;
    const outcomes = {
      receive: () => received.outcome,
      send: () => outcomeOf(near.send(a, b)),
      sendrec: () => outcomeOf(near.sendrec(a, b)),
      notify: () => machine.notify(a, b.endpoint),
      reply: () => near.reply(a, request),
      copy: () => outcomeOf(machine.copy(a, copy)),
      lookup: () => outcomeOf(machine.waitForName(a, "files")),
      info: () => outcomeOf(machine.getInfo(a, b.endpoint)),
    };
    function outcomeOf(call: { outcome: unknown }) {
      lab.settle();
      return call.outcome;
    }
    for (const name of all) {
      const outcome = outcomes[name]();
      if (name === forbidden) expect([name, outcome]).toEqual([name, "NOT_ALLOWED"]);
      else expect(outcome).not.toBe("NOT_ALLOWED");
    }
  });
});

test("the receiver's kernel does not rely on the sender's", () => {
  const lab = new Lab(2);
  const [near, far] = [lab.kernels[0]!, lab.kernels[1]!];
  const a = near.bind({ privileges: { group: users } });
  const b = far.bind({ privileges: { group: files, from: [disks] } });
  const { send, request, notify } = messageTable;
  // As a kernel sends them that has not asked, or does not care.
  near.transmit(far.id, [send.number, a.endpoint, 1, b.endpoint, users, 0, 1, null]);
  near.transmit(far.id, [request.number, a.endpoint, 2, b.endpoint, users, 0, 1, null]);
  near.transmit(far.id, [notify.number, a.endpoint, 3, b.endpoint, users, 0, 1]);
  lab.settle();
  expect(far.taken(b)).toBeNull();
  expect(far.sent.filter((name) => name === "failed").length).toBe(2);
});

test("what no VOS may declare is refused by name", () => {
  expect(() => privilegeBits({ group: 31 })).toThrow("group 31: an integer from 0 to 30");
  expect(() => privilegeBits({ to: [-1] })).toThrow("group -1");
  expect(() => privilegeBits({ level: "root" as "user" })).toThrow("level root: one of user, server");
  expect(() => privilegeBits({ calls: JSON.parse(`["fly"]`) as [] })).toThrow(
    "call fly: one of send, sendrec",
  );
});

test("privileges of another kernel are taken as they are only if they can be", () => {
  const good = privilegeBits({ group: 3 });
  expect(isPrivilegeBits(structuredClone(good))).toBe(true);
  for (const bad of [
    null,
    1,
    {},
    { ...good, to: 2 ** 31 },
    { ...good, group: 31 },
    { ...good, calls: 1 << 12 },
  ]) {
    expect(isPrivilegeBits(bad)).toBe(false);
  }
});
