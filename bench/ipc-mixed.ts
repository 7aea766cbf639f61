/**
 * What small calls notice of a large copy between the same two kernels: 1,000 calls a second of one process, alone and
 * beside a copy of another process that never pauses. In each round 10 s alone, then 20 s beside the copy.
 *
 *   bun bench/ipc-mixed.ts [--rounds 5] [--seconds 20] [--only mixed-tls]
 *
 * The ratio is the figure; its peer is the same process without the copy. `detail` has what the copy moved meanwhile,
 * and how late the calls began: a loop that is busy with a copy delays them, too.
 */
import { ipcOptions } from "./ipc-options.ts";
import { openPair, type Pair, timeout } from "./ipc-pair.ts";
import { type LinkKind, toServers, vaultBytes } from "./ipc-plan.ts";
import { emit, median, round as rounded, say, sleep } from "./lib.ts";

const { rounds, seconds, wants } = ipcOptions();
const roundMs = (Number.isNaN(seconds) ? 20 : seconds) * 1_000;
const callsPerSecond = 1_000;
const body = new Uint8Array(64).fill(7);

interface Small {
  p50: number;
  p95: number;
  lateP95: number;
}

/** Calls at their times, whether or not those before have been answered; microseconds. */
async function small({ client, echo }: Pair, ms: number): Promise<Small> {
  const times: number[] = [];
  const lates: number[] = [];
  const under = new Set<Promise<void>>();
  const call = async () => {
    const began = performance.now();
    await client.sendrec(echo, { type: 1, body }, timeout);
    times.push((performance.now() - began) * 1_000);
  };
  const from = performance.now();
  for (let made = 0; ;) {
    const now = performance.now() - from;
    if (now >= ms) break;
    for (; (made * 1_000) / callsPerSecond <= now; made++) {
      lates.push((now - (made * 1_000) / callsPerSecond) * 1_000);
      const done = call().finally(() => under.delete(done));
      under.add(done);
    }
    await sleep(1);
  }
  await Promise.all(under);
  times.sort((a, b) => a - b);
  lates.sort((a, b) => a - b);
  const at = (values: number[], share: number) => values[Math.floor(values.length * share)]!;
  return { p50: at(times, 0.5), p95: at(times, 0.95), lateP95: at(lates, 0.95) };
}

/** Copies until it is told to stop; megabytes a second. */
async function copies(pair: Pair, isOver: () => boolean): Promise<number> {
  const copier = await pair.linked.kernel.bind({ privileges: toServers });
  const bytes = new Uint8Array(vaultBytes).fill(3);
  const began = performance.now();
  let done = 0;
  for (; !isOver(); done += vaultBytes) await copier.write(pair.vault, pair.grant, 0, bytes, timeout);
  copier.unbind();
  return done / 1e6 / ((performance.now() - began) / 1_000);
}

async function run(kind: LinkKind, name: string): Promise<void> {
  const began = performance.now();
  const alone: Small[] = [];
  const beside: Small[] = [];
  const speeds: number[] = [];
  const pair = await openPair(kind);
  try {
    // Warms both sides up.
    let warm = false;
    const warming = copies(pair, () => warm);
    await small(pair, Math.min(3_000, roundMs));
    warm = true;
    await warming;
    for (let round = 1; round <= rounds; round++) {
      const one = await small(pair, roundMs / 2);
      let over = false;
      const copying = copies(pair, () => over);
      const two = await small(pair, roundMs);
      over = true;
      const speed = await copying;
      alone.push(one);
      beside.push(two);
      speeds.push(speed);
      const text = ({ p50, p95 }: Small) => `${p50.toFixed(0)} / ${p95.toFixed(0)} us`;
      say(`${name} ${round}: alone ${text(one)}, beside ${speed.toFixed(0)} MB/s ${text(two)}`);
    }
  } finally {
    pair.close();
  }
  for (const share of ["p50", "p95"] as const) {
    const values = beside.map((result) => result[share]);
    const peers = alone.map((result) => result[share]);
    if (!wants(`${name}-${share}`)) continue;
    emit({
      ...{
        name: `${name}-${share}`,
        value: median(values),
        unit: "us",
        n: (callsPerSecond * roundMs) / 1_000,
      },
      ...{ rounds, seconds: rounded((performance.now() - began) / 1_000) },
      ...{ peer: "the small calls alone", ratio: median(values.map((value, i) => value / peers[i]!)) },
      goal: share === "p50" ? "<= 2 beside >= 200 MB/s" : "<= 4 beside >= 200 MB/s",
      detail: {
        ...{ copyMBs: Math.round(median(speeds)), alone: peers.map(Math.round) },
        ...{ beside: values.map(Math.round), lateP95: Math.round(median(beside.map((r) => r.lateP95))) },
      },
    });
  }
}

for (const [kind, name] of [
  ["unix", "mixed"],
  ["tls", "mixed-tls"],
] as const) {
  if (!wants(`${name}-p50`) && !wants(`${name}-p95`)) continue;
  try {
    await run(kind, name);
  } catch (e) {
    process.exitCode = 1;
    say(`${name} failed: ${(e as Error).stack}`);
  }
}
process.exit();
