/**
 * The coordinator is killed at random moments of creations and removals. Each is finished or rolled back after the
 * restart, nothing of it is left over, and the command that asked never claims what is not so.
 */
import { expect, test } from "bun:test";
import type { InstanceView } from "../../core/api/views.ts";
import { freePort } from "../tools/free-port.ts";
import { clusterForFile, codeOf, delay, get, refuses } from "./fixture.ts";

const rounds = 16;
/** DVS_SEED repeats the choices of a run; the moments are as exact as the machine. */
const seed = Number(process.env["DVS_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const random = generator(seed);
const cluster = clusterForFile({ nodes: 3, coordinatorArgs: ["--no-join-token"] });

test(`creations and removals with the coordinator killed in them are finished or rolled back (DVS_SEED=${seed})`, async () => {
  const ports = { a: await freePort(), b: await freePort(), c: await freePort() };
  const names = Object.keys(ports) as (keyof typeof ports)[];
  const there = new Map<string, InstanceView>();
  const told: string[] = [];
  const took = await durations(ports.a);
  for (let round = 0; round < rounds; round++) {
    const name = names[Math.floor(random() * names.length)]!;
    const removal = there.has(name);
    const args = removal
      ? ["instance", "rm", name]
      : ["instance", "create", name, "--os", "hello", "--nodes", "2", "--publish", String(ports[name])];
    const command = cluster().dvs([...args, "--timeout", "25s"]);
    const afterMs = Math.floor((removal ? took.rm : took.create) * (0.15 + random()));
    await delay(afterMs);
    cluster().killCoordinator();
    await cluster().coordinatorGone();
    await delay(random() * 100);
    await cluster().startCoordinator();
    const { code, stderr } = await command;
    const what = `round ${round}: ${removal ? "rm" : "create"} of ${name}, killed after ${afterMs} ms, exit ${code}: ${stderr}`;
    told.push(what);

    const view = await settled(name);
    // 6: nobody was reached, nothing was done; 10: it may have been done; anything else would need another reason.
    if (![0, 6, 10].includes(code)) throw new Error(what);
    const done = removal ? view === null : view !== null;
    if (code === 0 && !done) throw new Error(`claimed what is not so: ${what}`);
    if (code === 6 && done) throw new Error(`denied what is so: ${what}`);
    if (removal && view && view.uid !== there.get(name)!.uid)
      throw new Error(`not the same instance: ${what}`);
    if (view) there.set(name, view);
    else there.delete(name);
    await nothingElseRuns(what, there, ports);
  }
  // At least some of the commands were in the middle of something.
  expect(told.filter((t) => !t.includes("exit 6")).length).toBeGreaterThan(rounds / 4);

  for (const name of there.keys()) await cluster().dvs(["instance", "rm", name]);
  // Whatever was left of a port or name would be in the way now.
  for (const name of names) {
    const made = await cluster().dvs([
      ...["instance", "create", name, "--os", "hello", "--publish", String(ports[name])],
    ]);
    expect({ name, code: made.code, stderr: made.code === 0 ? "" : made.stderr }).toEqual({
      name,
      code: 0,
      stderr: "",
    });
  }
}, 180_000);

/** How long the two commands take here and now, in milliseconds, so that the blows fall into them. */
async function durations(port: number): Promise<{ create: number; rm: number }> {
  const timed = async (args: string[]) => {
    const startMs = performance.now();
    const { code, stderr } = await cluster().dvs(args);
    if (code !== 0) throw new Error(stderr);
    return performance.now() - startMs;
  };
  const create = await timed([
    "instance",
    "create",
    "a",
    "--os",
    "hello",
    "--nodes",
    "2",
    "--publish",
    String(port),
  ]);
  return { create, rm: await timed(["instance", "rm", "a"]) };
}

/** The instance when it runs, null when it is gone: one of them it must become. */
async function settled(name: string): Promise<InstanceView | null> {
  let view: InstanceView | null = null;
  await cluster()
    .until(`${name} is finished or rolled back`, async () => {
      try {
        view = await cluster().api.instances.get(name);
        return view.phase === "running";
      } catch {
        view = null;
        return (await codeOf(cluster().api.instances.get(name))) === "NOT_FOUND";
      }
    })
    .catch((e: unknown) => {
      throw new Error(`${String(e)}: ${JSON.stringify(view)}`);
    });
  return view;
}

async function nothingElseRuns(
  what: string,
  there: Map<string, InstanceView>,
  ports: Record<string, number>,
) {
  const wanted = [...there.values()].flatMap((i) => i.containers.map((c) => `${c.nodeName} ${i.uid}`)).sort();
  let running: string[] = [];
  await cluster()
    .until("exactly the wanted containers run", async () => {
      const all = cluster().nodes.map(async (node) =>
        (await node.processes()).filter((p) => p.kind === "container").map((p) => `${node.name} ${p.uid}`),
      );
      running = (await Promise.all(all)).flat().sort();
      return running.join() === wanted.join();
    })
    .catch((e: unknown) => {
      throw new Error(`${String(e)}\n${what}\nwanted ${wanted.join()}\nrunning ${running.join()}`);
    });
  for (const [name, port] of Object.entries(ports)) {
    for (const { address } of cluster().nodes) {
      if (there.has(name)) {
        const { status, text } = await get(address, port);
        if (status !== 200) throw new Error(`${what}: ${name} on ${address}: ${text}`);
      } else {
        await cluster().until(`port ${port} of ${name} is closed on ${address} (${what})`, () =>
          refuses(address, port),
        );
      }
    }
  }
}

/** mulberry32: uniform in [0, 1). */
function generator(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
