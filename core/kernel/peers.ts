/**
 * The calls of this kernel's processes to endpoints of other kernels. What is on its way to one endpoint is an Outlet;
 * where endpoints are, the View says, and other kernels when they have read more of it (`miss`).
 */
import { messageBytesMax, outletsIdleMax } from "../limits.ts";
import { type Call, callKinds, isCopy, states } from "./call.ts";
import { type Endpoint, isEndpoint } from "./endpoint.ts";
import { finish } from "./finish.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { bodyBytes, type Message, notPlain } from "./message.ts";
import { messageTable } from "./messages.ts";
import { addNotice, sendNotices } from "./notices.ts";
import type { Outcome } from "./outcome.ts";
import { Outlet } from "./outlet.ts";
import type { Proc } from "./proc.ts";
import { redispatchHere, settle } from "./settling.ts";
import type { KernelId } from "./view.ts";

const numbers = messageTable;

export class Peers {
  readonly #kernel: KernelMachine;
  readonly outlets = new Map<Endpoint, Outlet>();
  /** Peers whose proxy is full. */
  readonly #full = new Set<KernelId>();

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  /** Where messages to the endpoint go; 0: there is no such place. */
  locate(endpoint: Endpoint): KernelId {
    return this.outlets.get(endpoint)?.stay.kernel ?? this.#kernel.view.holderOf(endpoint);
  }

  /** A send or request to an endpoint that this kernel does not hold. */
  dispatch(call: Call): void {
    call.bytes = bodyBytes(call.body, messageBytesMax);
    if (call.bytes > messageBytesMax) {
      this.finishAway(call, call.bytes === notPlain ? "BAD_MESSAGE" : "TOO_LARGE");
      return;
    }
    const { caller, destination } = call;
    // A frozen process's wait here, wherever they go.
    const outlet = caller?.held ? this.outletFor(destination) : this.outletTo(destination);
    if (!outlet) {
      this.finishAway(call, this.absence(destination));
      return;
    }
    outlet.queue.push(call);
    this.pump(outlet);
  }

