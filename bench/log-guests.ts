/**
 * Commits while guests spin: on each "node" of a replica a host process stands in for a cpu container, with thirty
 * guests in wasm that never stop by themselves (spinning-guests.ts), against the same commits without them.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { emit, median, say, sleep } from "./lib.ts";
import { StateCluster } from "../test/tools/state-cluster.ts";

const guests = 30;

export async function guestsBeside(rounds: number, seconds: number): Promise<void> {
  const began = performance.now();
  const cluster = await StateCluster.open({ replicas: 3 });
  const ratios: number[] = [];
  const p99s: number[] = [];
  const p50s: number[] = [];
  let n = 0;
  try {
    const kv = cluster.client(cluster.primary);
    const commits = async () => {
      const times: number[] = [];
      const end = performance.now() + seconds * 1_000;
      while (performance.now() < end) {
        const start = performance.now();
        await kv.put(`beside-${times.length % 100}`, new Uint8Array(256), { timeoutMs: 30_000 });
        times.push(performance.now() - start);
      }
      times.sort((a, b) => a - b);
      n += times.length;
      return { p50: median(times), p99: times[Math.floor(times.length * 0.99)]! };
    };
    await commits();
    for (let i = 0; i < rounds; i++) {
      const alone = await commits();
      const containers = cluster.nodes.map(() => start());
      try {
        await sleep(500);
        const beside = await commits();
        ratios.push(beside.p50 / alone.p50);
        p50s.push(beside.p50);
        p99s.push(beside.p99);
      } finally {
        await Promise.all(containers.map(end));
      }
    }
  } finally {
    await cluster.close();
  }
  const spent = (performance.now() - began) / 1_000;
  const rows = { unit: "ms", n, rounds, seconds: spent, detail: { guests, containers: 3 } };
  emit({
    ...{ name: "guests-beside-p50", value: median(p50s), ...rows },
    ...{ peer: "without guests", ratio: median(ratios), goal: "<= 2" },
  });
  emit({ name: "guests-beside-p99", value: median(p99s), ...rows, goal: "<= 15 ms" });
}

function start(): ChildProcess {
  const file = join(import.meta.dirname, "spinning-guests.ts");
  const child = spawn(process.execPath, ["--no-install", file, String(guests)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  child.once("error", (e) => say(`guests: ${e.message}`));
  return child;
}

function end(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve();
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}
