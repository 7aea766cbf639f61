/**
 * The proxies under test: kernels talk while connections break, processes stop and die and views are read late; then
 * all is healed, and every message that was sent to a living peer must have arrived, once and in order.
 */
import type { Channel } from "../../../core/kernel/proxy/channel-machine.ts";
import { channelNames } from "../../../core/kernel/proxy/link-messages.ts";
import { Simulation, SimulationFailed } from "../harness/simulation.ts";
import { Faults, strikes } from "./faults.ts";
import { ProxyWorld } from "./proxy-world.ts";
import type { SimKernel } from "./sim-kernel.ts";

const chaosMs = 6_000;
/** In each seed. */
const deliveredMin = 5_000;
const healMs = 20_000;

export const proxyHardCases: string[] = [
  ...Object.keys(strikes),
  "back-pressure",
  "back-pressure released",
  "big body",
  "resumes",
  "broken",
  "silent",
  "repeats",
  "looseDropped",
  "duplicates",
  "net:held",
];

export function runProxies(seed: number, options: { sink?: (line: string) => void } = {}): Simulation {
  const sim = new Simulation(seed, options.sink);
  const world = new ProxyWorld(sim);
  const faults = new Faults(world);
  try {
    for (let i = sim.random.integer(2, 5); i > 0; i--) world.start();
    sim.run(500);
    faults.begin();
    let talking = true;
    talk(world, () => talking);
    sim.run(chaosMs);
    // Where connections rarely stood for long, the rest is said afterwards.
    sim.runUntil(() => delivered(sim) >= deliveredMin, chaosMs);
    faults.heal();
    sim.runUntil(() => delivered(sim) >= deliveredMin, 10 * healMs);
    talking = false;
    if (!sim.runUntil(() => missing(world) === null, healMs)) {
      throw new Error(`${healMs / 1_000} s after everything was healed: ${missing(world)}`);
    }
    add(world);
    rest(world);
    if (faults.struck < 5 || delivered(sim) < deliveredMin) {
      throw new Error(`only ${faults.struck} faults and ${delivered(sim)} messages`);
    }
    sim.log("everything has arrived");
  } catch (e) {
    throw new SimulationFailed(sim, e);
  }
  return sim;
}

function delivered(sim: Simulation): number {
  return sim.counts.get("delivered") ?? 0;
}

/** Everybody speaks to everybody, in bursts; now and then somebody has much to say. */
function talk(world: ProxyWorld, goesOn: () => boolean): void {
  const { sim } = world;
  const meanMs = sim.random.pick([3, 8, 15]);
  const burst = sim.random.pick([10, 25, 60]);
  const next = () => {
    sim.after(sim.random.between(0, 2 * meanMs), () => {
      if (!goesOn()) return;
      const speakers = world.living();
      const from = sim.random.pick(speakers);
      const to = sim.random.pick(speakers);
      if (from !== to && from.id !== 0 && to.id !== 0) {
        const count = sim.random.integer(1, burst) * (sim.random.chance(0.01) ? 30 : 1);
        from.host.enter(from.host.life, () => from.speak(to.id, count));
      }
      next();
    });
  };
  next();
}

/** Null when all that was sent between living members has come. */
function missing(world: ProxyWorld): string | null {
  const members = new Set(world.members().map((member) => member.kernel));
  const living = world.living().filter((kernel) => members.has(kernel.id));
  for (const from of living) {
    for (const to of living)
      if (from !== to) {
        const lost = ["calls", "bulk"].find(
          (lane) => count(from.sent, to, lane) !== count(to.received, from, lane),
        );
        if (lost) {
          const [sent, received] = [count(from.sent, to, lost), count(to.received, from, lost)];
          return `kernel ${to.id} has ${received} of ${sent} ${lost} of kernel ${from.id}`;
        }
      }
  }
  return null;
}

function count(numbers: Map<string, number>, { id }: SimKernel, lane: string): number {
  return numbers.get(`${id} ${lane}`) ?? 0;
}

/** Nobody says anything any more: everything is acknowledged, and connections stand because they are asked to. */
function rest(world: ProxyWorld): void {
  const { sim } = world;
  const members = new Set(world.members().map((member) => member.kernel));
  const living = world.living().filter((kernel) => members.has(kernel.id));
  sim.run(2_000);
  const links = () => living.flatMap((kernel) => channels(kernel).map((channel) => channel.link));
  const before = links();
  sim.run(4_000);
  if (links().some((link, i) => link === null || link !== before[i])) {
    throw new Error("connections broke while nothing happened");
  }
  for (const kernel of living) {
    const waiting = channels(kernel).find(({ outbox }) => outbox.acknowledged !== outbox.added);
    if (waiting) throw new Error(`kernel ${kernel.id} still keeps ${waiting.outbox.bytes} bytes`);
    if (kernel.full.size > 0) throw new Error(`kernel ${kernel.id} was never told that there is room again`);
  }
}

function channels({ proxies }: SimKernel): Channel[] {
  return [...proxies.peers.values()].flatMap((peer) => channelNames.map((name) => peer[name]));
}

/** What the proxies have counted, for the hard cases. */
function add({ sim, kernels }: ProxyWorld): void {
  for (const { counters } of kernels.flatMap(channels)) {
    for (const [what, times] of Object.entries(counters)) {
      for (let i = 0; i < times; i++) sim.count(what);
    }
  }
}
