/**
 * The control store and its coordinator, as replicas see them: one configuration that changes by compare-and-set, who is
 * wanted, and the certificates of those who have ended. Questions and answers are lost, late or doubled on their way
 * (harness/network.ts); the store may be restored, and an older copy of it may come back by mistake.
 */
import type {
  Change,
  Configuration,
  ExitCertificate,
  ReplicaPolicy,
  Versioned,
} from "../../../core/replica/configuration.ts";
import { nextEra } from "../../../core/replica/era.ts";
import type { Host } from "../harness/host.ts";
import type { Simulation } from "../harness/simulation.ts";
import { assert } from "./ledger.ts";

export type ChangeOutcome = "done" | "refused" | "unknown";

/** A state process as it has registered. */
export interface Registered {
  node: string;
  disk: string;
  incarnation: string;
  /** Of its host: what comes late of an earlier life is of no use. */
  life: number;
}

/** What a coordinator tells: all of it at once. */
export interface Picture {
  /** Rises with all that changes. */
  revision: number;
  policy: ReplicaPolicy;
  versioned: Versioned;
  /** Disks, in the coordinator's order: the first proposes the first configuration of all. Null: not registered. */
  wanted: (string | null)[];
  exits: ExitCertificate[];
}

/** What was lost on its way to an agent is told again: streams to agents break, and begin with all there is. */
const toldAgainMs = 700;
/** As agents keep them: the last ones of each node. */
const exitsKept = 8;

export class SimControl {
  readonly #sim: Simulation;
  readonly host: Host;
  policy: ReplicaPolicy;
  #truth: Versioned = { generation: 1, version: 0, configuration: null };
  /** Before the last change, for those who are told of the past. */
  #before: Versioned = this.#truth;
  /** All that ever was, in this generation or another. */
  readonly #past: Versioned[] = [];
  /** What holds, while the store has been restored and not recovered. */
  #shelved: Versioned | null = null;
  /** Before the last restore. */
  #old: Versioned | null = null;
  /** The older copy is what answers now. */
  rolledBack = false;
  /** Share of answers from the past. */
  stale = 0;
  /** A proposer gives up after this. */
  unknownAfterMs = 1_500;
  readonly #wanted = new Set<string>();
  readonly #registered = new Map<string, Registered>();
  #revision = 0;
  readonly #exits: ExitCertificate[] = [];
  /** Change ids that were carried out: what is sent twice is made once. */
  readonly #made = new Set<string>();
  readonly #readers = new Set<(picture: Picture) => void>();
  /** What was ever asked for by what the truth is now: some of it may be on its way yet. */
  #asked: Change[] = [];
  /** A replica asks for this. */
  onAsked: ((configuration: Configuration) => void) | undefined;
  /** Of the truth, before and after. */
  onChange: ((before: Configuration | null, after: Configuration) => void) | undefined;

  constructor(sim: Simulation, policy: ReplicaPolicy) {
    this.#sim = sim;
    this.policy = policy;
    this.host = sim.host("control");
    this.host.start();
    const repeat = (): void => {
      for (const reader of this.#readers) reader(this.#picture());
      sim.after(toldAgainMs, repeat);
    };
    repeat();
  }

  /** What holds, whatever is told. */
  get truth(): Versioned {
    return this.#shelved ?? this.#truth;
  }

  /** Sets one of which is in sync, or may be in a moment, though whoever asked for it has ended since. */
  get possiblyInSync(): readonly (readonly string[])[] {
    const { configuration } = this.truth;
    const open = this.#asked.filter((change) => this.#isOpen(change));
    return [configuration?.inSync ?? [], ...open.map((change) => change.configuration.inSync)];
  }

  /** The operator asks for something else. */
  setPolicy(change: Partial<ReplicaPolicy>): void {
    this.policy = { ...this.policy, ...change };
    this.#tell();
  }

  /** A node that is to hold a replica. */
  want(node: string): void {
    this.#wanted.add(node);
    this.#tell();
  }

  /** A node that is to hold a replica no more. */
  dismiss(node: string): void {
    this.#wanted.delete(node);
    this.#tell();
  }

  /** A state process says who it is, until it has been heard. `heard` is called once. */
  register(from: Host, registered: Registered, heard: () => void): void {
    let done = false;
    const attempt = (): void => {
      if (done) return;
      this.#request(
        from,
        () => this.#register(registered),
        () => {
          if (!done) heard();
          done = true;
        },
      );
      from.after(300, attempt);
    };
    attempt();
  }

