/**
 * What goes wrong in a simulated instance. Each seed enables some of it only (swarm testing): where everything fails at
 * once, what needs a quiet moment never happens. No fault takes more than what is promised to survive it: the last
 * good copy of acknowledged records stays (see `canLose`).
 */
import { calm } from "../harness/network.ts";
import { fastDisk } from "../harness/log-files.ts";
import { type Later, type Strike, Strikes } from "../harness/strikes.ts";
import type { ReplicaWorld } from "./replica-world.ts";
import type { SimNode } from "./sim-node.ts";

export const strikes: Record<string, Strike<ReplicaWorld>> = {
  "process:killed": (world, later) => {
    const node = someNode(world);
    if (!node?.process) return;
    node.kill(world.sim.random.pick(["at once", "at once", "late", "with the next"]));
    later(world.sim.random.pick([20, 300, 1_500]), () => node.start());
  },
  "process:all killed": (world, later) => {
    for (const node of world.nodes) {
      node.kill(world.sim.random.pick(["at once", "late", "with the next"]));
      later(world.sim.random.pick([20, 300, 1_500]), () => node.start());
    }
  },
  "process:stopped": (world, later) => {
    const node = someNode(world);
    if (!node?.process || node.host.paused) return;
    const { aliveMs, readLeaseMs, promiseMs } = world.timings;
    node.host.pause();
    const ms = world.sim.random.pick([60, readLeaseMs, aliveMs, promiseMs, 3 * promiseMs]);
    world.sim.after(ms * world.sim.random.between(0.7, 1.5), () => node.host.resume());
    later(0, () => {});
  },
  "process:ends": (world, later) => {
    const node = someNode(world);
    if (!node?.process || node.host.paused) return;
    node.end();
    later(world.sim.random.pick([100, 800]), () => node.start());
  },
  "machine:power cut": (world, later) => {
    const node = someNode(world);
    if (!node?.isOn || !world.canLoseTail(node)) return;
    node.powerCut();
    later(world.sim.random.pick([100, 1_000, 4_000]), () => node.powerOn());
  },
  "machine:power cut of all": (world, later) => {
    // What `replicated` does not survive is not promised.
    if (world.isReplicated) return;
    for (const node of world.nodes) {
      node.powerCut();
      later(world.sim.random.pick([100, 1_000, 3_000]), () => node.powerOn());
    }
  },
  "all killed, one without power": (world, later) => {
    // Whoever comes back first has lost what it promised; those who have not, come late.
    const node = someNode(world);
    if (!node?.process) return;
    const { random } = world.sim;
    for (const other of world.nodes) {
      if (other === node) continue;
      other.kill(random.pick(["at once", "late", "with the next"]));
      later(random.pick([500, 2_000, 4_000]), () => other.start());
    }
    if (world.canLoseTail(node)) node.powerCut();
    later(random.pick([20, 300]), () => (node.isOn ? node.start() : node.powerOn()));
  },
  "alone, then without power": (world, later) => {
    const node = world.nodes.find(({ disk }) => disk === world.control.truth.configuration?.primary.disk);
    if (!node?.process) return;
    const others = world.nodes.filter((other) => other !== node).map((other) => other.host.id);
    cutBoth(world, node.host.id, others, later, 2_500);
    const attempt = (times: number): void => {
      const { inSync = [] } = world.control.truth.configuration ?? {};
      if (node.isOn && inSync.length === 1 && inSync[0] === node.disk) {
        node.powerCut();
        later(100, () => node.powerOn());
      } else if (times > 0) later(30, () => attempt(times - 1));
    };
    later(800, () => attempt(30));
  },
  "disk:lost": (world, later) => {
    const node = someNode(world);
    if (!node?.process) return;
    node.kill(world.sim.random.pick(["at once", "late", "with the next"]));
    const attempt = (times: number): void => {
      if (node.process) return;
      if (world.canLose(node)) {
        world.sim.count("disk:replaced");
        node.replaceDisk();
        node.start();
      } else if (times > 0) later(400, () => attempt(times - 1));
      else node.start();
    };
    // Not before the others go on without it, and nothing under way can name it again.
    later(1_500, () => attempt(10));
  },
  "node:replaced": (world) => {
    const wanted = world.nodes.filter((node) => node.isWanted);
    const spare = world.nodes.find((node) => !node.isWanted);
    if (!spare || wanted.length < 2 || spare.process) return;
    const node = world.sim.random.pick(wanted);
    world.replace(node, spare);
  },
  "node:replaced behind a slow link": (world, later) => {
    // It learns late that it is out, and reads until its lease has run out.
    const { truth, host } = world.control;
    const primary = world.nodeOf(truth.configuration?.primary.disk ?? "");
    const backups = world.nodes.filter((node) => node !== primary && node.isWanted && node.process);
    const spare = world.nodes.find((node) => !node.isWanted);
    if (!primary || !spare || spare.process || backups.length === 0) return;
    const node = world.sim.random.pick(backups);
    const link = `${primary.host.id}>${node.host.id}`;
    world.links.slowMs.set(link, world.sim.random.pick([0.15, 0.3, 0.4]) * world.timings.aliveMs);
    cutBoth(world, node.host.id, [host.id], later, 4_000);
    later(4_000, () => world.links.slowMs.delete(link));
    world.replace(node, spare);
  },
  "disk:slow": (world, later) => {
    const node = someNode(world);
    if (!node) return;
    const { random } = world.sim;
    const syncMs = random.pick([5, 40, 200]);
    node.drive.speed = {
      operationMs: { min: 0, max: random.pick([0.1, syncMs]) },
      syncMs: { min: 0.1, max: syncMs },
      hang: random.pick([0, 0.05]),
      hangMs: random.pick([500, 4_000, 12_000]),
    };
    later(random.pick([500, 2_500]), () => (node.drive.speed = fastDisk));
  },
  "disk:full": (world, later) => {
    const node = someNode(world);
    if (!node) return;
    const { disk } = node.drive;
    disk.bytesMax = disk.used + world.sim.random.pick([0, 300, 3_000]);
    later(world.sim.random.pick([300, 2_000]), () => (disk.bytesMax = Infinity));
  },
  "disk:bit turned": (world, later) => {
    const node = someNode(world);
    if (!node || !world.canDamage(node) || !node.rot.turn()) return;
    world.sim.count(node.process ? "damage:while it runs" : "damage:at rest");
    if (world.sim.random.chance(0.3)) dieAndComeBack(world, node, later);
  },
  "disk:bit of a snapshot turned": (world, later) => {
    const node = someNode(world);
    if (!node?.snapshot || !world.canDamage(node)) return;
    node.snapshot.isDamaged = true;
    world.sim.count(node.process ? "snapshot:damaged while it runs" : "snapshot:damaged at rest");
    if (world.sim.random.chance(0.3)) dieAndComeBack(world, node, later);
  },
  "node:upgraded": (world, later) => {
    const old = world.nodes.filter(({ level }) => level < levelMax);
    if (old.length === 0) return;
    const node = world.sim.random.pick(old);
    if (world.sim.random.chance(0.5)) node.end();
    else node.kill("at once");
    later(world.sim.random.pick([50, 1_000]), () => {
      if (node.process || node.level === levelMax) return;
      node.level++;
      node.start();
    });
  },
  "loss accepted": (world, later) => {
    // The others go on without it, and then all of them are lost, as far as anybody knows.
    const { sim, nodes } = world;
    const wanted = nodes.filter((node) => node.isWanted && node.process);
    if (wanted.length < 2) return;
    const left = sim.random.pick(wanted);
    left.kill("at once");
    later(1_500, () => {
      for (const node of nodes) {
        if (node === left) continue;
        node.isAway = true;
        node.kill(sim.random.pick(["at once", "late", "with the next"]));
      }
      left.start();
      const attempt = (times: number): void => {
        if (!world.acceptLoss(left) && times > 0) return later(200, () => attempt(times - 1));
        for (const node of nodes) {
          later(sim.random.pick([20, 500, 2_000]), () => {
            node.isAway = false;
            node.start();
          });
        }
      };
      // Whoever reads beside a process that has died does so no longer.
      sim.after(2 * world.timings.promiseMs, () => attempt(10));
    });
  },
  "link:broken": (world) => {
    const [a, b] = world.sim.random.sample(world.nodes, 2);
    if (a && b) world.links.breakLink(a.host, b.host);
  },
  "net:one-way cut": (world, later) => {
    const { network, random } = world.sim;
    const a = someNode(world);
    const b = random.pick(world.nodes);
    if (!a || a === b) return;
    const [from, to] = random.sample([a.host.id, b.host.id], 2) as [string, string];
    network.cut(from, to);
    later(random.pick([100, 700, 2_000]), () => network.mend(from, to));
  },
  "net:slow one way": (world, later) => {
    // What arrives is old: nothing that is counted from its arrival holds.
    const { random } = world.sim;
    const a = someNode(world);
    const others = world.nodes.filter((node) => node !== a);
    if (!a || others.length === 0) return;
    const ms = random.pick([0.2, 0.35, 0.7, 1.1, 2.5]) * world.timings.aliveMs;
    const from = random.chance(0.5);
    const links = random
      .sample(others, random.pick([1, others.length]))
      .map((b) => (from ? `${a.host.id}>${b.host.id}` : `${b.host.id}>${a.host.id}`));
    for (const link of links) world.links.slowMs.set(link, ms);
    later(random.pick([1_000, 3_000]), () => {
      for (const link of links) world.links.slowMs.delete(link);
    });
  },
  "net:cut from the others": (world, later) => {
    const node = someNode(world);
    if (!node) return;
    const others = world.nodes.filter((other) => other !== node).map((other) => other.host.id);
    cutBoth(world, node.host.id, others, later);
  },
  "net:cut from all": (world, later) => {
    const node = someNode(world);
    if (!node) return;
    const others = world.nodes.filter((other) => other !== node).map((other) => other.host.id);
    cutBoth(world, node.host.id, [...others, world.control.host.id], later);
  },
  "net:cut from control": (world, later) => {
    const node = someNode(world);
    if (node) cutBoth(world, node.host.id, [world.control.host.id], later);
  },
  "net:parted": (world, later) => {
    // Each half has control or not.
    const { random } = world.sim;
    const half = random.sample(world.nodes, Math.floor(world.nodes.length / 2)).map(({ host }) => host.id);
    const rest = world.nodes.map(({ host }) => host.id).filter((id) => !half.includes(id));
    if (random.chance(0.5)) rest.push(world.control.host.id);
    for (const id of half) cutBoth(world, id, rest, later);
  },
  "control:away": (world, later) => {
    const { host } = world.control;
    if (world.sim.random.chance(0.5)) host.pause();
    else host.crash();
    later(world.sim.random.pick([300, 2_000, 5_000]), () => (host.running ? host.resume() : host.start()));
  },
  "control:answers from the past": (world, later) => {
    world.control.stale = world.sim.random.pick([0.2, 0.9]);
    later(2_000, () => (world.control.stale = 0));
  },
  "control:restored": (world, later) => {
    const { control, sim } = world;
    if (control.truth.version === 0 || control.rolledBack) return;
    control.restore();
    later(sim.random.pick([100, 1_000, 3_000]), () => control.recover());
  },
  "control:older copy": (world, later) => {
    // Who has never seen the newer one cannot know: it has to have reached all before the older comes back.
    if (!world.control.hasOld || !world.allHaveSeenGeneration()) return;
    world.sim.count("control:rolled back");
    world.control.rolledBack = true;
    later(world.sim.random.pick([500, 3_000]), () => (world.control.rolledBack = false));
  },
  "policy:changed": (world) => world.changePolicy(),
  "clock:wall clock set": ({ sim, nodes }) => {
    sim.random.pick(nodes).host.wallOffsetMs += sim.random.pick([-3_600_000, 3_600_000]);
  },
  "client:gone": (world) => {
    const client = world.sim.random.pick(world.clients);
    world.replaceClient(client);
  },
};

