/**
 * What goes wrong in a simulated instance, and what its VOS does at the worst time. Each seed enables some of it only
 * (swarm testing): where everything fails at once, what needs a quiet moment never happens.
 */
import { privilegeBits } from "../../../core/kernel/privileges.ts";
import { type Strike, Strikes } from "../harness/strikes.ts";
import type { KernelWorld } from "./kernel-world.ts";
import type { SimKernel } from "./sim-kernel.ts";
import { calmLog } from "./sim-log.ts";

const kernelsMax = 6;
const actorsMin = 6;

export const strikes: Record<string, Strike<KernelWorld>> = {
  "kernel:crash": (world, later) => {
    const kernel = anyKernel(world);
    if (!kernel) return;
    kernel.crash();
    if (world.sim.random.chance(0.6)) {
      later(200, () => {
        world.sim.count("certificate");
        anyKernel(world)?.machine.certifyExit(kernel.incarnation);
      });
    }
    later(300, () => restart(world));
  },
  "kernel:paused": (world, later) => {
    const kernel = anyKernel(world);
    if (!kernel || kernel.host.paused) return;
    kernel.host.pause();
    later(world.sim.random.pick([60, 300, 900, 2_500]), () => {
      kernel.host.resume();
      world.changes++;
    });
  },
  "kernel:leaves": (world, later) => {
    const kernel = anyKernel(world);
    if (!kernel || world.running().length < 3) return;
    kernel.leaving = true;
    for (const endpoint of kernel.actors.keys()) move(world, kernel, endpoint);
    later(600, () => {
      kernel.step(() => {
        if (kernel.machine.frozen) return;
        for (const actor of kernel.actors.values()) if (!actor.proc.held) actor.end();
        kernel.machine.leave();
      });
      later(500, () => restart(world));
    });
  },
  "net:one-way cut": ({ sim, links, kernels }, later) => {
    const [from, to] = sim.random.sample(kernels, 2).map((kernel) => kernel.host.id);
    if (!from || !to) return;
    links.cut(from, to);
    later(sim.random.pick([100, 500, 1_500]), () => links.mend(from, to));
  },
  "net:kernel cut off": (world, later) => {
    const kernel = anyKernel(world);
    if (!kernel) return;
    const others = world.kernels.map((other) => other.host.id);
    for (const other of others) {
      world.links.cut(kernel.host.id, other);
      world.links.cut(other, kernel.host.id);
    }
    later(world.sim.random.pick([200, 1_000, 2_500]), () => {
      for (const other of others) {
        world.links.mend(kernel.host.id, other);
        world.links.mend(other, kernel.host.id);
      }
    });
  },
  "log:cut off": (world, later) => {
    const kernel = anyKernel(world);
    if (!kernel) return;
    world.log.cut.add(kernel.host.id);
    later(world.sim.random.pick([100, 1_000, 2_000]), () => world.log.cut.delete(kernel.host.id));
  },
  "process:moved": (world) => {
    const kernel = anyKernel(world);
    const endpoints = [...(kernel?.actors.keys() ?? [])];
    if (kernel && endpoints.length > 0) move(world, kernel, world.sim.random.pick(endpoints));
  },
  "process:moved to and fro": (world, later) => {
    const kernel = anyKernel(world);
    const endpoints = [...(kernel?.actors.keys() ?? [])];
    if (!kernel || endpoints.length === 0) return;
    const endpoint = world.sim.random.pick(endpoints);
    const again = (times: number) => {
      const at = world.running().find((kernel) => kernel.actors.has(endpoint));
      if (at) move(world, at, endpoint);
      if (times > 0) later(30, () => again(times - 1));
    };
    again(5);
  },
  "process:all of a kernel moved": (world) => {
    const kernel = anyKernel(world);
    for (const endpoint of kernel?.actors.keys() ?? []) move(world, kernel!, endpoint);
  },
  "process:ended": (world) => {
    const kernel = anyKernel(world);
    const actors = [...(kernel?.actors.values() ?? [])].filter((actor) => !actor.proc.held);
    if (!kernel || actors.length === 0) return;
    kernel.step(() => {
      if (!kernel.machine.frozen && !kernel.host.paused) world.sim.random.pick(actors).end();
    });
  },
  "process:bound": (world) => {
    const kernel = anyKernel(world);
    if (kernel && kernel.actors.size < 8) kernel.step(() => kernel.bind());
  },
  "process:backed up": (world) => {
    const [kernel, holder] = world.sim.random.sample(world.running(), 2);
    const endpoints = [...(holder?.actors.keys() ?? [])];
    if (!kernel || kernel.host.paused || endpoints.length === 0) return;
    const endpoint = world.sim.random.pick(endpoints);
    kernel.step(() => {
      if (kernel.machine.frozen || kernel.machine.backups.has(endpoint)) return;
      const privileges = privilegeBits({ group: 1 });
      kernel.machine.bindBackup(endpoint, { privileges, callsMax: 500 });
    });
  },
};

