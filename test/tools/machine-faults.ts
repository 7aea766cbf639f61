/**
 * One fault at a time on three real machines: network namespaces on a bridge, each with a coordinator and an agent as
 * people start them, and an instance with a replica of its state on each, while containers' own clients on every
 * machine read and write. Then everything heals, and what the clients were told is judged: linearizable, nothing that
 * was acknowledged is lost, nothing is done twice.
 *
 * With etcd (`--ha` on each machine) whoever reaches a majority has to be able to write again within 3 s. With SQLite
 * (one coordinator, on the first machine) a fault that takes this machine's word away pauses the instance, and
 * `dvs status`, wherever it can be asked, has to say so within 2 s.
 *
 *   bun test/tools/machine-faults.ts --store etcd|sqlite [--only cut-primary,…] [--rounds N] [--strict]
 *
 * Exit code 1 for a mistake of theirs (with --strict also for a goal that was missed), 2 for one of yours, 3 where there
 * can be no such machines (and why).
 */
import { spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Random } from "../sim/harness/random.ts";
import { FarClient } from "./machine-faults/far-client.ts";
import { type Kind, kinds, type Struck } from "./machine-faults/kinds.ts";
import { RealMachines, type StoreKind, type Waited } from "./machine-faults/real-machines.ts";
import { type Announced, announcement } from "./machine-faults/announcement.ts";
import { Load, type LoadClient } from "./state-faults/load.ts";
import { enterNamespaces, Machines, whyNoMachines } from "./state-faults/machines.ts";

const machinesCount = 3;
const warmWrites = 30;
/** Longer than either goal, so that what misses it is seen; */
const lastsMs = 5_000;
/** and until what is promised has come about, on a machine that has much else to do. */
const lastsMsMax = 40_000;
/** What was acknowledged so soon after the fault may have been under way before. */
const underWayMs = 1_000;
const healsWithinMs = 3_000;
const announcedWithinMs = 2_000;
const logLines = 40;

const { values: options } = parseArgs({
  options: {
    store: { type: "string", default: "etcd" },
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    strict: { type: "boolean", default: false },
    logs: { type: "boolean", default: false },
  },
});

interface Figures {
  /** Between two acknowledged writes, of whichever client that was connected. */
  anyMs: number[];
  /** … of the client that waited longest. */
  eachMs: number[];
  /** Until everything was well again after it was mended. */
  wellMs: number[];
  announcedMs: number[];
}

process.exit(await main());

async function main(): Promise<number> {
  const { store } = options;
  const only = options.only === "" ? null : options.only.split(",");
  const chosen = kinds.filter(
    (kind) => (kind.store ?? store) === store && (only?.includes(kind.name) ?? true),
  );
  const rounds = options.rounds === "" ? chosen.length : Number(options.rounds);
  const seed = Number(options.seed);
  const isStore = store === "sqlite" || store === "etcd";
  if (!isStore || chosen.length === 0 || !Number.isSafeInteger(rounds) || !Number.isSafeInteger(seed)) {
    console.error(`kinds: ${kinds.map(({ name }) => name).join(", ")}`);
    return 2;
  }
  const why = whyNotHere(store);
  if (why !== null) {
    console.error(why);
    return 3;
  }
  const ended = enterNamespaces();
  if (ended !== null) return ended;

  const machines = await RealMachines.open(new Machines(machinesCount), store);
  const random = new Random(seed);
  const clientsOf = (what: string, reads: "local" | "remote") =>
    machines.indices.map((at) => ({
      name: `${what}-${at}`,
      at,
      kv: new FarClient(machines.wrap(at), machines.dataDir(at), machines.uid, reads),
    }));
  const clients = [...clientsOf("far", "remote"), ...clientsOf("beside", "local")];
  const watchers = clientsOf("watcher", "remote");
  const load = new Load(clients, watchers, () => random.float());
  const figures = new Map<string, Figures>();
  let wrong: string[] = [];
  const missed: string[] = [];
  let [unhealed, unannounced] = [0, 0];
  for (let round = 1; round <= rounds && wrong.length === 0; round++) {
    const kind = chosen[(round - 1) % chosen.length]!;
    try {
      const told = await runRound(kind, machines, load, clients);
      wrong = [...told.wrong, ...defects(machines)];
      missed.push(...told.missed.map((what) => `${kind.name}: ${what}`));
      unhealed += told.healed ? 0 : 1;
      unannounced += told.unannounced;
      note(figures, kind.name, told);
      console.error(`${round} ${kind.name}: ${told.words}`);
      for (const what of told.missed) console.error(`   MISSED: ${what}`);
    } catch (e) {
      wrong = [`${kind.name}: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`];
    }
  }
  if (wrong.length > 0 || options.logs) tellLogs(machines);
  load.close();
  for (const { kv } of [...clients, ...watchers]) kv.close();
  for (const mistake of wrong) console.error(`WRONG: ${mistake}`);
  tellTable(figures);
  console.log(
    JSON.stringify({
      store,
      seed,
      rounds,
      wrong: wrong.length,
      missed: missed.length,
      unhealed,
      unannounced,
      ...load.totals,
      figures: byKind(figures),
    }),
  );
  return wrong.length > 0 || (options.strict && missed.length > 0) ? 1 : 0;
}

