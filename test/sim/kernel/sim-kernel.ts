/** A host process of a simulated instance: the real kernel machine, its processes, its clock and its links. */
import type { Call } from "../../../core/kernel/call.ts";
import { type Endpoint, formatEndpoint } from "../../../core/kernel/endpoint.ts";
import { KernelMachine } from "../../../core/kernel/kernel-machine.ts";
import { type KernelMessage, messageTable } from "../../../core/kernel/messages.ts";
import { privilegeBits } from "../../../core/kernel/privileges.ts";
import type { Proc } from "../../../core/kernel/proc.ts";
import type { KernelRecord } from "../../../core/kernel/view.ts";
import { kernelTickMs, windowBytes, windowMessages } from "../../../core/limits.ts";
import type { Host } from "../harness/host.ts";
import { Actor } from "./actor.ts";
import type { KernelWorld } from "./kernel-world.ts";
import { assert } from "./ledger.ts";
import type { LinkEnd } from "./sim-links.ts";

const membership = new Set<number>([messageTable.beacon.number, messageTable.beaconAck.number]);

const calls = new Set<number>([messageTable.send.number, messageTable.request.number]);

export class SimKernel {
  readonly world: KernelWorld;
  readonly host: Host;
  readonly incarnation: string;
  readonly machine: KernelMachine;
  readonly actors = new Map<Endpoint, Actor>();
  readonly #end: LinkEnd;
  /** It is to leave once its processes have gone. */
  leaving = false;
  #flushing = false;
  #checkedIndex = 0;

  constructor(world: KernelWorld, id: string) {
    const { sim } = world;
    this.world = world;
    this.host = sim.host(id);
    this.host.start();
    this.incarnation = sim.random.id(16);
    const sink = {
      complete: (call: Call) => call.waiter!(call),
      transmit: (to: number, message: KernelMessage) => this.#transmit(to, message),
      propose: (ticket: number, record: KernelRecord) =>
        world.log.propose(this.host, record, (answer) =>
          this.step(() => this.machine.proposed(ticket, answer)),
        ),
      wantFlush: () => this.#wantFlush(),
      freeze: () => this.#note("freeze"),
      thaw: () => this.#note("thaw"),
      exit: () => {
        this.#note("exit");
        // What it still ran is dead, by the record that it has read.
        this.host.crash();
      },
      moveStarted: (endpoint: Endpoint, g: number) => this.#moveStarted(endpoint, g),
      moveOffered: (endpoint: Endpoint, g: number, _from: number, image: Uint8Array) =>
        this.#moveOffered(endpoint, g, image),
      moveEnded: (endpoint: Endpoint, outcome: "moved" | "aborted", side: "source" | "destination") =>
        this.#moveEnded(endpoint, outcome, side),
      promoted: (endpoint: Endpoint) => this.#promoted(endpoint),
    };
    const member = {
      ...{ incarnation: this.incarnation, node: id, cpu: 0, unix: "", host: "", port: 0 },
      ...{ protocol: 1, protocolMin: 1 },
    };
    this.machine = new KernelMachine(sink, { member, nowMs: this.host.nowMs() });
    this.#end = {
      host: this.host,
      id: () => this.machine.id,
      arrived: (from, message) => this.step(() => this.machine.arrived(from, message)),
      writable: (peer) => this.step(() => this.machine.writable(peer)),
    };
    this.machine.join();
    this.host.every(kernelTickMs, () => this.step(() => {}));
    this.host.every(sim.random.between(4, 12), () => this.step(() => this.#act()));
    world.log.follow(this.host, (record) =>
      this.step(() => {
        this.machine.apply(record);
        if (this.machine.id !== 0 && !this.machine.exited) world.links.ends.set(this.machine.id, this.#end);
        this.#checkView();
      }),
    );
  }

  /** A turn of its event loop: the clock first. */
  step(run: () => void): void {
    if (!this.host.running || this.machine.exited) return;
    this.machine.tick(this.host.nowMs());
    run();
  }

  bind(): void {
    const privileges = privilegeBits({ group: this.world.sim.random.integer(0, 3) });
    const call = this.machine.bind({ privileges });
    const bound = () => {
      if (call.outcome !== "OK") return;
      const proc = call.result!.body as Proc;
      this.#live(new Actor(this, proc));
    };
    if (call.outcome) bound();
    else call.waiter = bound;
  }

  crash(): void {
    this.world.changes++;
    this.world.sim.log(`${this.host.id} crashes`);
    this.host.crash();
  }

  #live(actor: Actor): void {
    const { endpoint } = actor.proc;
    this.actors.set(endpoint, actor);
    this.world.lives.set(endpoint, actor.life);
    this.world.endpoints.push(endpoint);
    this.world.changes++;
  }

  #act(): void {
    for (const actor of this.actors.values()) {
      actor.act();
      if (actor.proc.bound) continue;
      this.actors.delete(actor.proc.endpoint);
      this.world.changes++;
    }
  }

