/**
 * A process of a simulated kernel: it calls others at random, takes what comes, and answers after a while. All that it
 * is made of is in `State`, which is its image when it moves; what the kernel keeps for it goes by the kernel.
 */
import { type Call, callKinds, states } from "../../../core/kernel/call.ts";
import { ANY, type Endpoint, formatEndpoint } from "../../../core/kernel/endpoint.ts";
import type { Proc } from "../../../core/kernel/proc.ts";
import { assert, type Entry, show } from "./ledger.ts";
import type { SimKernel } from "./sim-kernel.ts";

interface Body {
  id: number;
}

interface State {
  life: number;
  /** Calls of its own that have no outcome. */
  calling: number[];
  /** Requests that it has taken and is to answer, by their names. */
  answering: { id: number; source: Endpoint; number: number; dueMs: number }[];
  /** Of its grant: all bytes have this value. */
  pattern: number;
}

const grantBytes = 150_000;

/** What a copy of that length with that first byte has to be. */
function wholes(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.length).fill(buffer[0] ?? 0);
}

export class Actor {
  readonly kernel: SimKernel;
  readonly proc: Proc;
  readonly life: number;
  readonly name: string;
  readonly #calling = new Map<number, Call | null>();
  readonly #answering = new Map<number, { request: Call; dueMs: number }>();
  #receiving = 0;
  /** It takes nothing until then. */
  #lazyUntilMs = 0;
  readonly pattern: number;
  readonly grant: number;
  #ended = false;

  constructor(kernel: SimKernel, proc: Proc, state?: State) {
    const { world } = kernel;
    this.kernel = kernel;
    this.proc = proc;
    this.life = state?.life ?? world.nextLife();
    this.name = `${kernel.host.id}/${formatEndpoint(proc.endpoint)}#${this.life}`;
    this.pattern = state?.pattern ?? (this.life % 250) + 1;
    const buffer = new Uint8Array(grantBytes).fill(this.pattern);
    this.grant = 1;
    proc.lastGrant = Math.max(proc.lastGrant, 1);
    proc.grants.set(1, { id: 1, buffer, grantee: ANY, access: "read" });
    for (const id of state?.calling ?? []) this.#calling.set(id, null);
    for (const { id, source, number, dueMs } of state?.answering ?? []) {
      const request = proc.open.toArray().find((open) => open.source === source && open.number === number);
      // Its caller has given up on the way.
      if (request) this.#answering.set(id, { request, dueMs });
    }
  }

  image(): Uint8Array {
    const state: State = {
      life: this.life,
      calling: [...this.#calling.keys()],
      answering: [...this.#answering].map(([id, { request, dueMs }]) => {
        return { id, source: request.source, number: request.number, dueMs };
      }),
      pattern: this.pattern,
    };
    // Some are large, so that the image takes its time.
    const padding = " ".repeat(this.kernel.world.sim.random.pick([0, 1_000, 300_000]));
    return new TextEncoder().encode(JSON.stringify(state) + padding);
  }
  static stateOf(image: Uint8Array): State {
    return JSON.parse(new TextDecoder().decode(image)) as State;
  }

