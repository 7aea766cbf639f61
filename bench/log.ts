/**
 * The replicated OS state, the whole path: a client, exactly-once, the module kv on SQLite, three replicas in host
 * processes of their own with mutual TLS between them, durability fsync. Beside it, in the same rounds, three members of
 * etcd on the same disk.
 *
 *   npm run -s bench:log [-- --rounds 5] [--only log-256] [--seconds 4]
 *
 * Takeovers are counted by one writer that never stops: the longest gap between two acknowledged writes.
 */
import { cpuTimeUs } from "./cpu-time.ts";
import { ipcOptions } from "./ipc-options.ts";
import { emit, median, round, say } from "./lib.ts";
import { guestsBeside } from "./log-guests.ts";
import { stallHungReplica, takeovers } from "./log-takeover.ts";
import { openEtcdPeer } from "./peers/etcd-peer.ts";
import { countSyncs } from "./log-syncs.ts";
import { StateCluster } from "../test/tools/state-cluster.ts";

const { rounds, seconds: given, wants } = ipcOptions();
const seconds = Number.isNaN(given) ? 4 : given;
/** A third of a cold replica's time is its runtime's compiler; after so many writes it is a twentieth. */
const warm = { forMs: 20_000, most: 60_000 };

type Put = (client: number, key: string, value: Uint8Array) => Promise<unknown>;

/** Writes a second of so many clients that each wait for the answer. */
async function throughput(
  put: Put,
  many: number,
  bytes: number,
  { forMs = seconds * 1_000, most = Infinity } = {},
): Promise<{ perSecond: number; n: number }> {
  const value = crypto.getRandomValues(new Uint8Array(bytes));
  let n = 0;
  const began = performance.now();
  const end = began + forMs;
  const one = async (client: number) => {
    while (performance.now() < end && n < most) {
      await put(client, `key-${client}-${n % 100}`, value);
      n++;
    }
  };
  await Promise.all(Array.from({ length: many }, (_, client) => one(client)));
  return { perSecond: (n / (performance.now() - began)) * 1_000, n };
}

/** Microseconds, the median of one client's writes. */
async function latency(put: Put): Promise<{ us: number; n: number }> {
  const value = crypto.getRandomValues(new Uint8Array(256));
  const times: number[] = [];
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    const began = performance.now();
    await put(0, `one-${times.length % 100}`, value);
    times.push((performance.now() - began) * 1_000);
  }
  return { us: median(times), n: times.length };
}

/** Microseconds of the processors that a write takes in each host process: comparable also where others work. */
class CpuPerWrite {
  readonly #cluster: StateCluster;
  readonly #spent: number[];
  constructor(cluster: StateCluster) {
    this.#cluster = cluster;
    this.#spent = this.#now().map(() => 0);
  }

