/** A process of this kernel that is going to another: see moves-machine.ts. */
import { messageBytesMax } from "../limits.ts";
import { Call, callKinds, states } from "./call.ts";
import { dispatch } from "./calls/do-send.ts";
import { rematch } from "./calls/do-receive.ts";
import type { Endpoint } from "./endpoint.ts";
import { ANY } from "./endpoint.ts";
import { finish } from "./finish.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { bodyBytes, type Message } from "./message.ts";
import { type KernelMessage, messageTable } from "./messages.ts";
import { exportState } from "./move-state.ts";
import type { Notice } from "./notices.ts";
import type { Outcome } from "./outcome.ts";
import type { Outlet } from "./outlet.ts";
import type { Proc } from "./proc.ts";
import { settle } from "./settling.ts";
import type { KernelId } from "./view.ts";

export class Departure {
  readonly #kernel: KernelMachine;
  readonly proc: Proc;
  readonly g: number;
  readonly to: KernelId;
  /** Grant of the image; 0: not offered. */
  grant = 0;
  /** From the host; offered once nothing of the process is under way. */
  #image: Uint8Array | null = null;
  /** Outlets with something of the process under way: they settle. */
  readonly #settling = new Set<Outlet>();
  /** Its watches and lookups in this kernel: asked again where it goes on. */
  readonly #asks: Call[] = [];
  /** Calls that have ended since it was frozen, and how. Bounded by its calls. */
  readonly #ended: { call: Call; outcome: Outcome; result: Message | null }[] = [];
  /** As the offer has them: what its new kernel does, and what it waits for. */
  #queued: Call[] = [];
  #open: Call[] = [];
  /** Notifications for it that nobody has been told of. At most one of each source. */
  readonly #parked: { from: KernelId; message: KernelMessage }[] = [];
  /** The host has ended the process meanwhile. */
  endsHere = false;

  constructor(kernel: KernelMachine, proc: Proc, g: number, to: KernelId) {
    this.#kernel = kernel;
    this.proc = proc;
    this.g = g;
    this.to = to;
  }

  /** From now on the process is as its image says. */
  freeze(): void {
    const kernel = this.#kernel;
    const { proc } = this;
    const { peers, bindings, timers, table } = kernel;
    proc.held = true;
    proc.detour = true;
    // What it has taken is told before anybody else can answer.
    kernel.answers.flush();
    // Others may hear of calls between it and processes of this kernel: they get numbers.
    for (const call of proc.open.toArray()) if (call.caller) peers.number(call);
    for (const to of [...table.all()]) this.#recall(to);
    for (const call of [...bindings.watching(), ...bindings.watchingNames()]) {
      if (call.caller !== proc) continue;
      bindings.unwatch(call);
      bindings.unwatchName(call);
      this.#asks.push(call);
    }
    for (const call of this.#timed()) timers.pause(call);
    for (const outlet of [...peers.outlets.values()]) {
      const isUnderWay = outlet.sent.toArray().some((call) => call.caller === proc);
      if (!isUnderWay && !outlet.notices.get(proc.endpoint)?.isSent) continue;
      this.#settling.add(outlet);
      if (outlet.phase !== "settling") settle(kernel, outlet, outlet);
    }
  }

  /** What the process has not taken waits here again; what it has taken becomes like a request of another kernel. */
  #recall(to: Proc): void {
    const { peers } = this.#kernel;
    const waiting = to.mailbox.toArray().filter((call) => call.caller === this.proc);
    for (const call of waiting) {
      to.mailbox.remove(call);
      call.receiver = null;
    }
    if (waiting.length > 0) peers.outletFor(to.endpoint)?.putBack(waiting);
    for (const call of to.open.toArray()) if (call.caller === this.proc) this.#split(call);
  }

