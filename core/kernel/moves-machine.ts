/**
 * Moves of processes between kernels. What a move is, the records say, and nobody decides by time:
 *
 *     source        proposed ─▶ frozen (read `moving`) ─▶ offered ─▶ gone (read `moved`) | goes on (read `aborted`)
 *     destination                                        copying ─▶ held ─▶ proposes `moved` ─▶ lives (read `moved`)
 *
 * The source is frozen from the record `moving` on, and thaws only when it has read `aborted`, or `remove` of the
 * destination. The image goes through a grant, like any copy. Whatever reaches the source's kernel for the process
 * meanwhile waits: messages in its mailbox, answers to its calls here; both go where the process goes. Pure machine.
 */
import { messageBytesMax } from "../limits.ts";
import { Call, type CallKind, callKinds, callName, states } from "./call.ts";
import { CallQueue } from "./call-queue.ts";
import { dispatch } from "./calls/do-send.ts";
import { rematch } from "./calls/do-receive.ts";
import { deliver } from "./deliver.ts";
import { ANY, type Endpoint } from "./endpoint.ts";
import { finish } from "./finish.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { bodyBytes } from "./message.ts";
import { type KernelMessage, messageTable } from "./messages.ts";
import { type CallAt, exportState, type MovedCall, type MoveState, parseState } from "./move-state.ts";
import type { Outcome } from "./outcome.ts";
import { Proc } from "./proc.ts";
import { startAudit } from "./settling.ts";
import type { Relocation } from "./view-change.ts";
import type { KernelId } from "./view.ts";

/** A process of this kernel that is going. */
interface Outgoing {
  proc: Proc;
  g: number;
  to: KernelId;
  /** Grant of the image; 0: not offered. */
  grant: number;
  /** Answers to calls of the process, in order of arrival. Bounded by its calls. */
  answers: KernelMessage[];
  /** What its new kernel was told of its calls. */
  calls: CallAt[];
  /** Its watches and lookups in this kernel: asked again where it goes on. */
  asks: Call[];
  /** The host has ended the process meanwhile. */
  ended: boolean;
}

/** A process that is coming. */
interface Incoming {
  endpoint: Endpoint;
  g: number;
  from: KernelId;
  state: MoveState;
  image: Uint8Array;
  /** Asked to be taken over by the host; it holds the image. */
  phase: "copying" | "held" | "accepted";
  host: unknown;
  waiter: ((call: Call) => void) | null;
  /** Messages of kernels that have read `moved` already. Bounded by their windows. */
  mailbox: CallQueue;
  notifications: Map<Endpoint, number>;
  answers: KernelMessage[];
}

export class MovesMachine {
  readonly #kernel: KernelMachine;
  readonly outgoing = new Map<Endpoint, Outgoing>();
  readonly incoming = new Map<Endpoint, Incoming>();
  /** Asked by senders that have read of a move which this kernel has not. At most one per sender and endpoint. */
  #markers: { from: KernelId; endpoint: Endpoint; g: number }[] = [];

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  /** The host wants the process elsewhere. OK: it is asked for; the end comes by sink.moveEnded, or never began. */
  start(proc: Proc, to: KernelId): Outcome {
    const { view, id, proposals } = this.#kernel;
    const { endpoint } = proc;
    if (!proc.bound || !view.members.has(to) || to === id) return "NOT_BOUND";
    if (proc.held || proc.copies > 0 || view.holderOf(endpoint) !== id) return "BUSY";
    const g = view.moveOf(endpoint) + 1;
    proposals.propose(
      { type: "moving", endpoint, g, from: id, to },
      () => view.moveOf(endpoint) >= g || view.holderOf(endpoint) !== id || !view.members.has(to),
    );
    return "OK";
  }

