import { expect, test } from "bun:test";
import { type TestIngress, type UpstreamAt, eventually, startIngress } from "./harness.ts";
import { closedAfterEach } from "./to-close.ts";

const open = closedAfterEach();

interface UpstreamProcess {
  at: UpstreamAt;
  signal(name: NodeJS.Signals): void;
}

async function startProcess(name: string): Promise<UpstreamProcess> {
  const child = Bun.spawn(
    [process.execPath, "--no-install", `${import.meta.dir}/upstream-process.ts`, name],
    {
      stdout: "pipe",
    },
  );
  open.push({ close: () => (child.kill("SIGKILL"), child.exited) });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const port = Number(new TextDecoder().decode(value));
  return {
    at: { node: name, host: "127.0.0.1", port, incarnation: "1" },
    signal: (signal) => child.kill(signal),
  };
}

/** Requests one after the other on `connections` connections, half GET, half PUT, until stop(). */
function load(ingress: TestIngress, connections: number) {
  const state = { stopped: false };
  let answered = 0;
  const errors: string[] = [];
  const url = `http://127.0.0.1:${ingress.port}/`;
  const worker = async (id: number) => {
    for (let i = 0; !state.stopped; i++) {
      const body = `${id}-${i}`;
      try {
        const response = i % 2 === 0 ? await fetch(url) : await fetch(url, { method: "PUT", body });
        const text = await response.text();
        if (response.status !== 200) errors.push(`${response.status} ${text}`);
        else if (i % 2 === 1 && !text.endsWith(` ${body}`)) errors.push(`wrong body: ${text}`);
      } catch (e) {
        errors.push(String(e));
      }
      answered++;
    }
  };
  const workers = Array.from({ length: connections }, (_, id) => worker(id));
  return {
    errors,
    count: () => answered,
    async stop() {
      state.stopped = true;
      await Promise.all(workers);
    },
  };
}

for (const [what, signal] of [
  ["killed", "SIGKILL"],
  ["stopped", "SIGSTOP"],
] as const) {
  test(`one of three upstreams is ${what} under load: no request fails`, async () => {
    const upstreams = await Promise.all(["a", "b", "c"].map(startProcess));
    const ingress = await startIngress(upstreams.map((u) => u.at));
    open.push(ingress);
    const running = load(ingress, 24);
    await eventually(() => running.count() > 300, "the load runs");
    const before = ingress.ingress.upstreams.find((u) => u.node === "b")!.requests;
    expect(before).toBeGreaterThan(0);
    upstreams[1]!.signal(signal);
    await eventually(
      () => !ingress.ingress.upstreams.find((u) => u.node === "b")!.healthy,
      "its death is noticed",
    );
    const then = running.count();
    // All 24, those that waited for the dead one included, have been answered again and again.
    await eventually(() => running.count() > then + 500, "the load goes on");
    await running.stop();
    expect(running.errors).toEqual([]);
    expect(ingress.ingress.counters.failures).toBe(0);
    if (signal === "SIGSTOP") {
      upstreams[1]!.signal("SIGCONT");
      await eventually(() => ingress.ingress.upstreams.every((u) => u.healthy), "it comes back");
    }
  }, 20_000);
}

test("the table changes under load: no request is lost", async () => {
  const [a, b] = await Promise.all(["a", "b"].map(startProcess));
  const ingress = await startIngress([a!.at]);
  open.push(ingress);
  const running = load(ingress, 16);
  for (let i = 0; i < 20; i++) {
    const n = running.count();
    await eventually(() => running.count() > n + 20, "the load runs");
    await ingress.apply(i % 3 === 0 ? [b!.at] : i % 3 === 1 ? [a!.at, b!.at] : [a!.at]);
  }
  await running.stop();
  expect(running.errors).toEqual([]);
  expect(ingress.ingress.counters.failures).toBe(0);
}, 20_000);
