/**
 * The counter of a `hello` instance under test: counted on several nodes at once, one request after the other on each.
 * What was answered with 200 was counted: exactly once, and never forgotten.
 */
import { expect } from "bun:test";
import type { TestCluster, TestNode } from "./cluster.ts";

interface Counting {
  /** The highest that anybody was told. */
  readonly acknowledged: number;
  /** Resolves when each of these nodes (without: any) has counted some more from now on. */
  counts(nodes?: readonly TestNode[]): Promise<void>;
  /** No more requests are made. Checks that no count was told twice. */
  end(): Promise<void>;
  /** As `end`, and checks that the counter has all that was told, and no more than was asked for. */
  stop(): Promise<void>;
}

const moreOfEach = 5;
const requestTimeoutMs = 8_000;
const pauseMs = 10;

/** Starts where the counter is now, which is `from` at least. */
export async function counting(cluster: TestCluster, port: number, from = 0): Promise<Counting> {
  const { nodes } = cluster;
  const ask = async (node: TestNode, method: "GET" | "POST") => {
    const signal = AbortSignal.timeout(requestTimeoutMs);
    const init = { method, signal, headers: { connection: "close" } };
    const response = await fetch(`http://${node.address}:${port}/count`, init);
    const { count } = (await response.json()) as { count: number };
    return response.status === 200 ? count : null;
  };
  /** Somebody answers, sooner or later. */
  const look = async () => {
    let count: number | null = null;
    await cluster.until("the counter is told", async () => {
      for (const node of nodes)
        if ((count ??= await ask(node, "GET").catch(() => null)) !== null) return true;
      return false;
    });
    return count!;
  };

  const before = await look();
  expect(before).toBeGreaterThanOrEqual(from);
  const told: { node: TestNode; count: number }[] = [];
  let asked = 0;
  const stopping = new AbortController();
  const done = Promise.all(
    nodes.map(async (node) => {
      while (!stopping.signal.aborted) {
        asked++;
        const count = await ask(node, "POST").catch(() => null);
        if (count !== null) told.push({ node, count });
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
    }),
  );
  const run: Counting = {
    get acknowledged() {
      return told.reduce((most, { count }) => Math.max(most, count), before);
    },
    async counts(on) {
      const since = told.length;
      await cluster.until(`${on ? on.map((node) => node.name).join(", ") : "somebody"} counts`, () => {
        const news = told.slice(since);
        if (!on) return news.length >= moreOfEach;
        return on.every((node) => news.filter((one) => one.node === node).length >= moreOfEach);
      });
    },
    async end() {
      stopping.abort();
      await done;
      const counts = told.map(({ count }) => count);
      expect(new Set(counts).size).toBe(counts.length);
    },
    async stop() {
      await run.end();
      const after = await look();
      expect(after).toBeGreaterThanOrEqual(before + told.length);
      expect(after).toBeGreaterThanOrEqual(run.acknowledged);
      expect(after).toBeLessThanOrEqual(before + asked);
    },
  };
  return run;
}
