/**
 * bind, unbind, wait-for-bind, names. A process is bound to a free slot of those that this kernel leases by record, so
 * that binding costs no record; a name is a record, since no two endpoints of an instance may have it.
 */
import { processCallsMax, slotsPerLease } from "../limits.ts";
import { Call, callKinds } from "./call.ts";
import { rematch } from "./calls/do-receive.ts";
import { type Endpoint, NONE } from "./endpoint.ts";
import { finish } from "./finish.ts";
import { giveUpCalls } from "./give-up.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { Outcome } from "./outcome.ts";
import type { PrivilegeBits } from "./privileges.ts";
import { Proc } from "./proc.ts";

export interface BindOptions {
  privileges: PrivilegeBits;
  /** At most one endpoint of the instance has it. */
  name?: string;
  /** Calls of the process under way at a time; 1 also finds deadlocks. Default and most: processCallsMax. */
  callsMax?: number;
  /** Whatever the host wants to find again in the Proc. */
  host?: unknown;
}

interface PendingBind {
  call: Call;
  options: BindOptions;
}

export class Bindings {
  readonly #kernel: KernelMachine;
  #pending: PendingBind[] = [];
  #leasing = false;
  /** Calls that wait for an endpoint to be bound (true) or not to be (false); their own or from other kernels. */
  readonly #watchers = new Map<Endpoint, { call: Call; bound: boolean }[]>();
  readonly #nameWatchers = new Map<string, Call[]>();

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  /** A call whose result's body is the Proc. NAME_TAKEN and NO_SLOTS are what else can become of it. */
  bind(options: BindOptions): Call {
    const call = new Call(callKinds.bind, null, NONE, NONE, 0, null, 0);
    if (this.#kernel.exited) finish(this.#kernel, call, "EXITED");
    else {
      this.#pending.push({ call, options });
      this.maybeBind();
    }
    return call;
  }

  /** As many of those that wait as there are slots; more slots are asked for when they do not suffice. */
  maybeBind(): void {
    const { table, id, proposals, view } = this.#kernel;
    while (this.#pending.length > 0) {
      const endpoint = table.allocate();
      if (endpoint === 0) break;
      const { call, options } = this.#pending.shift()!;
      this.#bound(endpoint, call, options);
    }
    if (this.#pending.length === 0 || this.#leasing || id === 0) return;
    this.#leasing = true;
    const before = table.slots;
    const count = Math.max(slotsPerLease, this.#pending.length);
    const mine = () => table.slots > before || !view.members.has(id);
    proposals.propose({ type: "slots", kernel: id, count }, mine, () => {
      this.#leasing = false;
      // They may all be in use by now, and more be wanted.
      if (table.slots > before) this.maybeBind();
      else for (const { call } of this.#pending.splice(0)) finish(this.#kernel, call, "NO_SLOTS");
    });
  }

  #bound(endpoint: Endpoint, call: Call, { privileges, name, callsMax, host }: BindOptions): void {
    const kernel = this.#kernel;
    const proc = new Proc(endpoint, privileges, Math.min(callsMax ?? processCallsMax, processCallsMax));
    proc.host = host ?? null;
    this.enter(proc);
    const done = { type: 0, body: proc };
    if (name === undefined) {
      finish(kernel, call, "OK", done);
      return;
    }
    proc.name = name;
    const { view, id } = kernel;
    const isSettled = () => view.names.has(name) || !view.members.has(id);
    kernel.proposals.propose({ type: "name", name, endpoint, kernel: id }, isSettled, () => {
      if (view.names.get(name) === endpoint) finish(kernel, call, "OK", done);
      else {
        proc.name = null;
        this.unbind(proc);
        finish(kernel, call, kernel.exited ? "EXITED" : "NAME_TAKEN");
      }
    });
  }

  /** The process can be called here from now on. */
  enter(proc: Proc): void {
    this.#kernel.table.add(proc);
    this.#tellWatchers(proc.endpoint, true);
  }

  /** The process has ended: whoever waits for it is told DIED, its own calls are given up. */
  unbind(proc: Proc): void {
    const kernel = this.#kernel;
    if (!proc.bound) return;
    if (proc.held) {
      kernel.moves.endWhenDecided(proc);
      return;
    }
    const { endpoint, name } = proc;
    this.leave(proc, "NOT_BOUND");
    for (const call of [...proc.mailbox.toArray(), ...proc.open.toArray()]) {
      call.queue?.remove(call);
      this.fail(call, "DIED");
    }
    giveUpCalls(kernel, proc);
    kernel.copies.ownerGone(proc);
    const { view, id, proposals } = kernel;
    if (view.places.has(endpoint)) {
      const mine = () => view.places.get(endpoint)?.holder !== id;
      proposals.propose({ type: "ended", endpoint, kernel: id }, mine);
    } else if (name !== null) {
      const gone = () => view.names.get(name) !== endpoint;
      proposals.propose({ type: "unname", name, endpoint }, gone);
    }
    this.#tellWatchers(endpoint, false);
  }

  /** It is no longer here, whatever that means for those who call it. */
  leave(proc: Proc, outcome: "NOT_BOUND" | "MOVED" | "EXITED"): void {
    proc.bound = false;
    this.#kernel.table.remove(proc.endpoint);
    for (const receive of proc.receivers.toArray()) {
      proc.receivers.remove(receive);
      finish(this.#kernel, receive, outcome);
    }
  }

  /** A call that is in no queue and was not carried out; from here or from another kernel. */
  fail(call: Call, outcome: Outcome): void {
    if (call.caller) finish(this.#kernel, call, outcome);
    else this.#kernel.answers.fail(call, outcome);
  }

  /** `call` is answered when the endpoint, which this kernel holds or may give out, is bound or not. */
  watch(call: Call, endpoint: Endpoint, bound: boolean): void {
    const { table } = this.#kernel;
    const isBound = table.find(endpoint) !== undefined;
    if (isBound === bound) this.#answer(call);
    else if (bound && table.hasBeen(endpoint)) this.fail(call, "DIED");
    else {
      const watchers = this.#watchers.get(endpoint) ?? [];
      watchers.push({ call, bound });
      this.#watchers.set(endpoint, watchers);
    }
  }

  /** The call, which watches, is over. */
  unwatch(call: Call): boolean {
    const watchers = this.#watchers.get(call.destination);
    if (!watchers) return false;
    const rest = watchers.filter((watcher) => watcher.call !== call);
    if (rest.length === 0) this.#watchers.delete(call.destination);
    else this.#watchers.set(call.destination, rest);
    return rest.length !== watchers.length;
  }

  watching(): Call[] {
    return [...this.#watchers.values()].flatMap((watchers) => watchers.map((watcher) => watcher.call));
  }

  watchingNames(): Call[] {
    return [...this.#nameWatchers.values()].flat();
  }

  /** Answered with the endpoint when it has the name. `call.body` is the name. */
  watchName(call: Call): void {
    const name = call.body as string;
    const endpoint = this.#kernel.view.names.get(name);
    if (endpoint !== undefined) finish(this.#kernel, call, "OK", { type: 0, body: endpoint });
    else this.#nameWatchers.set(name, [...(this.#nameWatchers.get(name) ?? []), call]);
  }

  unwatchName(call: Call): void {
    const name = call.body as string;
    if (!this.#nameWatchers.has(name)) return;
    const rest = (this.#nameWatchers.get(name) ?? []).filter((watcher) => watcher !== call);
    if (rest.length === 0) this.#nameWatchers.delete(name);
    else this.#nameWatchers.set(name, rest);
  }

  named(name: string, endpoint: Endpoint): void {
    const watchers = this.#nameWatchers.get(name) ?? [];
    this.#nameWatchers.delete(name);
    for (const call of watchers) finish(this.#kernel, call, "OK", { type: 0, body: endpoint });
  }

  /** Receives of all processes meet what has come while the kernel was frozen. */
  rematchAll(): void {
    for (const proc of [...this.#kernel.table.all()]) rematch(this.#kernel, proc);
  }

  /** Nothing will be bound here any more. */
  exit(): void {
    for (const { call } of this.#pending.splice(0)) finish(this.#kernel, call, "EXITED");
    for (const calls of this.#nameWatchers.values())
      for (const call of calls) finish(this.#kernel, call, "EXITED");
    this.#nameWatchers.clear();
  }

  #tellWatchers(endpoint: Endpoint, bound: boolean): void {
    for (const watcher of this.#watchers.get(endpoint) ?? []) {
      this.unwatch(watcher.call);
      if (watcher.bound === bound) this.#answer(watcher.call);
      else this.fail(watcher.call, "DIED");
    }
  }

  #answer(call: Call): void {
    if (call.caller) finish(this.#kernel, call, "OK");
    else this.#kernel.answers.answer(call, null);
  }
}