  /** The host has made the image, which must not change any more. */
  offer(endpoint: Endpoint, image: Uint8Array): Outcome {
    const kernel = this.#kernel;
    const move = this.outgoing.get(endpoint);
    if (!move || move.grant !== 0) return "NOT_BOUND";
    const { proc } = move;
    move.calls = this.#callsOf(proc);
    const state = exportState(proc, kernel.timers, move.calls);
    if (bodyBytes(state, messageBytesMax) > messageBytesMax) {
      this.abort(endpoint);
      return "TOO_LARGE";
    }
    // What is notified from now on follows by itself.
    proc.notifications.clear();
    move.grant = ++proc.lastGrant;
    proc.grants.set(move.grant, { id: move.grant, buffer: image, grantee: ANY, access: "read" });
    const { number } = messageTable.offer;
    kernel.transmit(move.to, [number, endpoint, move.g, move.grant, image.byteLength, state]);
    return "OK";
  }

  /** By the source's host, at any time; what the log says first is what happens. */
  abort(endpoint: Endpoint): void {
    const move = this.outgoing.get(endpoint);
    if (move) this.#proposeAborted(endpoint, move.g);
  }

  /** The process ends as soon as it is decided where it is. */
  endWhenDecided(proc: Proc): void {
    const move = this.outgoing.get(proc.endpoint);
    if (!move) return;
    move.ended = true;
    this.#proposeAborted(proc.endpoint, move.g);
  }