  #transmit(to: number, message: KernelMessage): boolean {
    const { machine } = this;
    assert(!machine.exited, () => `${this.host.id} sends after it has exited`);
    assert(
      !machine.frozen || membership.has(message[0]),
      () => `${this.host.id} sends ${message[0]} while frozen`,
    );
    if (calls.has(message[0])) this.#checkWindow(message[3] as Endpoint);
    return this.world.links.transmit(this.#end, to, message);
  }

  /** What a process has brought along may be above it, but then nothing new is sent. */
  #checkWindow(endpoint: Endpoint): void {
    const outlet = this.machine.peers.outlets.get(endpoint)!;
    const isBounded = outlet.sent.length <= windowMessages && outlet.sentBytes <= windowBytes;
    assert(
      isBounded || outlet.sent.length === 1,
      () =>
        `${outlet.sent.length} messages, ${outlet.sentBytes} bytes under way from ${this.host.id} to one endpoint`,
    );
  }

  #wantFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.host.after(0, () => {
      this.#flushing = false;
      this.step(() => this.machine.flush());
    });
  }

  #moveStarted(endpoint: Endpoint, g: number): void {
    const { random } = this.world.sim;
    this.#note(`freezes ${formatEndpoint(endpoint)}`);
    this.host.after(random.pick([0, 5, 200]), () =>
      this.step(() => {
        const actor = this.actors.get(endpoint);
        // Decided meanwhile, by a removal.
        if (!actor?.proc.held) return;
        if (this.world.chaos && random.chance(0.1)) {
          this.world.sim.count("move:aborted by its source");
          this.machine.abortMove(endpoint, g);
        }
        this.machine.offerMove(endpoint, g, actor.image());
        if (this.world.chaos && random.chance(0.1)) {
          this.world.sim.count("move:aborted after the offer");
          this.machine.abortMove(endpoint, g);
        }
      }),
    );
  }

  #moveOffered(endpoint: Endpoint, g: number, image: Uint8Array): void {
    const { random } = this.world.sim;
    this.host.after(random.pick([0, 5, 200]), () =>
      this.step(() => {
        if (this.world.chaos && random.chance(0.1)) {
          this.world.sim.count("move:declined");
          this.machine.declineMove(endpoint, g);
          return;
        }
        const waiter = (call: Call) => this.actors.get(endpoint)!.ended(call);
        this.machine.acceptMove(endpoint, g, Actor.stateOf(image), waiter);
      }),
    );
  }

  #moveEnded(endpoint: Endpoint, outcome: "moved" | "aborted", side: "source" | "destination"): void {
    this.#note(`move of ${formatEndpoint(endpoint)}: ${outcome}, ${side}`);
    this.world.sim.count(`move:${outcome} ${side}`);
    if (outcome === "aborted") return;
    if (side === "source") this.actors.delete(endpoint);
    else {
      const proc = this.machine.table.find(endpoint)!;
      this.#live(new Actor(this, proc, proc.host as ReturnType<typeof Actor.stateOf>));
    }
  }

  #promoted(endpoint: Endpoint): void {
    this.#note(`has ${formatEndpoint(endpoint)} as its backup`);
    this.world.sim.count("backup:promoted");
    this.#live(new Actor(this, this.machine.table.find(endpoint)!));
  }

  #note(what: string): void {
    this.world.changes++;
    if (["freeze", "thaw", "exit"].includes(what)) this.world.sim.count(`kernel:${what}`);
    this.world.sim.log(`${this.host.id} (${this.machine.id}) ${what}`);
  }

  /** The same records give the same View. */
  #checkView(): void {
    const { view } = this.machine;
    if (view.index === this.#checkedIndex || !this.world.sim.random.chance(0.05)) return;
    this.#checkedIndex = view.index;
    const mine = JSON.stringify(view.snapshot());
    const truth = this.world.log.snapshotAt(view.index);
    assert(mine === truth, () => `${this.host.id} has another View at ${view.index}:\n${mine}\n${truth}`);
  }
}
