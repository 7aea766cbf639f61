/** What may happen to replicas, each kind with how long it lasts. */
import type { StateCluster } from "../state-cluster.ts";
import type { Machines } from "./machines.ts";

export interface World {
  cluster: StateCluster;
  machines: Machines;
  /** In [0, 1). */
  random: () => number;
}

export interface Kind {
  name: string;
  /** At least and at most, in milliseconds. */
  lastsMs: [number, number];
  /** Resolves when it has happened, with what ends it. */
  strike(world: World): Promise<() => void>;
}

/** Around the lease of 800 ms and the 1.1 s after which a backup takes over. */
const short: [number, number] = [300, 900];
const long: [number, number] = [900, 3_000];

export const kinds: readonly Kind[] = [
  kill("kill-primary", [0, 500], ({ cluster }) => [cluster.primary]),
  kill("kill-backup", [0, 500], ({ cluster }) => [cluster.backup]),
  kill("kill-backup-for-long", long, ({ cluster }) => [cluster.backup]),
  kill("kill-two", long, ({ cluster }) => [cluster.primary, cluster.backup]),
  kill("kill-all", [0, 500], ({ cluster }) => [...cluster.nodes.keys()]),
  stop("stop-primary", long, ({ cluster }) => [cluster.primary]),
  stop("stop-primary-shortly", short, ({ cluster }) => [cluster.primary]),
  stop("stop-backup", long, ({ cluster }) => [cluster.backup]),
  stop("stop-backup-shortly", short, ({ cluster }) => [cluster.backup]),
  stop("stop-all", long, ({ cluster }) => [...cluster.nodes.keys()]),
  cut("cut-primary", long, (p, all) => [...pairs([p], all), ...pairs(all, [p])]),
  cut("cut-backup", long, (_p, [b], all) => [...pairs([b!], all), ...pairs(all, [b!])]),
  cut("cut-primary-from-one", long, (p, [b]) => [...pairs([p], [b!]), ...pairs([b!], [p])]),
  cut("cut-backups-from-each-other", long, (_p, [b, c]) => [...pairs([b!], [c!]), ...pairs([c!], [b!])]),
  cut("nothing-from-primary", long, (p, all) => pairs([p], all)),
  cut("nothing-to-primary", long, (p, all) => pairs(all, [p])),
  cut("nothing-from-backup", long, (_p, [b], all) => pairs([b!], all)),
  cut("nothing-to-backup", long, (_p, [b], all) => pairs(all, [b!])),
  cut("cut-all", long, (_p, _others, all) => pairs(all, all)),
  cut(
    "cut-primary-also-from-store",
    long,
    (p, all) => [...pairs([p], all), ...pairs(all, [p])],
    (p) => [p],
  ),
  cut(
    "cut-backups-also-from-store",
    long,
    (p, others) => [...pairs([p], others), ...pairs(others, [p])],
    (_p, others) => others,
  ),
  cut(
    "store-away",
    long,
    () => [],
    (p, others) => [p, ...others],
  ),
  {
    name: "store-away-and-kill-primary",
    lastsMs: long,
    async strike({ cluster }) {
      cluster.setAway([...cluster.nodes.keys()]);
      const { primary } = cluster;
      await cluster.kill(primary);
      return () => {
        cluster.setAway([]);
        cluster.restart(primary);
      };
    },
  },
  {
    name: "store-away-and-cut-backup",
    lastsMs: long,
    async strike({ cluster, machines }) {
      cluster.setAway([...cluster.nodes.keys()]);
      const { primary, backup } = cluster;
      for (const [from, to] of [...pairs([primary], [backup]), ...pairs([backup], [primary])])
        machines.cut(from, to);
      return () => {
        cluster.setAway([]);
        machines.mend();
      };
    },
  },
  full("full-disk-of-primary", ({ cluster }) => [cluster.primary]),
  full("full-disk-of-backup", ({ cluster }) => [cluster.backup]),
  full("full-disks", ({ cluster }) => [...cluster.nodes.keys()]),
];

function kill(name: string, lastsMs: Kind["lastsMs"], whom: (world: World) => number[]): Kind {
  return {
    name,
    lastsMs,
    async strike(world) {
      const { cluster } = world;
      const victims = whom(world);
      await Promise.all(victims.map((at) => cluster.kill(at)));
      return () => {
        for (const at of victims) cluster.restart(at);
      };
    },
  };
}

function stop(name: string, lastsMs: Kind["lastsMs"], whom: (world: World) => number[]): Kind {
  return {
    name,
    lastsMs,
    async strike(world) {
      const { cluster } = world;
      const victims = whom(world);
      for (const at of victims) cluster.pause(at);
      return () => {
        for (const at of victims) cluster.resume(at);
      };
    },
  };
}

/** Whose packets no longer arrive at whom, and who is away from the store. */
function cut(
  name: string,
  lastsMs: Kind["lastsMs"],
  links: (primary: number, others: number[], all: number[]) => [number, number][],
  away: (primary: number, others: number[]) => number[] = () => [],
): Kind {
  return {
    name,
    lastsMs,
    async strike({ cluster, machines }) {
      const all = [...cluster.nodes.keys()];
      const { primary } = cluster;
      const others = all.filter((at) => at !== primary);
      cluster.setAway(away(primary, others));
      for (const [from, to] of links(primary, others, all)) machines.cut(from, to);
      return () => {
        machines.mend();
        cluster.setAway([]);
      };
    },
  };
}

/** Not a byte is left, or less than a replica keeps in reserve. */
function full(name: string, whom: (world: World) => number[]): Kind {
  return {
    name,
    lastsMs: long,
    async strike(world) {
      const { cluster, machines, random } = world;
      const disks = whom(world).map((at) => cluster.diskDir(at));
      for (const disk of disks) machines.fill(disk, random() < 0.5 ? 0 : Math.floor(random() * 2 ** 22));
      return () => {
        for (const disk of disks) machines.empty(disk);
      };
    },
  };
}

function pairs(from: number[], to: number[]): [number, number][] {
  return from.flatMap((a) => to.filter((b) => b !== a).map((b): [number, number] => [a, b]));
}