  /** A watch, info or copy: answered by the endpoint's kernel, at once or when it can be. */
  ask(call: Call): void {
    const outlet = isEndpoint(call.destination) ? this.outletTo(call.destination) : undefined;
    if (!outlet) {
      finish(this.#kernel, call, this.absence(call.destination));
      return;
    }
    outlet.asks.push(call);
    this.askAgain(outlet, call);
  }

  askAgain(outlet: Outlet, call: Call): void {
    if (call.caller?.held) return;
    // Nobody needs a privilege to wait for an endpoint; and one that is not bound has no group yet.
    if (call.kind !== callKinds.watch && outlet.phase !== "open") {
      this.resolve(outlet);
      return;
    }
    if (outlet.phase === "settling") return;
    if (call.kind !== callKinds.watch && !this.#mayCall(call, outlet)) {
      this.finishAway(call, "NOT_ALLOWED");
      return;
    }
    const { caller, source, destination } = call;
    this.number(call);
    call.state = states.sent;
    const to = outlet.kernel;
    const { index } = this.#kernel.view;
    if (call.kind === callKinds.watch) {
      const { number } = numbers.watch;
      this.#kernel.transmit(to, [number, source, call.number, destination, index, call.type]);
    } else if (call.kind === callKinds.info) {
      this.#kernel.transmit(to, [numbers.info.number, source, call.number, destination, index]);
    } else if (caller) this.#kernel.copies.open(call, outlet);
  }

  notify(caller: Proc, endpoint: Endpoint): Outcome {
    if (caller.held) return "BUSY";
    // One that is here is frozen.
    const isHere = this.#kernel.table.find(endpoint) !== undefined;
    const outlet = isHere ? this.outletFor(endpoint) : this.outletTo(endpoint);
    if (!outlet) return this.absence(endpoint);
    if (outlet.group >= 0 && ((caller.to >>> outlet.group) & 1) === 0) return "NOT_ALLOWED";
    addNotice(outlet, caller);
    caller.counters.sentRemote++;
    this.pump(outlet);
    return "OK";
  }

  /** Calls to an endpoint that is here now still wait in an outlet: newer ones wait behind them. */
  isBehind(endpoint: Endpoint): boolean {
    const outlet = this.outlets.get(endpoint);
    return outlet !== undefined && (outlet.phase === "settling" || outlet.queue.length > 0);
  }

  /** Sends what may be sent. */
  pump(outlet: Outlet): void {
    const kernel = this.#kernel;
    if (kernel.frozen) return;
    if (outlet.kernel === kernel.id && outlet.phase !== "settling") {
      redispatchHere(kernel, outlet);
      return;
    }
    if (outlet.phase === "unresolved" && (outlet.queue.head || outlet.notices.size > 0)) {
      this.resolve(outlet);
    }
    if (outlet.phase !== "open" || this.#full.has(outlet.kernel)) return;
    if (outlet.notices.size > 0) sendNotices(kernel, outlet);
    for (let call = outlet.queue.head; call;) {
      const { next } = call;
      // Its process is being moved: the call goes along, or on from here when it has stayed.
      if (call.caller?.held) {
        call = next;
        continue;
      }
      if (!outlet.hasRoom(call)) return;
      outlet.queue.remove(call);
      if (this.#mayCall(call, outlet)) this.#send(outlet, call);
      else finish(kernel, call, "NOT_ALLOWED");
      if (this.#full.has(outlet.kernel)) return;
      call = next;
    }
  }

  #send(outlet: Outlet, call: Call): void {
    this.number(call);
    call.state = states.sent;
    outlet.sent.push(call);
    outlet.sentBytes += call.bytes;
    const { caller } = call;
    if (caller) {
      caller.counters.sentRemote++;
      caller.counters.bytesSent += call.bytes;
    }
    const { source, destination, group, type, body } = call;
    const { kernel: to, since } = outlet;
    if (call.kind === callKinds.send) {
      const { number } = numbers.send;
      this.#kernel.transmit(to, [number, source, call.number, destination, group, since, type, body]);
    } else {
      const { number } = numbers.request;
      this.#kernel.transmit(to, [number, source, call.number, destination, group, since, type, body]);
    }
  }

  #mayCall(call: Call, outlet: Outlet): boolean {
    return call.caller !== null && ((call.caller.to >>> outlet.group) & 1) === 1;
  }

  /** Its name among the calls of its process, from the moment in which others hear of it. */
  number(call: Call): void {
    const { caller } = call;
    if (call.number !== 0 || !caller) return;
    call.number = ++caller.lastCall;
    caller.away.set(call.number, call);
  }

  /** The outlet to an endpoint that another kernel holds; undefined when none does. */
  outletTo(endpoint: Endpoint): Outlet | undefined {
    const known = this.outlets.get(endpoint);
    if (known) return known;
    const holder = this.#kernel.view.holderOf(endpoint);
    return holder === this.#kernel.id ? undefined : this.outletFor(endpoint);
  }

  /**
   * The same, also for one that this kernel holds itself: where calls are that have been with another kernel, or may
   * be before they end.
   */
  outletFor(endpoint: Endpoint): Outlet | undefined {
    const known = this.outlets.get(endpoint);
    if (known) return known;
    const { view } = this.#kernel;
    const holder = view.holderOf(endpoint);
    if (!view.members.has(holder)) return undefined;
    if (this.outlets.size >= outletsIdleMax) this.#evict();
    const outlet = new Outlet(endpoint, { kernel: holder, since: view.placedAt(endpoint) });
    this.outlets.set(endpoint, outlet);
    return outlet;
  }

  /** Outlets cost a resolve when they are made again: the oldest idle half goes. */
  #evict(): void {
    let most = this.outlets.size >> 1;
    for (const outlet of this.outlets.values()) {
      if (outlet.isIdle && most-- > 0) this.outlets.delete(outlet.endpoint);
    }
  }

  resolve(outlet: Outlet): void {
    if (outlet.phase !== "unresolved") return;
    outlet.phase = "resolving";
    this.#kernel.transmit(outlet.kernel, [numbers.resolve.number, outlet.endpoint, this.#kernel.view.index]);
  }

  /** Why there is no such endpoint: it will never be again, or it is not yet. */
  absence(endpoint: Endpoint): Outcome {
    const { view, table, id } = this.#kernel;
    if (!isEndpoint(endpoint)) return "NOT_BOUND";
    const holder = view.holderOf(endpoint);
    if (holder === 0) return view.mayHaveBeen(endpoint) ? "DIED" : "NOT_BOUND";
    // One that has come here by a move was bound before; of its own a kernel knows.
    const hasBeen = holder !== id || view.places.has(endpoint) || table.hasBeen(endpoint);
    return hasBeen ? "DIED" : "NOT_BOUND";
  }

  /** A call of this kernel's that had left it is over. */
  finishAway(call: Call, outcome: Outcome, result: Message | null = null): void {
    if (call.caller?.held) {
      this.#kernel.moves.hold(call, outcome, result);
      return;
    }
    const outlet = this.leave(call);
    if (isCopy(call)) this.#kernel.copies.giveUp(call);
    finish(this.#kernel, call, outcome, result);
    if (outlet) this.pump(outlet);
  }

  /** Takes the call out of its outlet, if it is in one, and gives its credit back. */
  leave(call: Call): Outlet | undefined {
    const outlet = this.outlets.get(call.destination);
    const { queue } = call;
    if (outlet && queue === outlet.sent) outlet.sentBytes -= call.bytes;
    queue?.remove(call);
    return outlet;
  }

  /** The receiver's process has taken the message of a send (the call's end) or of a request (credit). */
  taken(call: Call): void {
    if (call.kind === callKinds.send) this.finishAway(call, "OK");
    else if (call.state === states.sent) {
      if (call.cancelled) {
        this.finishAway(call, "OUTCOME_UNKNOWN");
        return;
      }
      const outlet = this.leave(call);
      call.state = states.open;
      outlet?.open.push(call);
      if (outlet) this.pump(outlet);
    }
  }

  /** The caller does not wait any longer for a call that has left this kernel. */
  cancel(call: Call, why: "TIMED_OUT" | "CANCELLED"): void {
    const kernel = this.#kernel;
    const isSettling = this.outlets.get(call.destination)?.phase === "settling";
    if (!isSettling || call.state === states.open) this.tellCancel(call);
    if (call.state === states.open) this.finishAway(call, "OUTCOME_UNKNOWN");
    else {
      call.cancelled = why;
      kernel.armGrace(call);
    }
  }

  /** For what has ended here whatever the other kernel says. */
  tellCancel({ source, number, destination }: Call): void {
    const to = this.locate(destination);
    this.#kernel.transmit(to, [numbers.cancel.number, source, number, destination]);
  }

  full(peer: KernelId): void {
    this.#full.add(peer);
  }
  writable(peer: KernelId): void {
    if (!this.#full.delete(peer)) return;
    for (const outlet of this.outlets.values()) if (outlet.kernel === peer) this.pump(outlet);
  }
  pumpAll(): void {
    for (const outlet of this.outlets.values()) this.pump(outlet);
  }

  /** The endpoint is there since that record. */
  relocate(endpoint: Endpoint, kernel: KernelId, since: number): void {
    const outlet = this.outlets.get(endpoint);
    if (outlet && outlet.stay.since < since) settle(this.#kernel, outlet, { kernel, since });
  }

  /** The endpoint is no more. */
  endOutlet(outlet: Outlet): void {
    outlet.phase = "settling";
    for (const queue of [outlet.sent, outlet.open, outlet.queue, outlet.asks]) {
      for (const call of queue.toArray()) this.finishAway(call, "DIED");
    }
    this.outlets.delete(outlet.endpoint);
    this.#kernel.moves.settled(outlet);
  }

  /** The kernel has been removed. */
  removed(peer: KernelId): void {
    this.#full.delete(peer);
  }
}