  /** The receiver keeps the call, and replies to its name; the caller's own goes along. */
  #split(call: Call): void {
    const kernel = this.#kernel;
    const { caller, source, destination, type, body, group } = call;
    const own = new Call(call.kind, caller, source, destination, type, body, group);
    own.state = states.open;
    own.waiter = call.waiter;
    // It has one already if the receiver was frozen once.
    own.number = call.number;
    if (own.number !== 0) caller?.away.set(own.number, own);
    else kernel.peers.number(own);
    kernel.timers.hand(call, own);
    if (caller?.blockedOn === call) caller.blockedOn = own;
    kernel.peers.outletFor(destination)?.open.push(own);
    call.number = own.number;
    call.caller = null;
    call.waiter = null;
    call.via = kernel.id;
  }

  /** Its calls and receives, some perhaps twice. */
  #timed(): Call[] {
    const { proc } = this;
    return [...proc.away.values(), ...this.#waitingCalls(), ...proc.receivers.toArray(), ...this.#asks];
  }

  /** Those that are in outlets and that no other kernel knows, or that may be asked again. */
  #waitingCalls(): Call[] {
    const calls: Call[] = [];
    for (const { queue, asks } of this.#kernel.peers.outlets.values()) {
      for (const call of [...queue.toArray(), ...asks.toArray()])
        if (call.caller === this.proc) calls.push(call);
    }
    return calls;
  }

  /** The host has made the image, which must not change any more. */
  offer(image: Uint8Array): void {
    if (this.#image) return;
    this.#image = image;
    this.#maybeOffer();
  }

  /** Nothing is under way in the outlet any more, or what was in doubt is known. */
  settled(outlet: Outlet): void {
    this.#settling.delete(outlet);
    this.#maybeOffer();
  }

  /** It is being asked whether a request of the process is still open: the answer comes here. */
  #isInDoubt(): boolean {
    for (const { audit, doubtful, open } of this.#kernel.peers.outlets.values()) {
      if (audit === 0 && !doubtful) continue;
      for (let call = open.head; call; call = call.next) if (call.caller === this.proc) return true;
    }
    return false;
  }

  #maybeOffer(): void {
    const kernel = this.#kernel;
    const { proc, g, to } = this;
    if (!this.#image || this.#settling.size > 0 || this.grant !== 0 || this.#isInDoubt()) return;
    this.#queued = [...this.#waitingCalls(), ...this.#asks].filter((call) => !call.answered);
    const isQueued = new Set(this.#queued);
    this.#open = [...proc.away.values()].filter((call) => !isQueued.has(call));
    const calls = [...this.#open, ...this.#queued];
    const since = kernel.view.placedAt(proc.endpoint);
    const state = exportState(proc, since, kernel.backlog.caughtUpTo, calls, this.#notices(), kernel.timers);
    if (bodyBytes(state, messageBytesMax) > messageBytesMax) {
      kernel.moves.abort(proc.endpoint, g);
      return;
    }
    this.grant = ++proc.lastGrant;
    proc.grants.set(this.grant, { id: this.grant, buffer: this.#image, grantee: ANY, access: "read" });
    const { number } = messageTable.offer;
    kernel.transmit(to, [number, proc.endpoint, g, this.grant, this.#image.byteLength, state]);
  }

  #notices(): Map<Endpoint, Notice> {
    const notices = new Map<Endpoint, Notice>();
    for (const outlet of this.#kernel.peers.outlets.values()) {
      const notice = outlet.notices.get(this.proc.endpoint);
      if (notice) notices.set(outlet.endpoint, notice);
    }
    return notices;
  }

  /** A call of the process has ended: it is told where it goes on. */
  hold(call: Call, outcome: Outcome, result: Message | null): void {
    if (call.answered) return;
    call.answered = true;
    this.#kernel.peers.leave(call);
    this.#ended.push({ call, outcome, result });
  }

  /** A notification for the process: it is sent again if this is never handled. */
  park(from: KernelId, message: KernelMessage): void {
    this.#parked.push({ from, message });
  }

  /** `moved` has been read. */
  leave(): void {
    const kernel = this.#kernel;
    const { proc, to } = this;
    const { endpoint } = proc;
    const { peers } = kernel;
    kernel.copies.streams.dropImage(endpoint);
    // Its notifications are with its new kernel, which may add to them: nothing here may be sent from now on.
    for (const outlet of peers.outlets.values()) outlet.notices.delete(endpoint);
    kernel.bindings.leave(proc, "MOVED");
    for (const { call, outcome, result } of this.#ended) {
      // What was queued is done there.
      if (this.#open.includes(call)) kernel.transmit(to, answerTo(call, outcome, result));
    }
    for (const call of [...this.#open, ...this.#queued]) {
      if (call.state === states.sent && call.kind === callKinds.watch) peers.tellCancel(call);
      const outlet = peers.leave(call);
      finish(kernel, call, "MOVED");
      if (outlet) peers.pump(outlet);
    }
    const outlet = peers.outletFor(endpoint);
    for (const call of proc.open.toArray()) {
      proc.open.remove(call);
      if (!call.caller) continue;
      // The reply comes from another kernel now.
      call.receiver = null;
      outlet?.open.push(call);
    }
    const waiting = proc.mailbox.toArray();
    for (const call of waiting) {
      proc.mailbox.remove(call);
      call.receiver = null;
      call.state = call.caller ? states.queued : states.done;
    }
    kernel.sink.moveEnded(endpoint, "moved", "source");
    for (const call of waiting) if (call.caller) dispatch(kernel, call);
  }

  /** `aborted` has been read: the process goes on as if nothing had been. */
  thaw(): void {
    const kernel = this.#kernel;
    const { proc } = this;
    proc.grants.delete(this.grant);
    proc.held = false;
    kernel.moves.updateDetour(proc);
    for (const call of this.#timed()) kernel.timers.resume(call);
    kernel.copies.streams.dropImage(proc.endpoint);
    kernel.sink.moveEnded(proc.endpoint, "aborted", "source");
    for (const { call, outcome, result } of this.#ended) {
      call.answered = false;
      kernel.peers.finishAway(call, outcome, result);
    }
    if (this.endsHere) {
      for (const call of this.#asks) finish(kernel, call, "CANCELLED");
      kernel.bindings.unbind(proc);
      return;
    }
    for (const { from, message } of this.#parked) kernel.handle(from, message);
    for (const [source, count] of [...proc.notifications]) {
      proc.notifications.delete(source);
      kernel.notifyProc(proc, source, count);
    }
    rematch(kernel, proc);
    kernel.peers.pumpAll();
    for (const outlet of kernel.peers.outlets.values()) {
      for (const call of outlet.asks.toArray()) {
        if (call.caller === proc && call.state === states.queued) kernel.peers.askAgain(outlet, call);
      }
    }
    for (const call of this.#asks) kernel.ask(call);
  }
}

function answerTo(call: Call, outcome: Outcome, result: Message | null): KernelMessage {
  const { source, number, kind } = call;
  if (outcome !== "OK") return [messageTable.failed.number, source, number, outcome];
  if (kind === callKinds.send) return [messageTable.taken.number, source, number];
  const body = result?.body ?? null;
  if (kind === callKinds.request) return [messageTable.reply.number, source, number, result?.type ?? 0, body];
  return [messageTable.answer.number, source, number, body];
}
