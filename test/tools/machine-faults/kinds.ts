/** What may happen to three real machines, one thing at a time, and who can reach a majority meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import type { RealMachines, Role } from "./real-machines.ts";

export interface Roles {
  primary: number;
  acting: number;
  /** Of the store's members; −1 with SQLite. */
  leader: number;
}

export interface Struck {
  /** Machines whose clients reach a majority of the machines, both ways. */
  connected: number[];
  /** Nobody can change who is in sync: a single fault, that SQLite does not outlive. */
  pauses: boolean;
  /** Machines on which somebody can ask a coordinator. */
  asked: number[];
  heal(): Promise<void>;
}

export interface Kind {
  name: string;
  /** Absent: with either store. */
  store?: "sqlite" | "etcd";
  strike(machines: RealMachines, roles: Roles): Promise<Struck>;
}

const machineRoles: readonly Role[] = ["coordinator", "etcd", "agent", "ingress", "container", "state"];
type Pick = (roles: Roles, all: number[]) => number;

const primary: Pick = ({ primary: at }) => at;
const backup: Pick = ({ primary: p, acting }, all) =>
  all.find((at) => at !== p && at !== acting) ?? all.find((at) => at !== p)!;
const acting: Pick = ({ acting: at }) => at;
const standby: Pick = ({ acting: a }, all) => all.find((at) => at !== a)!;
const leader: Pick = ({ leader: at }) => at;
const follower: Pick = ({ leader: l }, all) => all.find((at) => at !== l)!;
const nth =
  (k: number): Pick =>
  () =>
    k;

const ways = ["full", "nothing-from", "nothing-to"] as const;

export const kinds: readonly Kind[] = [
  ...[0, 1, 2].flatMap((k) => ways.map((way) => cutMachine(`machine-${k + 1}`, way, nth(k)))),
  ...ways.flatMap((way) => [
    cutMachine("primary", way, primary),
    cutMachine("backup", way, backup),
    cutMachine("acting", way, acting),
  ]),
  ...(
    [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const
  ).flatMap(([a, b]) => [cutPair(a, b, "full"), cutPair(a, b, "one-way"), cutPair(b, a, "one-way")]),
  ...(["SIGKILL", "SIGSTOP"] as const).flatMap((signal) => [
    process("primary", signal, primary, ["state"]),
    process("backup", signal, backup, ["state"]),
    process("container-of-primary", signal, primary, ["container"]),
    process("agent-of-primary", signal, primary, ["agent"]),
    process("agent-of-backup", signal, backup, ["agent"]),
    process("ingress-of-primary", signal, primary, ["ingress"]),
    process("acting-coordinator", signal, acting, ["coordinator"]),
    process("standby-coordinator", signal, standby, ["coordinator"], "etcd"),
    process("etcd-leader", signal, leader, ["etcd"], "etcd"),
    process("etcd-follower", signal, follower, ["etcd"], "etcd"),
    machine("machine-of-primary", signal, primary),
    machine("machine-of-backup", signal, backup),
    machine("machine-of-acting", signal, acting),
    machine("machine-1", signal, nth(0)),
  ]),
];

function cutMachine(what: string, way: (typeof ways)[number], pick: Pick): Kind {
  return {
    name: way === "full" ? `cut-${what}` : `${way}-${what}`,
    strike(machines, roles) {
      const at = pick(roles, machines.indices);
      const others = machines.indices.filter((other) => other !== at);
      for (const other of others) {
        if (way !== "nothing-to") machines.cut(at, other);
        if (way !== "nothing-from") machines.cut(other, at);
      }
      return struck(machines, others, at);
    },
  };
}

/** Each of the two still reaches the third. */
function cutPair(a: number, b: number, way: "full" | "one-way"): Kind {
  return {
    name: `${way === "full" ? "cut" : "nothing"}-from-${a + 1}-to-${b + 1}`,
    strike(machines) {
      machines.cut(a, b);
      if (way === "full") machines.cut(b, a);
      return struck(machines, machines.indices, -1);
    },
  };
}

function process(
  what: string,
  signal: "SIGKILL" | "SIGSTOP",
  pick: Pick,
  roles: readonly Role[],
  store?: "etcd",
): Kind {
  return {
    name: `${signal === "SIGKILL" ? "kill" : "stop"}-${what}`,
    ...(store && { store }),
    strike: (machines, held) =>
      signalled(machines, pick(held, machines.indices), signal, roles, machines.indices),
  };
}

/** All of its host processes at once. */
function machine(what: string, signal: "SIGKILL" | "SIGSTOP", pick: Pick): Kind {
  return {
    name: `${signal === "SIGKILL" ? "kill" : "stop"}-${what}`,
    strike(machines, held) {
      const at = pick(held, machines.indices);
      return signalled(
        machines,
        at,
        signal,
        machineRoles,
        machines.indices.filter((other) => other !== at),
      );
    },
  };
}

async function signalled(
  machines: RealMachines,
  at: number,
  signal: "SIGKILL" | "SIGSTOP",
  roles: readonly Role[],
  connected: number[],
): Promise<Struck> {
  const pids = await machines.pids(at, roles);
  if (pids.length === 0) throw new Error(`machine ${at + 1} has no ${roles.join(", ")}`);
  for (const pid of pids) globalThis.process.kill(pid, signal);
  const isMachine = roles === machineRoles;
  return {
    connected,
    pauses: isMachine && at === 0 && machines.store === "sqlite",
    asked: [],
    async heal() {
      if (signal === "SIGSTOP") for (const pid of pids) globalThis.process.kill(pid, "SIGCONT");
      else await machines.startAgain(at);
      await sleep(0);
    },
  };
}

function struck(machines: RealMachines, connected: number[], without: number): Promise<Struck> {
  return Promise.resolve({
    connected,
    pauses: without === 0 && machines.store === "sqlite",
    asked: [0],
    heal: () => Promise.resolve(machines.mend()),
  });
}