  begin(): void {
    for (const [i, us] of this.#now().entries()) this.#spent[i]! -= us;
  }
  end(): void {
    for (const [i, us] of this.#now().entries()) this.#spent[i]! += us;
  }
  of(writes: number): Record<string, number> {
    const { nodes, primary } = this.#cluster;
    const names = [...nodes.map(({ id }, i) => (i === primary ? "primary" : `backup ${id}`)), "clients"];
    return Object.fromEntries(names.map((name, i) => [name, round(this.#spent[i]! / writes, 1)]));
  }

  #now(): number[] {
    return [...this.#cluster.nodes.map(({ child }) => child!.pid!), process.pid].map(cpuTimeUs);
  }
}

async function logs(): Promise<void> {
  const cluster = await StateCluster.open({ replicas: 3 });
  const etcd = await openEtcdPeer();
  if (!etcd) say("skipped, since not installed: etcd");
  try {
    // As in containers: those of one node share its link and its session.
    const kvs = [0, 1, 2].map((node) => cluster.client(node));
    const ours: Put = (client, key, value) => kvs[client % 3]!.put(key, value, { timeoutMs: 30_000 });
    const theirs: Put | null = etcd && ((client, key, value) => etcd.put(client, key, value));
    for (const [name, bytes, clients, goal] of [
      ["log-256", 256, 64, ">= 8"],
      ["log-4k", 4_096, 64, ">= 12, or 80 MB/s"],
      ["log-256k", 256 * 1_024, 8, ">= 150 MB/s"],
    ] as const) {
      if (!wants(name)) continue;
      const began = performance.now();
      const isLarge = bytes > 64 * 1_024;
      const { n: warmUp } = await throughput(ours, clients, bytes, isLarge ? { ...warm, most: 500 } : warm);
      if (theirs) await throughput(theirs, clients, bytes, { most: isLarge ? 100 : 5_000 });
      const values: number[] = [];
      const ratios: number[] = [];
      let n = 0;
      const cpu = new CpuPerWrite(cluster);
      for (let i = 0; i < rounds; i++) {
        cpu.begin();
        const mine = await throughput(ours, clients, bytes);
        cpu.end();
        n += mine.n;
        values.push(mine.perSecond);
        if (theirs) ratios.push(mine.perSecond / (await throughput(theirs, clients, bytes)).perSecond);
      }
      const value = median(values);
      const spent = (performance.now() - began) / 1_000;
      const detail = { clients, megabytesPerSecond: (value * bytes) / 1e6, warmUp, cpuUsPerWrite: cpu.of(n) };
      const peer = theirs ? { peer: "etcd, 3 members", ratio: median(ratios) } : {};
      emit({ name, value, unit: "writes/s", n, rounds, seconds: spent, ...peer, goal, detail });
    }
    if (wants("log-256-p50")) {
      const began = performance.now();
      const atPrimary = cluster.client(cluster.primary);
      const one: Put = (_, key, value) => atPrimary.put(key, value);
      await latency(one);
      const values: number[] = [];
      const ratios: number[] = [];
      let n = 0;
      for (let i = 0; i < rounds; i++) {
        const mine = await latency(one);
        n += mine.n;
        values.push(mine.us);
        if (theirs) ratios.push(mine.us / (await latency(theirs)).us);
      }
      const peer = theirs ? { peer: "etcd, 3 members", ratio: median(ratios) } : {};
      const spent = (performance.now() - began) / 1_000;
      emit({
        ...{ name: "log-256-p50", value: median(values), unit: "us", n, rounds, seconds: spent, ...peer },
        goal: "<= 0.7",
      });
    }
    if (wants("read-local")) await readLocal(cluster);
  } finally {
    await etcd?.close();
    await cluster.close();
  }
}

/** One reader that awaits each answer, as a container on a replica's node does, while somebody writes now and then. */
async function readLocal(cluster: StateCluster): Promise<void> {
  const writer = cluster.client(cluster.primary);
  const reader = cluster.client(cluster.backup, { local: true });
  for (let i = 0; i < 100; i++) await writer.put(`read-${i}`, new Uint8Array(256));
  const began = performance.now();
  const values: number[] = [];
  let n = 0;
  for (let i = 0; i <= rounds; i++) {
    let count = 0;
    const start = performance.now();
    const end = start + (seconds * 1_000) / 2;
    while (performance.now() < end) {
      for (let j = 0; j < 100; j++) await reader.get(`read-${j}`);
      count += 100;
    }
    const perSecond = (count / (performance.now() - start)) * 1_000;
    // The first round compiles.
    if (i > 0) {
      values.push(perSecond);
      n += count;
    }
    await writer.put(`read-${i}`, new Uint8Array(256));
  }
  const spent = (performance.now() - began) / 1_000;
  emit({
    ...{ name: "read-local", value: median(values), unit: "reads/s", n, rounds, seconds: spent },
    goal: ">= 150,000",
  });
}

const parts: [names: string[], run: () => Promise<void>][] = [
  [["log-256", "log-4k", "log-256k", "log-256-p50", "read-local"], logs],
  [["log-syncs"], () => countSyncs(seconds)],
  [["takeover-kill", "takeover-stop", "takeover-stop-tuned"], () => takeovers(rounds, wants)],
  [["stall-hung-replica"], () => stallHungReplica(rounds)],
  [["guests-beside"], () => guestsBeside(rounds, seconds)],
];
let failed = false;
for (const [names, run] of parts) {
  if (!names.some(wants)) continue;
  try {
    await run();
  } catch (e) {
    failed = true;
    say(`${names.join(", ")}: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`);
  }
}
process.exit(failed ? 1 : 0);
