/** A machine of a simulated instance: its agent, its drive, and on it a state process, now and then. */
import type { ReplicaMeta } from "../../../core/replica/sink.ts";
import { Disk } from "../harness/disk.ts";
import type { Host } from "../harness/host.ts";
import { Drive } from "../harness/log-files.ts";
import type { Guard } from "./guard.ts";
import { Rot } from "./rot.ts";
import type { ReplicaWorld } from "./replica-world.ts";
import { SimReplica } from "./sim-replica.ts";
import type { Frozen, StateStore } from "./load.ts";

/** When the coordinator hears of the end of a state process. */
export type Certified = "at once" | "late" | "with the next";

export interface Snapshot {
  state: Frozen;
  epoch: number;
  /** Its checksum is wrong. */
  isDamaged: boolean;
}

export class SimNode {
  readonly world: ReplicaWorld;
  /** Its state process. */
  readonly host: Host;
  readonly agent: Host;
  drive: Drive;
  process: SimReplica | null = null;
  isOn = true;
  isWanted: boolean;
  /** Identity of what is on the drive; made with it. */
  disk: string;

  // What is on the drive beside the log; each of it is replaced as a whole.
  meta: ReplicaMeta | null = null;
  /** The newest that was fsynced. */
  snapshot: Snapshot | null = null;
  /** What the log has brought about. */
  store: StateStore;
  /** Of the last state process: in which life of the system it ran, and whether it came to its end in order. */
  lastRun: { boot: number; clean: boolean } | null = null;

  /** For reads beside the state process; gone with the power. */
  guard: Guard | null = null;

  /** What its drive gives back wrongly. */
  rot: Rot;
  /** What is there is of no use to a state process: somebody has to take it away. */
  isBeyondRepair = false;
  /** Given up, as far as anybody knows: it does not come back before this ends. */
  isAway = false;
  /** Of the program that is installed: what it can apply. */
  level = 1;

  #boot = 0;
  /** A certificate that is sent with the next start. */
  #owed: (() => void) | null = null;

  constructor(world: ReplicaWorld, host: Host, drive: Drive, isWanted: boolean) {
    this.world = world;
    this.host = host;
    this.agent = world.sim.host(host.id);
    this.agent.start();
    this.drive = drive;
    this.isWanted = isWanted;
    this.disk = world.sim.random.id(32);
    this.rot = new Rot(this);
    this.store = world.load.newStore(this);
  }

  get boot(): number {
    return this.#boot;
  }

  /** It takes itself for one, or will when it starts: whatever it has, it does not go on with it alone. */
  get isAmnesiac(): boolean {
    const { lastRun, meta } = this;
    const lostPower = lastRun !== null && !lastRun.clean && lastRun.boot !== this.#boot;
    return meta?.amnesiac === true || (lostPower && meta?.mode === "replicated");
  }

  get role(): string {
    return this.process?.role ?? "nobody";
  }

  /** A new incarnation, if it should run and does not. */
  start(): void {
    if (!this.isOn || this.process || this.isBeyondRepair || this.isAway) return;
    this.#owed?.();
    this.#owed = null;
    this.guard = null;
    this.host.start();
    this.process = new SimReplica(this, this.world.sim.random.id(8));
  }

  /** kill -9. */
  kill(certified: Certified): void {
    const { process } = this;
    if (!process) return;
    this.#died(process, false);
    const certificate = { node: this.host.id, disk: process.disk, incarnation: process.incarnation };
    const { sim, control } = this.world;
    const { guard } = this;
    const certify = (): void => {
      // Nobody reads by what is certified to be over.
      if (this.guard === guard) this.guard = null;
      control.certify(this.agent, certificate);
    };
    if (certified === "with the next") this.#owed = certify;
    else sim.after(sim.random.between(1, 30) * (certified === "late" ? 100 : 1), certify);
  }

  /** It has ended with an error. */
  cannotStart(): void {
    this.world.sim.count("process:could not start");
    this.kill("at once");
    this.agent.after(300, () => this.start());
  }

  /** As asked by its agent: it hands over what can be handed over, and leaves its disk in order. */
  end(): void {
    const { process } = this;
    process?.end(() => {
      this.lastRun = { boot: this.#boot, clean: true };
      this.kill("at once");
    });
    // As long as its agent waits.
    this.agent.after(2_000, () => {
      if (process && this.process === process) {
        this.world.sim.count("process:did not end");
        this.kill("at once");
      }
    });
  }

  powerCut(): void {
    if (!this.isOn) return;
    const { process } = this;
    this.isOn = false;
    this.#boot++;
    this.world.noteTailLost(this.disk);
    if (process) {
      this.#died(process, true);
      const certificate = { node: this.host.id, disk: process.disk, incarnation: process.incarnation };
      this.#owed = () => this.world.control.certify(this.agent, certificate);
    }
    this.drive.powerCut();
    this.store.lost();
    this.guard = null;
  }

  powerOn(): void {
    if (this.isOn) return;
    this.isOn = true;
    if (this.isNeeded) this.start();
  }

  /** What an agent does now and then: a replica that is not wanted any more stays until it is out of the configuration. */
  supervise(): void {
    if (!this.isOn) return;
    if (this.isBeyondRepair && this.world.canLose(this)) {
      this.world.sim.count("disk:replaced as damaged");
      this.replaceDisk();
    }
    if (this.isWanted) {
      // While things fail, it is the faults that say how long it takes.
      if (this.world.isHealed) this.start();
      return;
    }
    const { configuration } = this.world.control.truth;
    const inSync = configuration?.inSync ?? [];
    if (!this.process) {
      if (inSync.includes(this.disk)) this.start();
      else if (this.lastRun) this.replaceDisk();
    } else if (!inSync.includes(this.disk)) {
      this.kill("at once");
      this.replaceDisk();
    } else if (this.process.isServingPrimary && this.world.mayLead(this)) {
      this.world.sim.count("primary:not wanted");
      this.end();
    }
  }

  get isNeeded(): boolean {
    const { configuration } = this.world.control.truth;
    return this.isWanted || configuration?.inSync.includes(this.disk) === true;
  }

  /** By a program beside the state process, which may be stopped or dead; null: it has to be asked. */
  readBeside(query: unknown): { result: unknown } | null {
    return this.isOn ? this.store.readBeside(query) : null;
  }

  /** An empty one in place of what was there. Its state process does not run. */
  replaceDisk(): void {
    const { sim } = this.world;
    this.drive = new Drive(sim, new Disk(sim.random));
    this.disk = sim.random.id(32);
    this.meta = null;
    this.snapshot = null;
    this.store.close();
    this.store = this.world.load.newStore(this);
    this.lastRun = null;
    this.rot = new Rot(this);
    this.isBeyondRepair = false;
  }

  #died(process: SimReplica, quietly: boolean): void {
    this.world.sim.log(`${this.host.id} ${quietly ? "loses its power" : "dies"} as ${this.role}`);
    process.died();
    this.process = null;
    this.host.crash();
    if (!quietly) this.drive.processDied();
    this.world.links.gone(this.host, quietly);
  }
}