  #proposeAborted(endpoint: Endpoint, g: number): void {
    const { view, proposals } = this.#kernel;
    const decided = () => view.places.get(endpoint)?.g !== g || view.places.get(endpoint)?.to === 0;
    proposals.propose({ type: "aborted", endpoint, g }, decided);
  }

  /** The destination's host has made a process of the image. `waiter` is told of its calls that are under way. */
  accept(endpoint: Endpoint, host: unknown, waiter: ((call: Call) => void) | null): Outcome {
    const move = this.incoming.get(endpoint);
    if (!move || move.phase !== "held") return "NOT_BOUND";
    move.phase = "accepted";
    move.host = host;
    move.waiter = waiter;
    const { view, proposals } = this.#kernel;
    const decided = () => view.places.get(endpoint)?.g !== move.g || view.places.get(endpoint)?.to === 0;
    proposals.propose({ type: "moved", endpoint, g: move.g }, decided);
    return "OK";
  }

  decline(endpoint: Endpoint): void {
    const move = this.incoming.get(endpoint);
    if (!move || move.phase === "accepted") return;
    this.#kernel.transmit(move.from, [messageTable.decline.number, endpoint, move.g]);
  }

  // Messages

  handleOffer(from: KernelId, m: KernelMessage<"offer">): void {
    const kernel = this.#kernel;
    const [, endpoint, g, grant, bytes, body] = m;
    const place = kernel.view.places.get(endpoint);
    const isComing = place?.g === g && place.to === kernel.id && place.holder === from;
    // Not read yet: it is there by the time at which this is read again. Decided meanwhile: of no interest.
    if (!isComing) {
      if ((place?.g ?? 0) < g) kernel.later(() => this.handleOffer(from, m));
      return;
    }
    const state = parseState(body);
    if (!state || this.incoming.has(endpoint) || kernel.leaving.begun) {
      kernel.transmit(from, [messageTable.decline.number, endpoint, g]);
      return;
    }
    const move: Incoming = {
      ...{
        endpoint,
        g,
        from,
        state,
        image: new Uint8Array(bytes),
        phase: "copying",
        host: null,
        waiter: null,
      },
      ...{ mailbox: new CallQueue(), notifications: new Map(), answers: [] },
    };
    this.incoming.set(endpoint, move);
    kernel.copies.pull(from, endpoint, g, grant, move.image, () => {
      if (this.incoming.get(endpoint) !== move) return;
      move.phase = "held";
      kernel.sink.moveOffered(endpoint, from, move.image);
    });
  }

  handleDecline(from: KernelId, [, endpoint, g]: KernelMessage<"decline">): void {
    const move = this.outgoing.get(endpoint);
    if (move?.g === g && move.to === from) this.abort(endpoint);
  }

  handleMarker(from: KernelId, [, endpoint, g]: KernelMessage<"marker">): void {
    this.#markers.push({ from, endpoint, g });
    this.#reviewMarkers();
  }

  handleSweep([, endpoint, g, to]: KernelMessage<"sweep">): void {
    this.#kernel.transmit(to, [messageTable.swept.number, endpoint, g]);
  }

  handleSwept(from: KernelId, [, endpoint]: KernelMessage<"swept">): void {
    const proc = this.#kernel.table.find(endpoint);
    if (proc) this.#endSweep(proc, (_, at) => at === from);
    else this.incoming.get(endpoint)?.answers.push([messageTable.swept.number, endpoint, from]);
  }

  /** The older messages have arrived: those that waited for them may go. */
  #endSweep(proc: Proc, which: (destination: Endpoint, at: KernelId, via: KernelId) => boolean): void {
    if (proc.sweeping.size === 0) return;
    for (const [destination, { at, via }] of proc.sweeping) {
      if (which(destination, at, via)) proc.sweeping.delete(destination);
    }
    this.updateDetour(proc);
    // Those of a frozen process go along, or on when it has stayed.
    if (!proc.held) this.#dispatchSwept(proc);
  }

  #dispatchSwept(proc: Proc): void {
    for (const call of proc.sweepQueue.toArray()) {
      if (proc.sweeping.has(call.destination)) continue;
      proc.sweepQueue.remove(call);
      dispatch(this.#kernel, call);
    }
  }

  /** An answer to a call of a frozen process: it waits with it. The call is in nobody's way any more. */
  holdAnswer(proc: Proc, number: number, message: KernelMessage): void {
    const move = this.outgoing.get(proc.endpoint);
    if (!move) return;
    // Also to one that this kernel does not know: the process may have made it where it is by now.
    move.answers.push(message);
    const call = proc.away.get(number);
    if (!call) return;
    call.answered = true;
    this.#kernel.peers.leave(call);
  }

  // Records

  handleMoving({ endpoint, g, from, to }: Relocation): void {
    const kernel = this.#kernel;
    if (from !== kernel.id) return;
    const proc = kernel.table.find(endpoint);
    if (!proc || proc.copies > 0) {
      this.#proposeAborted(endpoint, g);
      return;
    }
    proc.held = true;
    proc.detour = true;
    this.outgoing.set(endpoint, { proc, g, to, grant: 0, answers: [], calls: [], asks: [], ended: false });
    this.#freeze(proc);
    kernel.sink.moveStarted(endpoint, to);
  }

  handleMoved(relocation: Relocation): void {
    const { endpoint, from, to, g } = relocation;
    const kernel = this.#kernel;
    const move = this.outgoing.get(endpoint);
    const coming = this.incoming.get(endpoint);
    // What is under way to it first: it is older than what leaves or is woken by the process.
    if (to !== kernel.id) kernel.peers.relocate(endpoint, to, g);
    if (from === kernel.id && move) this.#leave(move);
    if (to === kernel.id && coming) {
      this.#arrive(coming);
      kernel.peers.relocate(endpoint, to, g);
      const proc = kernel.table.find(endpoint);
      if (proc) this.updateDetour(proc);
    }
    this.#reviewMarkers();
  }

  handleAborted({ endpoint, from, to }: Relocation): void {
    const kernel = this.#kernel;
    if (from === kernel.id) this.#thaw(endpoint);
    if (to === kernel.id && this.incoming.delete(endpoint)) {
      kernel.copies.drop(endpoint);
      kernel.sink.moveEnded(endpoint, "aborted", "destination");
    }
  }

  /** The holder has ended the endpoint, or died; `relocation`: a backup has it now. */
  handlePromoted({ endpoint, from, to, g }: Relocation): void {
    const kernel = this.#kernel;
    const backup = kernel.backups.get(endpoint);
    if (to === kernel.id && backup) {
      kernel.backups.delete(endpoint);
      backup.held = false;
      backup.detour = false;
      // Names of calls are not to be those of the process that had the endpoint before.
      backup.lastCall = g * 2 ** 32;
      kernel.bindings.enter(backup);
      kernel.sink.promoted(endpoint);
    }
    if (kernel.view.members.has(from)) kernel.peers.relocate(endpoint, to, g);
    this.#reviewMarkers();
  }

  /** The endpoint is no more: calls to it settle like those to one that has moved, and find that out. */
  handleLeft({ endpoint, to, g }: Relocation): void {
    this.#kernel.peers.relocate(endpoint, to, g);
    this.#reviewMarkers();
  }

  /** Calls that were brought along and went out by a kernel that is no more: nobody hands their answers on. */
  auditBrought(via: KernelId): void {
    const kernel = this.#kernel;
    const destinations = new Set<Endpoint>();
    for (const proc of kernel.table.all()) {
      this.#endSweep(proc, (_, at) => !kernel.view.members.has(at));
      for (const [destination, sweep] of proc.sweeping) if (sweep.via === via) destinations.add(destination);
    }
    for (const outlet of kernel.peers.outlets.values()) {
      const brought = [...outlet.sent.toArray(), ...outlet.open.toArray()].some((call) => call.via === via);
      if (brought) destinations.add(outlet.endpoint);
    }
    for (const destination of destinations) {
      const outlet = kernel.peers.outletFor(destination);
      if (!outlet) this.settled(destination);
      // While it settles by a marker, an audit follows.
      else if (outlet.phase !== "settling") startAudit(kernel, outlet);
    }
  }

  /** Whoever has the destination has read of the kernels that are no more: nothing of theirs will come there. */
  settled(destination: Endpoint): void {
    const { view, table } = this.#kernel;
    for (const proc of table.all()) {
      this.#endSweep(proc, (to, _, via) => to === destination && !view.members.has(via));
    }
  }

  /** This kernel exits: nothing of it goes or comes any more. */
  exit(): void {
    this.outgoing.clear();
    this.incoming.clear();
    this.#markers = [];
  }

  /** From now on the process is as its image says. */
  #freeze(proc: Proc): void {
    const kernel = this.#kernel;
    // Others may hear of its calls to processes here, and of theirs to it: they get numbers.
    for (const call of proc.open.toArray()) if (call.caller) kernel.peers.number(call);
    for (const to of [...kernel.table.all()]) {
      for (const call of [...to.mailbox.toArray(), ...to.open.toArray()]) {
        if (call.caller === proc) this.#split(call);
      }
    }
    const asks = this.outgoing.get(proc.endpoint)!.asks;
    for (const call of [...kernel.bindings.watching(), ...kernel.bindings.watchingNames()]) {
      if (call.caller !== proc) continue;
      kernel.bindings.unwatch(call);
      kernel.bindings.unwatchName(call);
      kernel.timers.pause(call);
      asks.push(call);
    }
    for (const call of proc.away.values()) kernel.timers.pause(call);
    for (const call of this.#queuedOf(proc)) kernel.timers.pause(call);
    for (const receive of proc.receivers.toArray()) kernel.timers.pause(receive);
  }

  /**
   * A call of the process to one of this kernel becomes two: the receiver's, like one from another kernel, and the
   * caller's, which goes along.
   */
  #split(call: Call): void {
    const kernel = this.#kernel;
    const { caller, source, destination, type, body, group } = call;
    const own = new Call(call.kind, caller, source, destination, type, body, group);
    own.state = call.state === states.open ? states.open : states.sent;
    own.waiter = call.waiter;
    // It has one already if the receiver was frozen once.
    own.number = call.number;
    if (own.number !== 0) caller?.away.set(own.number, own);
    else kernel.peers.number(own);
    kernel.timers.hand(call, own);
    if (caller?.blockedOn === call) caller.blockedOn = own;
    kernel.peers.outletFor(destination)?.adopt(own);
    call.number = own.number;
    call.caller = null;
    call.waiter = null;
    call.via = kernel.id;
  }

  #queuedOf(proc: Proc): Call[] {
    const queued = proc.sweepQueue.toArray();
    for (const outlet of this.#kernel.peers.outlets.values()) {
      for (const queue of [outlet.queue, outlet.asks]) {
        for (const call of queue.toArray()) if (call.caller === proc && call.number === 0) queued.push(call);
      }
    }
    return queued;
  }

  #callsOf(proc: Proc): CallAt[] {
    const kernel = this.#kernel;
    const away = [...proc.away.values()].map((call): CallAt => {
      const outlet = kernel.peers.outlets.get(call.destination);
      const isQueued = !call.answered && (call.state === states.queued || call.queue === outlet?.asks);
      return { call, at: isQueued ? 0 : (outlet?.kernel ?? kernel.id), g: outlet?.g ?? 0 };
    });
    const asks = this.outgoing.get(proc.endpoint)?.asks ?? [];
    return [...away, ...[...this.#queuedOf(proc), ...asks].map((call) => ({ call, at: 0, g: 0 }))];
  }

  /** `moved` has been read on the source. */
  #leave(move: Outgoing): void {
    const kernel = this.#kernel;
    const { proc, to, g, calls } = move;
    const { endpoint } = proc;
    this.outgoing.delete(endpoint);
    kernel.copies.drop(endpoint);
    kernel.bindings.leave(proc, "MOVED");
    for (const at of new Set(calls.map((sent) => sent.at))) {
      if (at !== 0 && at !== kernel.id) kernel.transmit(at, [messageTable.sweep.number, endpoint, g, to]);
    }
    for (const { call } of calls) {
      const outlet = kernel.peers.leave(call);
      finish(kernel, call, "MOVED");
      if (outlet) kernel.peers.pump(outlet);
    }
    for (const answer of move.answers) kernel.transmit(to, answer);
    for (const [source, count] of proc.notifications) {
      const { number } = messageTable.notify;
      kernel.transmit(to, [number, source, endpoint, kernel.table.find(source)?.group ?? 0, count]);
    }
    const outlet = kernel.peers.outletFor(endpoint);
    for (const call of proc.open.toArray()) {
      proc.open.remove(call);
      if (!call.caller) continue;
      // The reply comes from another kernel now.
      call.receiver = null;
      outlet?.adopt(call);
    }
    const waiting = proc.mailbox.toArray();
    for (const call of waiting) {
      proc.mailbox.remove(call);
      if (!call.caller) call.state = states.done;
    }
    kernel.sink.moveEnded(endpoint, "moved", "source");
    for (const call of waiting) {
      if (!call.caller) continue;
      call.state = states.queued;
      call.receiver = null;
      dispatch(kernel, call);
    }
  }

  /** `aborted` has been read on the source: it goes on as if nothing had been. */
  #thaw(endpoint: Endpoint): void {
    const kernel = this.#kernel;
    const move = this.outgoing.get(endpoint);
    if (!move) return;
    const { proc } = move;
    this.outgoing.delete(endpoint);
    proc.grants.delete(move.grant);
    proc.held = false;
    this.updateDetour(proc);
    const paused = [
      ...proc.away.values(),
      ...this.#queuedOf(proc),
      ...proc.receivers.toArray(),
      ...move.asks,
    ];
    for (const call of paused) kernel.timers.resume(call);
    kernel.copies.drop(endpoint);
    for (const call of proc.away.values()) call.answered = false;
    for (const answer of move.answers) kernel.handle(kernel.id, answer);
    kernel.sink.moveEnded(endpoint, "aborted", "source");
    if (move.ended) {
      kernel.bindings.unbind(proc);
      return;
    }
    for (const [source, count] of [...proc.notifications]) {
      proc.notifications.delete(source);
      kernel.notifyProc(proc, source, count);
    }
    rematch(kernel, proc);
    kernel.peers.pumpAll();
    this.#dispatchSwept(proc);
    for (const call of move.asks) kernel.ask(call);
  }

  /** `moved` has been read on the destination: the process lives here. */
  #arrive(move: Incoming): void {
    const kernel = this.#kernel;
    const { endpoint, state } = move;
    this.incoming.delete(endpoint);
    const proc = new Proc(endpoint, state.privileges, state.callsMax);
    proc.host = move.host;
    proc.name = state.name;
    proc.lastCall = state.lastCall;
    proc.lastGrant = state.lastGrant;
    pairs(state.notifications, (source, count) => proc.notifications.set(source, count));
    pairs(state.untaken, (source, number) => proc.untaken.add(callName(source, number)));
    pairs(state.open, (source, number) => {
      const request = mail(callKinds.request, source, endpoint, number);
      request.state = states.open;
      request.receiver = proc;
      proc.open.push(request);
    });
    kernel.bindings.enter(proc);
    kernel.sink.moveEnded(endpoint, "moved", "destination");
    for (const moved of state.calls) if (moved.at !== 0) this.#bring(proc, moved, move);
    this.updateDetour(proc);
    for (const moved of state.calls) if (moved.at === 0) this.#redo(proc, moved, move);
    for (const [source, count] of move.notifications) kernel.notifyProc(proc, source, count);
    for (const call of move.mailbox.toArray()) {
      move.mailbox.remove(call);
      proc.untaken.delete(callName(call.source, call.number));
      deliver(kernel, call, proc);
    }
    for (const answer of move.answers) {
      if (answer[0] === messageTable.swept.number) this.#endSweep(proc, (_, at) => at === answer[2]);
      else kernel.handle(kernel.id, answer);
    }
  }

  /** A call that went out by the old kernel. */
  #bring(proc: Proc, moved: MovedCall, move: Incoming): void {
    const kernel = this.#kernel;
    const { destination, at, g } = moved;
    const call = this.#recreate(proc, moved, move);
    call.via = move.from;
    call.state = moved.open ? states.open : states.sent;
    proc.away.set(call.number, call);
    if (moved.answered) return;
    // What the old kernel's own processes have in their mailboxes is there.
    if (!moved.open && at !== move.from && kernel.view.members.has(at)) {
      proc.sweeping.set(destination, { at, via: move.from });
    }
    const outlet = kernel.peers.outletFor(destination);
    if (!outlet) {
      kernel.peers.finishAway(call, kernel.peers.absence(destination));
      return;
    }
    call.bytes = bodyBytes(call.body, messageBytesMax);
    outlet.adopt(call);
    // The destination has moved, too: who holds it now knows.
    if (outlet.kernel !== at || outlet.g !== g || outlet.phase === "settling") startAudit(kernel, outlet);
  }

  /** A call that nobody has heard of, or whose answer can be asked for again. */
  #redo(proc: Proc, moved: MovedCall, move: Incoming): void {
    const call = this.#recreate(proc, { ...moved, number: 0 }, move);
    if (call.kind === callKinds.send || call.kind === callKinds.request) dispatch(this.#kernel, call);
    else this.#kernel.ask(call);
  }

  #recreate(proc: Proc, moved: MovedCall, { waiter }: Incoming): Call {
    const { kind, destination, type, body, number, timeoutMs } = moved;
    const call = new Call(kind as CallKind, proc, proc.endpoint, destination, type, body, proc.group);
    call.number = number;
    call.waiter = waiter;
    proc.underWay++;
    if (proc.callsMax === 1) proc.blockedOn = call;
    if (timeoutMs >= 0) this.#kernel.timers.arm(call, timeoutMs);
    return call;
  }

  updateDetour(proc: Proc): void {
    proc.detour = proc.held || proc.sweeping.size > 0 || this.#kernel.peers.isBehind(proc.endpoint);
  }

  /** Markers of moves that this kernel has read by now. */
  #reviewMarkers(): void {
    const kernel = this.#kernel;
    const waiting = this.#markers;
    this.#markers = [];
    for (const marker of waiting) {
      const { from, endpoint, g } = marker;
      const place = kernel.view.places.get(endpoint);
      if (place && (place.g < g || (place.g === g && place.to !== 0))) {
        this.#markers.push(marker);
        continue;
      }
      // It may be here again, or be coming: then what came before the marker will be sent again behind it.
      const mailbox = kernel.table.find(endpoint)?.mailbox ?? this.incoming.get(endpoint)?.mailbox;
      for (const call of mailbox?.toArray() ?? []) {
        if (call.via !== from || call.caller) continue;
        mailbox!.remove(call);
        call.state = states.done;
      }
      kernel.peers.flush();
      kernel.transmit(from, [messageTable.settled.number, endpoint, g]);
    }
  }
}

export function mail(kind: CallKind, source: Endpoint, destination: Endpoint, number: number): Call {
  const call = new Call(kind, null, source, destination, 0, null, 0);
  call.number = number;
  return call;
}

function pairs(list: readonly number[], each: (first: number, second: number) => void): void {
  for (let i = 0; i < list.length; i += 2) each(list[i]!, list[i + 1]!);
}
