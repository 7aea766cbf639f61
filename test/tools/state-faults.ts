/**
 * Faults under mixed load, on real state processes: each round one thing happens to three replicas, each on a machine
 * of its own, while clients at every one of them read and write; then everything heals, and what the clients were told
 * is judged. Prints a line a round, and at the end one JSON object with the gaps between acknowledged writes.
 *
 *   bun test/tools/state-faults.ts [--rounds 27] [--seed N] [--only kill-primary,…] [--durability fsync|replicated]
 *     [--load kv|files]
 *
 * Exit code 1 for a mistake of theirs, 2 for one of yours, 3 where there can be no such machines (and why).
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Random } from "../sim/harness/random.ts";
import { StateCluster } from "./state-cluster.ts";
import { kinds, type Kind, type World } from "./state-faults/kinds.ts";
import { FilesLoad } from "./state-faults/files-load.ts";
import { Load, type LoadClient } from "./state-faults/load.ts";
import { enterNamespaces, Machines, whyNoMachines } from "./state-faults/machines.ts";

const replicas = 3;
const warmWrites = 30;
const logLines = 30;

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: String(kinds.length) },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    only: { type: "string", default: "" },
    durability: { type: "string", default: "fsync" },
    load: { type: "string", default: "kv" },
  },
});

process.exit(await main());

async function main(): Promise<number> {
  const chosen =
    options.only === "" ? kinds : kinds.filter(({ name }) => options.only.split(",").includes(name));
  const rounds = Number(options.rounds);
  const seed = Number(options.seed);
  const { durability } = options;
  if (
    chosen.length === 0 ||
    !Number.isSafeInteger(rounds) ||
    !Number.isSafeInteger(seed) ||
    (durability !== "fsync" && durability !== "replicated") ||
    (options.load !== "kv" && options.load !== "files")
  ) {
    console.error(`kinds: ${kinds.map(({ name }) => name).join(", ")}`);
    return 2;
  }
  const why = whyNoMachines();
  if (why !== null) {
    console.error(why);
    return 3;
  }
  const ended = enterNamespaces();
  if (ended !== null) return ended;

  const random = new Random(seed);
  const machines = new Machines(replicas);
  const cluster = await StateCluster.open({
    replicas,
    durability,
    wrap: (node) => machines.wrap(node),
    host: (node) => machines.host(node),
    prepareDisk: (dir) => machines.mountDisk(dir),
    releaseDisk: (dir) => machines.unmountDisk(dir),
    supervised: true,
    carriedOutAway: () => random.float() < 0.5,
  });
  const load = options.load === "files" ? filesLoad(cluster, random) : kvLoad(cluster, random);
  const world: World = { cluster, machines, random: () => random.float() };
  const gaps = new Map<string, number[]>();
  let wrong: string[] = [];
  try {
    for (let round = 1; round <= rounds && wrong.length === 0; round++) {
      const kind = chosen[(round - 1) % chosen.length]!;
      const { gapMs, lastedMs, mistakes } = await runRound(kind, world, load);
      wrong = [...mistakes, ...defects(cluster)];
      gaps.set(kind.name, [...(gaps.get(kind.name) ?? []), gapMs]);
      console.error(`${round} ${kind.name}: for ${Math.round(lastedMs)} ms, gap ${Math.round(gapMs)} ms`);
    }
  } catch (e) {
    wrong.push(e instanceof Error ? (e.stack ?? e.message) : String(e));
  }
  if (wrong.length > 0) tellLogs(cluster);
  load.close();
  await cluster.close();
  for (const mistake of wrong) console.error(`WRONG: ${mistake}`);
  const { endedByThemselves } = cluster;
  const figures = Object.fromEntries([...gaps].map(([name, ms]) => [name, distribution(ms)]));
  console.log(
    JSON.stringify({ seed, rounds, wrong: wrong.length, ...load.totals, endedByThemselves, gapsMs: figures }),
  );
  return wrong.length > 0 ? 1 : 0;
}

function kvLoad(cluster: StateCluster, random: Random): Load {
  const clientsOf = (what: string, local: boolean): LoadClient[] =>
    cluster.nodes.map(({ id }, at) => ({ name: `${what}-${id}`, kv: cluster.client(at, { local }) }));
  const clients = [...clientsOf("far", false), ...clientsOf("beside", true)];
  return new Load(clients, clientsOf("watcher", false), () => random.float());
}

function filesLoad(cluster: StateCluster, random: Random): FilesLoad {
  const clients = ["a", "b"].flatMap((what) =>
    cluster.nodes.map(({ id }, at) => ({ name: `${what}-${id}`, fs: cluster.files(at) })),
  );
  return new FilesLoad(clients, () => random.float());
}

async function runRound(kind: Kind, world: World, load: Load | FilesLoad) {
  const { cluster, random } = world;
  const [least, most] = kind.lastsMs;
  await cluster.allInSync();
  await load.begin();
  await load.acknowledged(warmWrites);
  const beganMs = performance.now();
  const heal = await kind.strike(world);
  const lastedMs = least + random() * (most - least);
  await sleep(lastedMs);
  heal();
  await cluster.allInSync();
  await load.acknowledged(warmWrites);
  const gapMs = load.longestGapMs(beganMs);
  return { gapMs, lastedMs, mistakes: await load.end() };
}

/** What must not happen in a state process, whatever happens to it. */
function defects(cluster: StateCluster): string[] {
  return logsOf(cluster).flatMap(({ id, lines }) => {
    const bad = lines.filter((line) => /"defect"|are damaged/.test(line));
    return bad.map((line) => `${id}: ${line}`);
  });
}

function tellLogs(cluster: StateCluster): void {
  for (const { id, lines } of logsOf(cluster)) {
    console.error(`--- ${id}`);
    console.error(lines.slice(-logLines).join("\n"));
  }
}

function logsOf(cluster: StateCluster): { id: string; lines: string[] }[] {
  return cluster.nodes.map(({ id }, at) => {
    const file = join(cluster.runDir(at), "state.log");
    return { id, lines: existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n") : [] };
  });
}

function distribution(ms: number[]): { n: number; p50: number; max: number } {
  const sorted = ms.map(Math.round).sort((a, b) => a - b);
  return { n: ms.length, p50: sorted[sorted.length >> 1]!, max: sorted.at(-1)! };
}
