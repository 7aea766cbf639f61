/** What a writer notices of a replica that is killed, stopped, or hangs. */
import type { KeyValue } from "../core/state/client/key-value.ts";
import { emit, median, sleep } from "./lib.ts";
import { StateCluster } from "../test/tools/state-cluster.ts";

/** One write after the other, for ever; keeps the longest time between two that were acknowledged. */
class Writer {
  n = 0;
  failed = 0;
  #longest = 0;
  #last = performance.now();
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(kv: KeyValue) {
    this.#done = this.#run(kv);
  }

  /** The longest since it was asked last, one that goes on included. */
  takeLongestMs(): number {
    const longest = Math.max(this.#longest, performance.now() - this.#last);
    this.#longest = 0;
    return longest;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#done;
  }

  async #run(kv: KeyValue): Promise<void> {
    while (!this.#stopped) {
      try {
        await kv.put("written", new Uint8Array(64), { timeoutMs: 30_000 });
        this.n++;
      } catch {
        this.failed++;
      }
      const now = performance.now();
      this.#longest = Math.max(this.#longest, now - this.#last);
      this.#last = now;
    }
  }
}

async function measure(
  cluster: StateCluster,
  rounds: number,
  strike: (at: number) => Promise<() => Promise<void>>,
  victimOf: () => number,
): Promise<{ gaps: number[]; n: number; failed: number }> {
  // Of a node that nothing happens to in this round: the writer's own link is not what is measured.
  const gaps: number[] = [];
  let n = 0;
  let failed = 0;
  for (let i = 0; i < rounds; i++) {
    await cluster.allInSync();
    const victim = victimOf();
    const writer = new Writer(cluster.client((victim + 1) % cluster.nodes.length));
    await sleep(1_000);
    writer.takeLongestMs();
    const heal = await strike(victim);
    await sleep(4_000);
    gaps.push(writer.takeLongestMs());
    await heal();
    await writer.stop();
    n += writer.n;
    failed += writer.failed;
  }
  return { gaps, n, failed };
}

/** The primary's process killed and certified; its machine stopped, with the times as they are and tuned. */
export async function takeovers(rounds: number, wants: (name: string) => boolean): Promise<void> {
  for (const [name, aliveMs, goal] of [
    ["takeover-kill", undefined, "<= 300"],
    ["takeover-stop", undefined, "<= 3,000"],
    ["takeover-stop-tuned", 300, "<= 1,000"],
  ] as const) {
    if (!wants(name)) continue;
    const began = performance.now();
    const cluster = await StateCluster.open({ replicas: 3, ...(aliveMs !== undefined && { aliveMs }) });
    try {
      const strike = async (at: number) => {
        if (name === "takeover-kill") {
          await cluster.kill(at);
          return async () => cluster.restart(at);
        }
        cluster.pause(at);
        return async () => cluster.resume(at);
      };
      const { gaps, n, failed } = await measure(cluster, rounds, strike, () => cluster.primary);
      const seconds = (performance.now() - began) / 1_000;
      const detail = { worst: Math.max(...gaps), failed, ...(aliveMs !== undefined && { aliveMs }) };
      emit({ name, value: median(gaps), unit: "ms", n, rounds, seconds, goal, detail });
    } finally {
      await cluster.close();
    }
  }
}

/** A backup is stopped: writers wait until it is out of the in-sync set. */
export async function stallHungReplica(rounds: number): Promise<void> {
  const began = performance.now();
  const cluster = await StateCluster.open({ replicas: 3 });
  try {
    const strike = (at: number) => {
      cluster.pause(at);
      return Promise.resolve(() => Promise.resolve(cluster.resume(at)));
    };
    const { gaps, n, failed } = await measure(cluster, rounds, strike, () => cluster.backup);
    const seconds = (performance.now() - began) / 1_000;
    const detail = { worst: Math.max(...gaps), failed };
    emit({
      ...{ name: "stall-hung-replica", value: median(gaps), unit: "ms", n, rounds, seconds, detail },
      goal: "<= 1,100: L + 300",
    });
  } finally {
    await cluster.close();
  }
}