  certify(from: Host, certificate: ExitCertificate): void {
    this.#sim.network.send(from, this.host, () => {
      if (this.#exits.some(({ incarnation }) => incarnation === certificate.incarnation)) return;
      this.#exits.push(certificate);
      const ofNode = this.#exits.filter(({ node }) => node === certificate.node);
      if (ofNode.length > exitsKept) this.#exits.splice(this.#exits.indexOf(ofNode[0]!), 1);
      this.#tell();
    });
  }

  /** Answered once, or not at all. */
  ask(from: Host, done: (picture: Picture) => void): void {
    this.#request(from, () => this.#picture(), done);
  }

  /** Tells from now on what changes, as far as messages come through. */
  follow(from: Host, told: (picture: Picture) => void): void {
    const { life } = from;
    const reader = (picture: Picture): void => {
      if (from.life !== life || !from.running) this.#readers.delete(reader);
      else
        this.#sim.network.send(this.host, from, () => {
          if (from.life === life) told(picture);
        });
    };
    this.#readers.add(reader);
  }

  /** One outcome; "unknown" may have been done, or be done later. */
  propose(from: Host, change: Change, done: (outcome: ChangeOutcome) => void): void {
    let ended = false;
    const end = (outcome: ChangeOutcome): void => {
      if (ended) return;
      ended = true;
      this.#sim.count(`change:${outcome}`);
      done(outcome);
    };
    this.#asked = this.#asked.filter((other) => this.#isOpen(other));
    if (this.#isOpen(change) && !this.#asked.includes(change)) {
      this.#asked.push(change);
      this.onAsked?.(change.configuration);
    }
    this.#request(from, () => this.#change(change), end);
    from.after(this.unknownAfterMs, () => end("unknown"));
  }

  /**
   * The store is restored from a copy, which may be old; until `recover` nobody goes by what it says. What was copied
   * before is an older generation from then on.
   */
  restore(): void {
    if (this.#shelved) return;
    this.#shelved = this.#truth;
    const copy = this.#sim.random.chance(0.5) ? this.#truth : this.#sim.random.pick(this.#past);
    this.#truth = { ...copy, generation: this.#truth.generation + 1 };
    this.#before = this.#truth;
    this.#made.clear();
    this.#sim.log(`control restored as g${this.#truth.generation} v${copy.version}`);
    this.#tell();
  }

  /** Somebody has made sure of what holds: as the nodes report it, it is written anew. */
  recover(): void {
    const shelved = this.#shelved;
    if (!shelved) return;
    const { generation, version } = this.#truth;
    assert(version <= shelved.version, "the configuration was changed while nobody goes by it");
    this.#old = shelved;
    this.#shelved = null;
    const { epoch } = shelved.configuration!;
    const configuration = { ...shelved.configuration!, epoch: epoch + 1, generation, changeId: "recovered" };
    this.onChange?.(shelved.configuration, configuration);
    this.#truth = { generation, version: shelved.version + 1, configuration };
    this.#before = this.#truth;
    this.#sim.log(`control recovered as g${generation} v${this.#truth.version}`);
    this.#tell();
  }

  /** A person goes on from this replica alone, whatever the others have. False: nobody is registered there. */
  goOnFrom(node: string): boolean {
    const registered = this.#registered.get(node);
    const { generation, version, configuration } = this.#truth;
    if (!registered || !configuration || this.#shelved || this.rolledBack) return false;
    const { disk, incarnation } = registered;
    const epoch = nextEra(configuration.epoch);
    const next: Configuration = {
      ...{ epoch, primary: { disk, incarnation }, generation, inSync: [disk], changeId: "accepted-loss" },
    };
    this.#before = this.#truth;
    this.#truth = { generation, version: version + 1, configuration: next };
    this.#past.push(this.#truth);
    this.#sim.log(`control goes on with v${version + 1} ${show(next)}`);
    this.#tell();
    return true;
  }

  /** Whether there is an older copy that may come back. */
  get hasOld(): boolean {
    return this.#old !== null && !this.#shelved;
  }

  #register(registered: Registered): void {
    const known = this.#registered.get(registered.node);
    if (known && known.life >= registered.life) return;
    this.#registered.set(registered.node, registered);
    this.#tell();
  }

  /** The truth would take it. */
  #isOpen({ generation, version }: Change): boolean {
    return generation === this.#truth.generation && version === this.#truth.version;
  }

  #change(change: Change): ChangeOutcome {
    const { configuration } = change;
    if (!this.rolledBack && this.#made.has(configuration.changeId)) return "done";
    const current = this.rolledBack ? this.#old! : this.#truth;
    if (current.version !== change.version || current.generation !== change.generation) return "refused";
    const next: Versioned = { ...current, version: current.version + 1, configuration };
    if (this.rolledBack) {
      this.#sim.log(`older copy of control v${next.version} ${show(configuration)}`);
      this.#old = next;
    } else {
      this.#made.add(configuration.changeId);
      this.#sim.log(`control v${next.version} ${show(configuration)}`);
      this.onChange?.(current.configuration, configuration);
      this.#before = current;
      this.#truth = next;
      this.#past.push(next);
    }
    this.#tell();
    return "done";
  }

  #picture(): Picture {
    let versioned = this.rolledBack ? this.#old! : this.#truth;
    if (!this.rolledBack && this.stale > 0 && this.#sim.random.chance(this.stale)) {
      this.#sim.count("control:stale answer");
      versioned = this.#before;
    }
    return {
      revision: this.#revision,
      policy: this.policy,
      versioned: structuredClone(versioned),
      wanted: [...this.#wanted].map((node) => this.#registered.get(node)?.disk ?? null),
      exits: [...this.#exits],
    };
  }

  #tell(): void {
    this.#revision++;
    for (const reader of this.#readers) reader(this.#picture());
  }

  #request<T>(from: Host, run: () => T, done: (answer: T) => void): void {
    const { life } = from;
    this.#sim.network.request<T>(
      from,
      this.host,
      (reply) => reply(run()),
      (answer) => {
        if (from.life === life) done(answer);
      },
    );
  }
}

export function show({ epoch, primary, inSync }: Configuration): string {
  const name = (disk: string): string => (disk === primary.disk ? `*${disk.slice(0, 4)}` : disk.slice(0, 4));
  return `e${epoch} ${inSync.map(name).join(" ")} (${primary.incarnation})`;
}
