/**
 * A volume of a million files and 20 GB, made by the real path: how long its state processes take to start again, what
 * they and a client need of memory, and whether anything that has to be done to all of it stops what is done meanwhile.
 * Rows `scale-…`; the tree is in scale-tree.ts, the client in scale-worker.ts.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { MiB } from "../core/limits.ts";
import { StateCluster } from "../test/tools/state-cluster.ts";
import { emit, type Figure, say, sleep } from "./lib.ts";
import { flatDirectory, type Shape } from "./scale-tree.ts";
import type { ScaleDone, ScaleJob } from "./scale-worker.ts";

const startGoalSeconds = 2;
const startGoal = `<= ${startGoalSeconds}`;
/** A snapshot that is to be measured is waited for so long. */
const snapshotWaitMs = 180_000;
const snapshotMs = 250;
const usages = 200;
/** USER_HZ. */
const clockTicks = 100;

export async function largeVolume(shape: Shape, replicas: number): Promise<void> {
  const cluster = await StateCluster.open({ replicas, durability: "replicated" });
  const began = performance.now();
  const row = (name: string, value: number, unit: string, more: Partial<Figure> = {}) => {
    const seconds = (performance.now() - began) / 1_000;
    const { detail, ...rest } = more;
    const about = { files: shape.files, gigabytes: shape.bytes / 1e9, replicas, ...detail };
    emit({ name: `scale-${name}`, value, unit, n: 1, rounds: 1, seconds, ...rest, detail: about });
  };
  const workers: ScaleWorker[] = [];
  const worker = (at: number): ScaleWorker => {
    workers.push(new ScaleWorker(cluster, at));
    return workers.at(-1)!;
  };
  try {
    const at = cluster.primary;
    let client = worker(at);
    const probe = worker(at);
    await probe.run({ job: "probe" });
    const stops = async (name: string) => {
      const { longestMs, lateMs } = await probe.run({ job: "probe" });
      row(`longest-answer-${name}`, longestMs, "ms", { goal: "<= 50", detail: { measurerLateMs: lateMs } });
    };
    const memory = (name: string) => {
      const pid = cluster.pid(at);
      row(`memory-${name}`, pssMiB(pid), "MiB", { detail: memoryOf(pid) });
    };

    await client.run({ job: "directories", shape });
    memory("empty");
    const files = await client.run({ job: "files", shape });
    row("create", files.n / files.seconds, "files/s", { detail: { megabytes: files.bytes / 1e6 } });
    await stops("create");
    memory("created");
    const large = await client.run({ job: "large", shape });
    row("write", large.bytes / 1e6 / large.seconds, "MB/s");
    await stops("write");
    memory("written");

    for (const made of snapshotsIn(cluster, at)) say(`snapshot: ${JSON.stringify(made)}`);
    const used = diskBytes(cluster.dataDir(at));
    const logical = files.bytes + large.bytes;
    row("disk", used.all / logical, "bytes per byte", { detail: { ...used, logical } });

    // The first start after the last write has the most to do.
    for (const [name, end] of [
      ["killed", () => Promise.all(cluster.nodes.map((_, i) => cluster.kill(i)))],
      ["stopped", () => Promise.all(cluster.nodes.map((_, i) => cluster.stop(i)))],
      ["killed-again", () => Promise.all(cluster.nodes.map((_, i) => cluster.kill(i)))],
    ] as const) {
      const seconds = await startedAfter(cluster, end);
      row(`start-${name}`, seconds, "s", {
        goal: startGoal,
        detail: startDetail(cluster),
      });
      await cluster.allInSync();
      memory(`started-${name}`);
    }

    // Another one may be primary by now; memory and disk are still looked at where they were.
    await client.end();
    client = worker(cluster.primary);
    await stops("starts");
    const flat = await client.run({ job: "list", path: flatDirectory });
    row("readdir", flat.seconds, "s", { detail: { names: flat.n } });
    await stops("readdir");
    const walked = await client.run({ job: "walk" });
    row("walk", walked.seconds, "s", { detail: { entries: walked.n, perSecond: walked.n / walked.seconds } });
    await stops("walk");
    memory("walked");
    row("memory-client-walked", pssMiB(client.pid), "MiB", { detail: memoryOf(client.pid) });
    const usage = await client.run({ job: "usage", n: usages });
    row("df", (1_000 * usage.seconds) / usage.n, "ms", { n: usages });

    await nextSnapshot(cluster, client, at);
    const made = snapshotsIn(cluster, at).at(-1);
    if (made) row("snapshot", made.ms / 1_000, "s", { detail: { megabytes: made.bytes / 1e6 } });
    await stops("snapshot");
    memory("snapshot");

    const replayed = await startedAfter(cluster, async () => {
      await Promise.all(cluster.nodes.map((_, i) => cluster.kill(i)));
      // As after a power cut: the database is not to be trusted.
      for (const i of cluster.nodes.keys())
        for (const suffix of ["", "-wal", "-shm"])
          rmSync(join(cluster.dataDir(i), `state.db${suffix}`), { force: true });
    });
    row("start-power-cut", replayed, "s", { detail: startDetail(cluster) });
  } finally {
    await Promise.all(workers.map((each) => each.end()));
    await cluster.close();
  }
}