function whyNotHere(store: StoreKind): string | null {
  if (store === "etcd" && spawnSync("etcd", ["--version"]).status !== 0) return "there is no etcd";
  return whyNoMachines();
}

interface Told {
  anyMs: number | null;
  eachMs: number | null;
  wellMs: number;
  announced: Announced[];
  words: string;
  wrong: string[];
  missed: string[];
  /** Every client that was connected could write again while the fault went on. */
  healed: boolean;
  /** Machines on which nothing was said of the pause. */
  unannounced: number;
}

async function runRound(
  kind: Kind,
  machines: RealMachines,
  load: Load,
  clients: (LoadClient & { at: number })[],
): Promise<Told> {
  await machines.allWell();
  const leader = machines.store === "etcd" ? await machines.etcdLeader() : -1;
  const roles = { primary: await machines.primary(), acting: await machines.acting(), leader };
  load.begin();
  await load.acknowledged(warmWrites);
  const beganMs = performance.now();
  const struck = await kind.strike(machines, roles);
  const announcing = struck.pauses
    ? announcement(machines, struck.asked, beganMs, lastsMsMax)
    : Promise.resolve([]);
  const [announced] = await Promise.all([announcing, sleep(lastsMs)]);
  const connected = clients.filter(({ at }) => struck.connected.includes(at));
  const healed = struck.pauses || (await allWrite(load, connected, beganMs));
  const anyMs = struck.pauses
    ? null
    : load.longestGapMs(
        beganMs,
        connected.map(({ name }) => name),
      );
  const eachMs = struck.pauses
    ? null
    : Math.max(...connected.map(({ name }) => load.longestGapMs(beganMs, [name])));
  const mendedMs = performance.now();
  await struck.heal();
  const waited = await machines.allWell();
  const wellMs = performance.now() - mendedMs;
  await load.acknowledged(warmWrites);
  const wrong = await load.end();
  const missed: string[] = [];
  if (eachMs !== null && eachMs > healsWithinMs)
    missed.push(`a client could not write for ${Math.round(eachMs)} ms`);
  for (const { at, afterMs, words } of announced)
    if (afterMs === null || afterMs > announcedWithinMs)
      missed.push(
        `dvs status on machine ${at + 1} said ${afterMs === null ? "nothing of it" : `it after ${Math.round(afterMs)} ms`}: ${words}`,
      );
  return {
    anyMs,
    eachMs,
    healed,
    unannounced: announced.filter(({ afterMs }) => afterMs === null).length,
    wellMs,
    announced,
    wrong,
    missed,
    words: wordsOf(roles, struck, { anyMs, eachMs, wellMs, waited, announced }),
  };
}

