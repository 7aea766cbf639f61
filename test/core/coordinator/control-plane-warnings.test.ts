import { expect, test } from "bun:test";
import type { Member } from "../../../core/coordinator/members.ts";
import type { PeerView } from "../../../core/coordinator/peer-watch.ts";
import {
  controlPlaneWarnings,
  type ControlPlanePicture,
} from "../../../core/coordinator/control-plane-warnings.ts";

const member = (k: number, more: Partial<Member> = {}): Member => ({
  id: `c${k}`,
  api: `10.0.0.${k}:7400`,
  agents: `10.0.0.${k}:7401`,
  machine: `boot-${k}`,
  ...more,
});
const ha = (k: number): Partial<Member> => ({
  etcd: { client: `https://10.0.0.${k}:7402`, peer: `https://10.0.0.${k}:7403` },
});
const peer = (
  k: number,
  state: PeerView["state"] = "up",
  more: Partial<Member> = {},
  imagesLacking = 0,
): PeerView => ({
  member: member(k, more),
  state,
  health: state === "up" ? { id: `c${k}`, version: "1", acting: false, imagesLacking } : null,
});
const picture = (of: Partial<ControlPlanePicture>): ControlPlanePicture => ({
  store: { driver: "etcd", members: { voters: 3, silent: [] } },
  own: member(1, ha(1)),
  others: [peer(2), peer(3)],
  nodes: [],
  ...of,
});

test("three coordinators on three machines with three members warn of nothing", () => {
  expect(controlPlaneWarnings(picture({}))).toEqual([]);
  // Nodes beside them do no harm: of three machines any one may be lost.
  expect(
    controlPlaneWarnings(picture({ nodes: [{ name: "n1", address: "10.0.0.1", containers: 2 }] })),
  ).toEqual([]);
});

test("a coordinator on SQLite beside containers is told from one on a machine of its own", () => {
  const alone = { store: { driver: "sqlite" as const }, others: [] };
  const nodes = [{ name: "n1", address: "10.0.0.1", containers: 1 }];
  expect(controlPlaneWarnings(picture({ ...alone, nodes }))).toEqual([
    expect.stringContaining("on the machine of node n1, which runs containers too"),
  ]);
  for (const harmless of [[], [{ ...nodes[0]!, containers: 0 }], [{ ...nodes[0]!, address: "10.0.0.9" }]]) {
    expect(controlPlaneWarnings(picture({ ...alone, nodes: harmless }))).toEqual([
      expect.stringContaining("one coordinator with a SQLite store"),
    ]);
  }
});

test("too few members of the store, or one that is silent, leave no margin", () => {
  const of = (voters: number, silent: string[]) =>
    controlPlaneWarnings(picture({ store: { driver: "etcd", members: { voters, silent } } }));
  expect(of(1, [])[0]).toContain("the store has one member: if its machine is lost");
  expect(of(2, [])[0]).toContain("the store has 2 members");
  expect(of(3, ["https://10.0.0.2:7402"])).toEqual([
    expect.stringContaining("1 of 3 members of the store do not answer (10.0.0.2:7402): with one more lost"),
  ]);
  expect(of(5, ["https://10.0.0.2:7402"])).toEqual([]);
  expect(of(5, ["https://10.0.0.2:7402", "https://10.0.0.3:7402"])).toHaveLength(1);
});

test("a coordinator that is down, the only one, and all on one machine are told with advice", () => {
  expect(controlPlaneWarnings(picture({ others: [peer(2), peer(3, "down")] }))).toEqual([
    expect.stringContaining("dvs coordinator rm c3"),
  ]);
  expect(controlPlaneWarnings(picture({ others: [] }))[0]).toContain("only this coordinator runs");
  const together = [peer(2, "up", { machine: "boot-1" }), peer(3, "unknown", { machine: "boot-1" })];
  expect(controlPlaneWarnings(picture({ others: together }))).toEqual([
    expect.stringContaining("all 3 coordinators are on one machine"),
  ]);
  // On loopback each address stands for a machine.
  const own = { ...member(1), api: "127.0.0.1:7400", machine: "boot" };
  const loopback = [peer(2, "up", { api: "127.0.0.2:7400", machine: "boot" })];
  expect(controlPlaneWarnings(picture({ own, others: loopback }))).toEqual([]);
  expect(controlPlaneWarnings(picture({ others: [peer(2, "up", {}, 1), peer(3)] }))).toEqual([
    expect.stringContaining("is still fetching an image"),
  ]);
});