/** Seconds from their starts until what is read and what is written has been answered. */
async function startedAfter(cluster: StateCluster, end: () => Promise<unknown>): Promise<number> {
  const fs = cluster.files(cluster.primary);
  await fs.attributes(1);
  await end();
  const began = performance.now();
  for (const at of cluster.nodes.keys()) cluster.restart(at);
  for (;;) {
    try {
      await fs.attributes(1);
      await fs.setAttributes(1, { mtime: "now" });
      break;
    } catch (e) {
      say(String(e));
      await sleep(10);
    }
  }
  const seconds = (performance.now() - began) / 1_000;
  await fs.close();
  return seconds;
}

/** What a busy machine adds to the time is not in its processor time. */
function startDetail(cluster: StateCluster): Record<string, number> {
  // Others may still be on their way.
  const at = cluster.primary;
  const fields = readFileSync(`/proc/${cluster.pid(at)}/stat`, "utf8")
    .split(") ")[1]!
    .split(" ");
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / clockTicks;
  return { cpuSeconds, logBytes: logBytes(cluster.dataDir(at)) };
}

/** Writes as long as there is none. */
async function nextSnapshot(cluster: StateCluster, client: ScaleWorker, at: number): Promise<void> {
  const before = snapshotsIn(cluster, at).length;
  const untilMs = performance.now() + snapshotWaitMs;
  for (let i = 0; performance.now() < untilMs; i++) {
    if (snapshotsIn(cluster, at).length > before) return;
    await client.run({ job: "write", name: `more-${i}`, bytes: 64 * MiB });
    await sleep(snapshotMs);
  }
  say("no snapshot came in its time");
}

interface MadeSnapshot {
  bytes: number;
  ms: number;
}

function snapshotsIn(cluster: StateCluster, at: number): MadeSnapshot[] {
  const lines = readFileSync(join(cluster.runDir(at), "state.log"), "utf8").split("\n");
  const parsed = lines
    .filter((line) => line.includes('"snapshot"'))
    .map((line) => JSON.parse(line) as unknown);
  return parsed as MadeSnapshot[];
}

class ScaleWorker {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<void>;

  constructor(cluster: StateCluster, at: number) {
    const file = join(cluster.dir, `outsider-${at}.json`);
    writeFileSync(file, JSON.stringify(cluster.outsider(at)), { mode: 0o600 });
    const script = join(import.meta.dirname, "scale-worker.ts");
    this.#child = spawn(process.execPath, [script, file], { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#ended = new Promise((resolve) => void this.#child.once("exit", () => resolve()));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async run(job: ScaleJob): Promise<ScaleDone> {
    this.#child.stdin!.write(`${JSON.stringify(job)}\n`);
    const line = await this.#lines.next();
    if (line.done) throw new Error(`a client has ended at ${JSON.stringify(job)}`);
    return JSON.parse(line.value) as ScaleDone;
  }

  async end(): Promise<void> {
    this.#child.stdin!.end();
    const kill = setTimeout(() => this.#child.kill("SIGKILL"), 5_000);
    await this.#ended;
    clearTimeout(kill);
  }
}

/** In MiB, by the kernel's names of them. */
function memoryOf(pid: number): Record<string, number> {
  const wanted = /^(Rss|Pss|Pss_Anon|Pss_File|Pss_Shmem|Private_Dirty):\s+(\d+) kB$/gm;
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Object.fromEntries([...text.matchAll(wanted)].map(([, name, kib]) => [name!, Number(kib) / 1_024]));
}

function pssMiB(pid: number): number {
  return memoryOf(pid)["Pss"]!;
}

function diskBytes(dir: string): Record<"all" | "blocks" | "log" | "snapshots" | "database", number> {
  const of = (path: string) =>
    Number(execFileSync("du", ["-s", "-B1", path], { encoding: "utf8" }).split("\t")[0]);
  const database = readdirSync(dir).filter((name) => name.startsWith("state.db"));
  return {
    all: of(dir),
    blocks: of(join(dir, "blocks")),
    log: of(join(dir, "log")),
    snapshots: of(join(dir, "snapshots")),
    database: database.reduce((sum, name) => sum + statSync(join(dir, name)).size, 0),
  };
}

function logBytes(dir: string): number {
  const log = join(dir, "log");
  return readdirSync(log).reduce((sum, name) => sum + statSync(join(log, name)).size, 0);
}
