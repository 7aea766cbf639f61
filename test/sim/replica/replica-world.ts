/** All parts of one simulated instance with replicated state. */
import { Disk } from "../harness/disk.ts";
import { Drive } from "../harness/log-files.ts";
import type { Host } from "../harness/host.ts";
import type { Simulation } from "../harness/simulation.ts";
import type { Configuration, ReplicaPolicy } from "../../../core/replica/configuration.ts";
import { type ReplicaTimings, tunedTimings } from "../../../core/replica/timings.ts";
import type { AskingClient } from "./asking-client.ts";
import { Ledger, show } from "./ledger.ts";
import type { Answer, Load, Request } from "./load.ts";
import { SimControl } from "./sim-control.ts";
import { SimLinks } from "./sim-links.ts";
import { SimNode } from "./sim-node.ts";
import type { Parcel } from "./sim-replica.ts";

export class ReplicaWorld {
  readonly sim: Simulation;
  readonly control: SimControl;
  readonly links: SimLinks<Parcel>;
  readonly nodes: SimNode[];
  readonly clients: AskingClient<object>[] = [];
  /** What replicas hold, and clients do with it. */
  readonly load: Load;
  readonly ledger = new Ledger();
  readonly timings: ReplicaTimings;
  /** Small ones meet more borders. */
  readonly logSizes: { segmentBytes: number; aheadBytes: number; tailBytes: number };
  /** A transaction of the database. */
  readonly commitMs: number;
  /** Records from one snapshot to the next. */
  readonly snapshotEvery: number;
  /** Messages are encoded and checked as in the product, which takes longer. */
  readonly isWired: boolean;
  /** From one look over the whole log to the next; Infinity: none. */
  readonly scrubMs: number;
  /** From what is at hand to the end of a turn of the event loop. */
  readonly turnMs: number;
  /** Share of reads and writes that go to the client's own node; the others go anywhere. */
  readonly #near: number;
  #clients = 0;
  /** Nothing fails any more. */
  isHealed = false;

  constructor(sim: Simulation, load: (world: ReplicaWorld) => Load) {
    const { random } = sim;
    this.sim = sim;
    this.timings = tunedTimings(random.pick([800, 800, 400]));
    this.control = new SimControl(sim, somePolicy(sim));
    this.#isReplicated = this.control.policy.durability === "replicated";
    this.control.onChange = (before, after) => {
      this.ledger.changed(before, after);
      for (const disk of after.inSync) if (!before?.inSync.includes(disk)) this.#tailLost.delete(disk);
      this.#count(before, after);
      this.#keepLastCopy(after);
    };
    this.control.onAsked = (configuration) => this.#keepLastCopy(configuration);
    this.ledger.onCommitted = (record) => sim.log(`commit ${show(record)}${this.load.tell(record)}`);
    this.links = new SimLinks(sim);
    this.logSizes = {
      segmentBytes: random.pick([2_000, 30_000]),
      aheadBytes: random.pick([300, 4_000]),
      tailBytes: random.pick([1_000, 100_000]),
    };
    this.commitMs = random.pick([2, 20, 200]);
    this.snapshotEvery = random.pick([50, 300, 1_500]);
    this.turnMs = random.pick([0, 0.2, 2]);
    this.isWired = random.chance(0.1);
    this.scrubMs = random.pick([300, 2_000, Infinity]);
    const { replicas } = this.control.policy;
    this.#near = random.pick([0.2, 0.9]);
    this.load = load(this);
    const spares = random.pick([0, 1]);
    this.nodes = Array.from({ length: replicas + spares }, (_, i) => {
      const host = sim.host(`n${i + 1}`);
      if (i < replicas) this.control.want(host.id);
      return new SimNode(this, host, new Drive(sim, new Disk(random)), i < replicas);
    });
    for (let i = random.integer(3, 6); i > 0; i--) this.addClient();
    for (const node of this.nodes) node.agent.every(500, () => node.supervise());
  }

  addClient(): AskingClient<object> {
    const host = this.sim.host(`c${++this.#clients}`);
    host.start();
    const client = this.load.newClient(host);
    this.clients.push(client);
    return client;
  }