/** Of programs. */
const levelMax = 3;

/** What makes things worse together: half of the seeds keep to one of these. */
const themes: string[][] = [
  ["machine:power cut", "process:all killed", "process:killed", "all killed, one without power"],
  ["alone, then without power", "all killed, one without power", "disk:slow"],
  ["machine:power cut", "machine:power cut of all", "process:ends", "disk:slow"],
  ["net:one-way cut", "net:cut from the others", "net:cut from all", "process:stopped", "process:killed"],
  ["net:one-way cut", "net:parted", "link:broken", "process:stopped"],
  ["net:slow one way", "net:one-way cut", "process:stopped", "process:killed"],
  ["net:slow one way", "net:cut from control", "node:replaced"],
  ["net:slow one way", "disk:slow", "node:replaced"],
  ["node:replaced behind a slow link", "node:replaced", "process:killed"],
  ["control:away", "control:answers from the past", "net:cut from control", "process:killed"],
  ["control:restored", "control:older copy", "control:answers from the past", "process:all killed"],
  ["disk:full", "disk:slow", "process:killed", "machine:power cut"],
  ["node:replaced", "disk:lost", "process:killed", "policy:changed", "link:broken"],
  ["disk:bit turned", "disk:bit of a snapshot turned", "process:killed", "machine:power cut", "process:ends"],
  ["disk:bit turned", "node:replaced", "process:stopped", "net:one-way cut"],
  ["loss accepted", "process:killed", "link:broken", "node:upgraded"],
  ["loss accepted", "machine:power cut", "net:one-way cut", "control:answers from the past"],
  ["node:upgraded", "process:killed", "node:replaced", "net:cut from the others"],
];