export class KernelFaults {
  readonly #world: KernelWorld;
  readonly #strikes: Strikes<KernelWorld>;

  constructor(world: KernelWorld) {
    this.#world = world;
    this.#strikes = new Strikes(world);
  }

  get struck(): number {
    return this.#strikes.struck;
  }

  begin(): void {
    const { random } = this.#world.sim;
    const { log, links } = this.#world;
    log.faults = {
      lost: random.pick([0, 0.05, 0.2]),
      answerLost: random.pick([0, 0.05, 0.2]),
      latencyMs: { min: 0.5, max: random.pick([4, 20, 60]) },
    };
    links.latencyMs = { min: 0.05, max: random.pick([1, 5, 20]) };
    links.held = { share: random.pick([0, 0.02]), ms: random.pick([30, 300]) };
    this.#supervise();
    let enabled = Object.entries(strikes).filter(() => random.chance(0.6));
    if (enabled.length < 3) enabled = Object.entries(strikes);
    // What stops a whole kernel is rarer than what happens to a process: else none of them gets anywhere.
    const isOfProcess = ([name]: [string, Strike<KernelWorld>]) => name.startsWith("process:");
    this.#strikes.begin(enabled.filter(isOfProcess), random.pick([60, 150, 400]));
    this.#strikes.begin(
      enabled.filter((strike) => !isOfProcess(strike)),
      random.pick([400, 1_000, 2_500]),
    );
  }

  heal(): void {
    const { sim, log, links, kernels } = this.#world;
    this.#world.chaos = false;
    this.#strikes.end();
    sim.log("heal");
    log.faults = calmLog;
    log.cut.clear();
    links.mendAll();
    links.latencyMs = { min: 0.05, max: 1 };
    links.held = { share: 0, ms: 0 };
    for (const kernel of kernels) kernel.host.resume();
    this.#world.changes++;
    restart(this.#world);
  }

  /** A container that has exited is started again by its node, also when nothing fails any more. */
  #supervise(): void {
    const { sim } = this.#world;
    sim.after(sim.random.between(0.2, 1.8) * 500, () => {
      if (!this.#world.talking) return;
      restart(this.#world);
      this.#supervise();
    });
  }
}

/** There are always some: containers and processes are started again. */
export function restart(world: KernelWorld): void {
  while (world.running().length < 3) populate(world.addKernel());
  const actors = world.running().reduce((sum, kernel) => sum + kernel.actors.size, 0);
  const kernel = anyKernel(world);
  if (actors < actorsMin && kernel) kernel.step(() => populate(kernel));
  if (world.chaos && world.running().length < kernelsMax && world.sim.random.chance(0.2)) {
    populate(world.addKernel());
  }
}

export function populate(kernel: SimKernel): void {
  for (let i = kernel.world.sim.random.integer(1, 5); i > 0; i--) kernel.bind();
}

function move(world: KernelWorld, from: SimKernel, endpoint: number): void {
  const targets = world.running().filter((kernel) => kernel !== from && !kernel.leaving && kernel.machine.id);
  const proc = from.machine.table.find(endpoint);
  if (targets.length === 0 || !proc || from.host.paused) return;
  const { id } = world.sim.random.pick(targets).machine;
  from.step(() => {
    if (from.machine.startMove(proc, id) === "OK") world.sim.count("move:asked for");
  });
}

function anyKernel(world: KernelWorld): SimKernel | undefined {
  const kernels = world.running();
  return kernels.length > 0 ? world.sim.random.pick(kernels) : undefined;
}
