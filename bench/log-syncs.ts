/** How often each replica calls fdatasync(2) for how many writes: strace counts, which slows everything else down. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { emit, say } from "./lib.ts";
import { StateCluster } from "../test/tools/state-cluster.ts";

export async function countSyncs(seconds: number): Promise<void> {
  if (spawnSync("strace", ["--version"]).status !== 0) return say("skipped, since not installed: strace");
  const began = performance.now();
  const fileOf = (node: string) => join(tmpdir(), `dvs-bench-${process.pid}-${node}.strace`);
  const cluster = await StateCluster.open({
    replicas: 3,
    wrap: (node) => ["strace", "-f", "-c", "-e", "trace=fdatasync,fsync", "-o", fileOf(node)],
  });
  let n = 0;
  try {
    const end = performance.now() + seconds * 1_000;
    const kvs = Array.from({ length: 64 }, (_, i) => cluster.client(i % 3));
    const one = async (i: number) => {
      while (performance.now() < end) {
        await kvs[i]!.put(`key-${i}`, new Uint8Array(256), { timeoutMs: 30_000 });
        n++;
      }
    };
    await Promise.all(kvs.map((_, i) => one(i)));
  } finally {
    await cluster.close();
  }
  const calls = cluster.nodes.map(({ id }) => callsIn(fileOf(id)));
  const spent = (performance.now() - began) / 1_000;
  emit({
    ...{ name: "log-syncs", value: n / (calls.reduce((a, b) => a + b, 0) / calls.length) },
    ...{ unit: "writes per fdatasync", n, rounds: 1, seconds: spent },
    detail: { fdatasyncPerReplica: calls, clients: 64 },
  });
}

function callsIn(file: string): number {
  if (!existsSync(file)) return 0;
  const text = readFileSync(file, "utf8");
  rmSync(file);
  const row = text.split("\n").find((line) => line.trim().endsWith("fdatasync"));
  return Number(row?.trim().split(/\s+/)[3] ?? 0);
}