export class ReplicaFaults {
  readonly #world: ReplicaWorld;
  readonly #strikes: Strikes<ReplicaWorld>;

  constructor(world: ReplicaWorld) {
    this.#world = world;
    this.#strikes = new Strikes(world);
  }

  get struck(): number {
    return this.#strikes.struck;
  }

  begin(): void {
    const { links, control } = this.#world;
    const { random, network } = this.#world.sim;
    const theme = random.chance(0.5) ? random.pick(themes) : null;
    const possible = Object.entries(strikes).filter(([name]) => !theme || theme.includes(name));
    const enabled = random.sample(possible, random.integer(2, 9));
    const meanMs = random.pick([300, 800, 1_600]);
    links.latencyMs = { min: 0.05, max: random.pick([0.5, 5, 30]) };
    links.held = { share: random.pick([0, 0, 0.01]), ms: random.pick([50, 600]) };
    links.breakMs = random.pick([300, 1_500]);
    control.unknownAfterMs = random.pick([200, 1_500]);
    network.faults = {
      latencyMs: { min: 0.1, max: random.pick([1, 10, 50]) },
      loss: random.pick([0, 0.02, 0.15]),
      duplicate: random.pick([0, 0.05]),
      held: random.pick([0, 0.05]),
      heldMs: random.pick([300, 3_000]),
    };
    this.#strikes.begin(enabled, meanMs);
  }