  /** One turn of the process. */
  act(): void {
    const { world, machine, host } = this.kernel;
    const { random } = world.sim;
    if (this.#ended || machine.frozen || this.proc.held || !this.proc.bound) return;
    const nowMs = host.nowMs();
    if (nowMs >= this.#lazyUntilMs) {
      if (this.#receiving < 2) this.#receive();
      if (world.talking && random.chance(0.01)) this.#lazyUntilMs = nowMs + random.pick([50, 400, 1_500]);
    }
    for (const [id, { request, dueMs }] of this.#answering) {
      if (world.talking && nowMs < dueMs) continue;
      this.#answering.delete(id);
      this.#reply(id, request);
    }
    if (!world.talking) return;
    // Bursts fill windows.
    const count = random.chance(0.01) ? 100 : 1;
    for (let i = random.integer(0, count); i > 0; i--) if (this.#calling.size < 250) this.#call();
    if (random.chance(0.1)) this.#notify();
    if (random.chance(0.02)) this.#copy();
    if (random.chance(0.02)) this.#watch();
    if (random.chance(0.03)) this.#cancel();
  }

  end(): void {
    this.#ended = true;
    this.kernel.world.changes++;
    this.kernel.world.ledger.dead.add(this.life);
    this.kernel.machine.unbind(this.proc);
  }

  /** The answers of calls that it made where it was. */
  readonly ended = (call: Call): void => {
    const { world } = this.kernel;
    if (call.outcome === "MOVED") return;
    assert(!this.kernel.machine.frozen, () => `${this.name} is woken while its kernel is frozen`);
    assert(!this.proc.held, () => `${this.name} is woken while it is frozen`);
    if (call.kind === callKinds.send || call.kind === callKinds.request) {
      const { id } = call.body as Body;
      const isOwn = this.#calling.delete(id);
      assert(
        isOwn,
        () => `${show(world.ledger.entries.get(id)!)} ended unasked as ${call.outcome} on ${this.name}`,
      );
      world.sim.log(`${this.name} call ${id} ${call.outcome}`);
      world.ledger.end(id, call.outcome!, (call.result?.body as Body | undefined)?.id);
    } else world.sim.count(`other:${call.outcome}`);
  };

  #call(): void {
    const { world, machine } = this.kernel;
    const { random } = world.sim;
    const to = world.someEndpoint(this.proc.endpoint);
    const kind: Entry["kind"] = random.chance(0.5) ? "send" : "request";
    const { id } = world.ledger.begin(kind, this.life, this.proc.endpoint, to);
    const timeoutMs = random.pick([undefined, undefined, 0, 5, 60, 1_000]);
    const padding = random.chance(0.02) ? new Uint8Array(random.pick([20_000, 200_000])) : null;
    const message = { type: 1, body: { id, padding } };
    const call =
      kind === "send"
        ? machine.send(this.proc, to, message, timeoutMs)
        : machine.sendrec(this.proc, to, message, timeoutMs);
    this.#calling.set(id, call);
    if (call.outcome) this.ended(call);
    else call.waiter = this.ended;
  }

  #notify(): void {
    const { world, machine } = this.kernel;
    const to = world.someEndpoint(this.proc.endpoint);
    // Noted before: the receiver may be woken in the same step.
    const pair = world.ledger.notify(this.life, this.proc.endpoint, world.lives.get(to) ?? 0, to);
    if (machine.notify(this.proc, to) !== "OK") pair.sent--;
  }

  #copy(): void {
    const { world, machine } = this.kernel;
    const owner = world.someEndpoint(this.proc.endpoint);
    const buffer = new Uint8Array(world.sim.random.pick([0, 100, grantBytes]));
    const call = machine.copy(
      this.proc,
      { direction: "read", owner, grant: 1, offset: 0, buffer },
      world.sim.random.pick([undefined, 40, 2_000]),
    );
    const check = (call: Call) => {
      if (call.outcome === "OK") {
        const isWhole = buffer[0] !== 0 && Buffer.compare(buffer, wholes(buffer)) === 0;
        assert(isWhole || buffer.length === 0, () => `${this.name} got half a copy`);
        world.sim.count("copy:done");
      }
      if (call.outcome !== "MOVED") this.ended(call);
    };
    if (call.outcome) check(call);
    else call.waiter = check;
  }

  #watch(): void {
    const { world, machine } = this.kernel;
    const to = world.someEndpoint(this.proc.endpoint);
    const timeoutMs = world.sim.random.pick([10, 500]);
    const call = world.sim.random.chance(0.5)
      ? machine.waitForBind(this.proc, to, world.sim.random.chance(0.5), timeoutMs)
      : machine.getInfo(this.proc, to, timeoutMs);
    if (call.outcome) this.ended(call);
    else call.waiter = this.ended;
  }

  #cancel(): void {
    const call = [...this.#calling.values()].find((own) => own && own.state !== states.done);
    if (call) this.kernel.machine.cancel(this.proc, call);
  }

  #receive(): void {
    const { machine, world } = this.kernel;
    const ms = world.sim.random.pick([undefined, 30, 300]);
    const receive = machine.receive(this.proc, ANY, false, ms);
    if (receive.outcome) {
      this.#received(receive);
      return;
    }
    this.#receiving++;
    receive.waiter = (ended) => {
      this.#receiving--;
      this.#received(ended);
    };
  }

  #received(receive: Call): void {
    const { world, machine } = this.kernel;
    if (receive.outcome !== "OK") return;
    assert(!machine.frozen && !this.proc.held, () => `${this.name} takes a message while it is frozen`);
    assert(!this.#ended, () => `${this.name} takes a message after its end`);
    const call = receive.result as Call;
    if (call.isNotification) {
      world.ledger.takeNotification(call.source, this.life, this.proc.endpoint, call.body as number);
      return;
    }
    const { id } = call.body as Body;
    world.sim.log(`${this.name} takes ${id}`);
    world.ledger.take(id, this.life, this.proc.endpoint, call.source);
    if (!call.isRequest) return;
    const delayMs = world.sim.random.pick([0, 0, 3, 50, 700]);
    this.#answering.set(id, { request: call, dueMs: this.kernel.host.nowMs() + delayMs });
  }

  #reply(id: number, request: Call): void {
    const { world, machine } = this.kernel;
    const isOpen = request.state === states.open;
    // Noted before: the caller may hear of it in the same step.
    if (isOpen) world.ledger.reply(id, this.life);
    const outcome = machine.reply(this.proc, request, { type: 2, body: { id } });
    assert(
      outcome === (isOpen ? "OK" : "NOT_WAITING"),
      () =>
        `${this.name} replies to ${id}: ${outcome} ${request.receiver?.endpoint} ${request.caller?.endpoint} ${request.number} ${request.via} ${request.queue?.length}`,
    );
    if (!isOpen) world.sim.count("reply:not waiting");
  }
}