  /** Its calls have no outcome; another takes its place. Those who wait for it do so for ever. */
  replaceClient(client: AskingClient<object>): void {
    client.host.crash();
    this.clients.splice(this.clients.indexOf(client), 1);
    this.addClient().start();
    this.sim.random.pick(this.nodes).process?.removeClient(client.name);
  }

  /**
   * All others are away, and whoever had everything is among them: a person goes on from this one. What was asked for
   * before is not asked for any more.
   */
  acceptLoss(node: SimNode): boolean {
    const { process } = node;
    if (this.isHealed || this.#era > 0 || !process?.isLearning) return false;
    if (this.nodes.some((other) => other !== node && other.process)) return false;
    if (!this.control.goOnFrom(node.host.id)) return false;
    this.#era++;
    const { base, epochs } = process.epochs;
    const lost = this.ledger.accept(base, epochs, this.control.truth.configuration!.epoch);
    this.load.lose(this.ledger.committed);
    for (const client of this.clients) client.forget();
    node.rot.takeBack();
    this.#tailLost.delete(node.disk);
    this.sim.count(lost > 0 ? "loss:accepted" : "loss:accepted, of nothing");
    this.sim.count("loss:records", lost);
    this.sim.log(`${lost} records after ${this.ledger.committed} are lost`);
    return true;
  }
  #era = 0;

  /** Delivered until now: among replicas, and between them and their clients. */
  get messages(): number {
    return this.links.delivered + this.#delivered;
  }
  #delivered = 0;

  /** Over a connection to one of the replicas, which may not be there; nothing is said then. */
  ask(client: AskingClient<object>, request: Request, answered: (answer: Answer, at: string) => void): void {
    const { sim } = this;
    const nodes = this.nodes.filter((node) => node.isNeeded);
    const own = nodes[Number(client.name.slice(1)) % nodes.length]!;
    // Those that have been replaced are asked by some who have not heard of it.
    const node = sim.random.chance(this.#near) ? own : sim.random.pick(this.nodes);
    if (request.kind === "read" && node === own) {
      const found = node.readBeside(request.query);
      if (found) {
        sim.count("read:beside");
        answered({ outcome: "ok", ...found, index: 0 }, `${node.host.id} beside`);
        return;
      }
    }
    // Each connection delivers once, whatever the network does to others.
    const carry = (run: () => void): void => {
      if (sim.random.chance(sim.network.faults.loss)) return;
      this.#delivered++;
      sim.after(sim.network.delayMs(), run);
    };
    const { host } = client;
    const clientLife = host.life;
    const era = this.#era;
    if (node.isOn && !node.process) {
      // Nobody listens there.
      carry(() => host.enter(clientLife, () => answered({ outcome: "refused" }, node.host.id)));
      return;
    }
    carry(() => {
      const { life } = node.host;
      node.host.enter(life, () => {
        if (!node.process || era !== this.#era) return;
        node.process.ask(request, (answer) =>
          carry(() => host.enter(clientLife, () => answered(answer, `${node.host.id} ${node.role}`))),
        );
      });
    });
  }

  /** Of the programs that there are. */
  get newestLevel(): number {
    return Math.max(...this.nodes.map(({ level }) => level));
  }

  /** The node whose primary serves, if one does. */
  get serving(): SimNode | undefined {
    return this.nodes.find(({ host, process }) => !host.paused && process?.isServingPrimary);
  }

  diskOf(host: Host): string {
    return this.nodes.find((node) => node.host === host)!.disk;
  }

  #count(before: Configuration | null, after: Configuration): void {
    const { sim } = this;
    if (!before) return;
    if (before.primary.disk !== after.primary.disk) sim.count("configuration:promotion");
    else if (before.primary.incarnation !== after.primary.incarnation)
      sim.count("configuration:another life");
    if (before.inSync.some((disk) => !after.inSync.includes(disk))) sim.count("configuration:removal");
    if (after.inSync.some((disk) => !before.inSync.includes(disk))) sim.count("configuration:join");
    const levels = after.inSync.map((disk) => this.nodeOf(disk)?.level);
    if (new Set(levels).size > 1) sim.count("level:of several versions");
  }

  nodeOf(disk: string): SimNode | undefined {
    return this.nodes.find((node) => node.disk === disk);
  }

  /** The coordinator wants `spare` to keep a replica in place of `node`. */
  replace(node: SimNode, spare: SimNode): void {
    node.isWanted = false;
    spare.isWanted = true;
    this.control.want(spare.host.id);
    this.control.dismiss(node.host.id);
    if (spare.isOn) spare.start();
    else spare.powerOn();
  }

  /** It was asked for at some time: what was acknowledged then may still be in memory only. */
  #isReplicated: boolean;
  get isReplicated(): boolean {
    return this.#isReplicated;
  }

  changePolicy(): void {
    const { random } = this.sim;
    const durability = random.pick(["fsync", "replicated"] as const);
    this.#isReplicated ||= durability === "replicated";
    this.control.setPolicy({ durability, minInSync: random.integer(1, this.control.policy.replicas) });
  }

  /** Disks in sync that a power cut has left without acknowledged records: none is promised to survive them all. */
  readonly #tailLost = new Set<string>();

  noteTailLost(disk: string): void {
    const { inSync = [] } = this.control.truth.configuration ?? {};
    const mayLose = this.#isReplicated && inSync.length > 1;
    if (mayLose && inSync.includes(disk)) this.#tailLost.add(disk);
  }

  /** Whether a power cut of it leaves a good copy. */
  canLoseTail({ disk }: SimNode): boolean {
    if (!this.#isReplicated) return true;
    return this.control.possiblyInSync.every((inSync) => {
      if (!inSync.includes(disk) || inSync.length === 1) return true;
      return inSync.some((other) => other !== disk && this.#isGood(other));
    });
  }

  /** Whether its disk may damage what it has: one at a time, and another has it all. */
  canDamage({ disk }: SimNode): boolean {
    if (this.nodes.some(({ rot }) => rot.matters)) return false;
    const isGood = (other: string): boolean => this.#isGood(other) && !this.nodeOf(other)!.isAmnesiac;
    return this.control.possiblyInSync.every(
      (inSync) => !inSync.includes(disk) || inSync.some((other) => other !== disk && isGood(other)),
    );
  }

  /** Where no other has what a disk has damaged unnoticed, it was not damaged. */
  #keepLastCopy({ inSync }: Configuration): void {
    const isGood = (disk: string): boolean => this.nodeOf(disk)?.rot.matters === false;
    if (!inSync.some(isGood)) for (const disk of inSync) this.nodeOf(disk)?.rot.takeBack();
  }

  /** It has lost what it has acknowledged, and knows. */
  noteDamaged(disk: string): void {
    if (this.control.truth.configuration?.inSync.includes(disk)) this.#tailLost.add(disk);
  }

  #isGood(disk: string): boolean {
    const node = this.nodeOf(disk);
    return node !== undefined && !node.rot.matters && !this.#tailLost.has(disk);
  }

  /** Whether another that is wanted, and serves, can take the place of the primary. */
  mayLead(primary: SimNode): boolean {
    const { inSync = [] } = this.control.truth.configuration ?? {};
    return this.nodes.some(
      (node) => node !== primary && node.isWanted && node.process?.serves && inSync.includes(node.disk),
    );
  }

  /** Whether its disk may go for ever. */
  canLose(node: SimNode): boolean {
    const { configuration } = this.control.truth;
    return configuration !== null && !configuration.inSync.includes(node.disk);
  }

  /** Everybody who might act refuses what is older. */
  allHaveSeenGeneration(): boolean {
    const { generation } = this.control.truth;
    return this.nodes.every((node) => node.meta === null || node.meta.generationSeen === generation);
  }
}

function somePolicy({ random }: Simulation): ReplicaPolicy {
  const replicas = random.pick([1, 2, 2, 3, 3, 3, 3, 3, 5]);
  const usual = replicas > 2 ? 2 : 1;
  return {
    replicas,
    minInSync: random.chance(0.4) ? random.integer(1, replicas) : usual,
    durability: random.pick(["fsync", "replicated"]),
  };
}