  heal(): void {
    const { sim, control, links, nodes } = this.#world;
    this.#strikes.end();
    this.#world.isHealed = true;
    sim.log("heal");
    sim.network.faults = calm;
    sim.network.mendAll();
    links.held = { share: 0, ms: 0 };
    links.slowMs.clear();
    links.latencyMs = { min: 0.05, max: 1 };
    control.stale = 0;
    control.rolledBack = false;
    control.recover();
    if (control.host.running) control.host.resume();
    else control.host.start();
    // An upgrade is brought to its end.
    const level = this.#world.newestLevel;
    for (const node of nodes) {
      node.isAway = false;
      if (node.level < level) {
        node.kill("at once");
        node.level = level;
      }
      node.drive.disk.bytesMax = Infinity;
      node.drive.speed = fastDisk;
      node.host.resume();
      if (!node.isOn) node.powerOn();
      else if (node.isNeeded) node.start();
    }
  }
}

/** Every second time the primary: what befalls others is seldom worth a tale. */
function someNode(world: ReplicaWorld): SimNode | undefined {
  const { random } = world.sim;
  const primary = world.nodes.find(({ disk }) => disk === world.control.truth.configuration?.primary.disk);
  const wanted = world.nodes.filter((node) => node.isWanted || node.process);
  if (primary && random.chance(0.4)) return primary;
  return wanted.length > 0 ? random.pick(wanted) : undefined;
}

function dieAndComeBack(world: ReplicaWorld, node: SimNode, later: Later): void {
  if (world.canLoseTail(node)) {
    node.powerCut();
    later(300, () => node.powerOn());
  } else {
    node.kill("at once");
    later(300, () => node.start());
  }
}

function cutBoth(world: ReplicaWorld, id: string, others: string[], later: Later, meanMs = 0): void {
  const { network, random } = world.sim;
  for (const other of others) {
    network.cut(id, other);
    network.cut(other, id);
  }
  later(meanMs || random.pick([200, 1_000, 2_500]), () => {
    for (const other of others) {
      network.mend(id, other);
      network.mend(other, id);
    }
  });
}