/** Each of these clients writes while the fault goes on, a while after it has begun. */
async function allWrite(load: Load, clients: readonly LoadClient[], beganMs: number): Promise<boolean> {
  while (!clients.every(({ name }) => load.hasWritten(name, beganMs + underWayMs))) {
    if (performance.now() >= beganMs + lastsMsMax) return false;
    await sleep(50);
  }
  return true;
}

function wordsOf(
  { primary, acting, leader }: { primary: number; acting: number; leader: number },
  { pauses }: Struck,
  {
    anyMs,
    eachMs,
    wellMs,
    waited,
    announced,
  }: Pick<Told, "anyMs" | "eachMs" | "wellMs" | "announced"> & { waited: Waited[] },
): string {
  const where = `primary ${primary + 1}, acting ${acting + 1}${leader < 0 ? "" : `, etcd's leader ${leader + 1}`}`;
  const gap = pauses ? "paused" : `gap ${Math.round(anyMs!)} ms, of one client ${Math.round(eachMs!)} ms`;
  const said = announced.map(
    ({ at, afterMs, words }) =>
      `; machine ${at + 1} says after ${afterMs === null ? "–" : Math.round(afterMs)} ms: ${words}`,
  );
  const until = waited.map(({ what, ms }) => `${what} ${Math.round(ms)}`).join(", ");
  const waits = until === "" ? "" : ` (${until})`;
  return `${where}: ${gap}; well ${Math.round(wellMs)} ms after it was mended${waits}${said.join("")}`;
}

/** What must not happen in a host process, whatever happens to it. */
function defects(machines: RealMachines): string[] {
  return machines.logs().flatMap(({ name, text }) =>
    text
      .split("\n")
      .filter((line) => /"defect"|are damaged|\bTypeError\b/.test(line))
      .map((line) => `${name}: ${line}`),
  );
}

function tellLogs(machines: RealMachines): void {
  for (const { name, text } of machines.logs()) {
    console.error(`--- ${name}`);
    console.error(text.trimEnd().split("\n").slice(-logLines).join("\n"));
  }
}

function note(all: Map<string, Figures>, name: string, told: Told): void {
  const of = all.get(name) ?? { anyMs: [], eachMs: [], wellMs: [], announcedMs: [] };
  if (told.anyMs !== null) of.anyMs.push(told.anyMs);
  if (told.eachMs !== null) of.eachMs.push(told.eachMs);
  of.wellMs.push(told.wellMs);
  of.announcedMs.push(...told.announced.map(({ afterMs }) => afterMs ?? Infinity));
  all.set(name, of);
}

function tellTable(all: Map<string, Figures>): void {
  const columns = ["anyMs", "eachMs", "announcedMs", "wellMs"] as const;
  console.error(`\n${"fault".padEnd(30)}${columns.map((c) => c.padStart(18)).join("")}   (p50 / max)`);
  for (const [name, figures] of [...all, ["all", merged([...all.values()])] as const]) {
    const cells = columns.map((column) => {
      const found = distribution(figures[column]);
      return (found ? `${found.p50} / ${found.max}` : "–").padStart(18);
    });
    console.error(`${name.padEnd(30)}${cells.join("")}`);
  }
}

function merged(all: Figures[]): Figures {
  return {
    anyMs: all.flatMap((f) => f.anyMs),
    eachMs: all.flatMap((f) => f.eachMs),
    wellMs: all.flatMap((f) => f.wellMs),
    announcedMs: all.flatMap((f) => f.announcedMs),
  };
}

function byKind(all: Map<string, Figures>) {
  const of = (figures: Figures) => ({
    gapMs: distribution(figures.anyMs),
    gapOfEachMs: distribution(figures.eachMs),
    announcedMs: distribution(figures.announcedMs),
    wellMs: distribution(figures.wellMs),
  });
  return Object.fromEntries([...all].map(([name, figures]) => [name, of(figures)]));
}

function distribution(ms: number[]): { n: number; p50: number; max: number } | null {
  if (ms.length === 0) return null;
  const sorted = ms.map(Math.round).sort((a, b) => a - b);
  return { n: ms.length, p50: sorted[sorted.length >> 1]!, max: sorted.at(-1)! };
}
