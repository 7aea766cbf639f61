/**
 * Moves of processes between kernels. What a move is, the records say, and nobody decides by time:
 *
 *     source        proposed ─▶ frozen (read `moving`) ─▶ offered ─▶ gone (read `moved`) | goes on (read `aborted`)
 *     destination                                        copying ─▶ held ─▶ proposes `moved` ─▶ lives (read `moved`)
 *
 * The source is frozen from the record `moving` on and thaws only when it has read `aborted`, or `remove` of the
 * destination. So where `moved` exists, nothing has been taken at the source since the offer, and never will be.
 *
 * Each call ends exactly once, because its name is in exactly one place of which an answer can come:
 *
 *     with its caller     queued: no other kernel has it, or the one that had it has said that it has forgotten it
 *     under way           sent by the caller's kernel to one stay of the destination: answered `taken` (or reply, failed)
 *                         on that same way, or forgotten at a marker
 *     with the receiver   open: taken, and the caller's kernel knows; goes along with the receiver, under its name
 *
 * A call that is *under way* never moves. Before the offer the source settles whatever the process has under way
 * (settling.ts): it ends, is open, or waits again. The image has queued calls, which the new kernel makes anew, and
 * open ones, whose answers go wherever the View has the caller, handed on by kernels that it has left. Messages for the
 * process stay with their senders: each settles when it reads `moved` and then sends what was not taken to the new
 * kernel, in order. A message says for which stay of the destination it is, so that one that comes late is not taken
 * when the process has come back; one that comes early waits for the record. The same holds for notifications, which
 * have numbers instead (notices.ts).
 *
 *     who dies       what becomes of the calls
 *     source         before `moved`: the process dies. After: senders that have not settled ask the new kernel (an audit),
 *                    which has the names of the messages that had arrived; open requests of the process are audited, since
 *                    answers to them may have been with the source
 *     destination    before `moved`: the move is aborted. After: the process dies
 *     third kernel   its messages are dropped, its processes' calls fail as DIED; a marker to it becomes an audit of
 *                    whoever has the endpoint
 *     any            may have had an answer to hand on: open requests that have been displaced are audited, before their
 *                    process is offered or, of deaths since, where it has come
 *
 * An audit finds a request open, or untaken; of any other nobody knows: OUTCOME_UNKNOWN, only after a kernel has died.
 * Pure machine.
 */
import { type Arrival, arrive } from "./arrival.ts";
import { type Call, isCopy, states } from "./call.ts";
import { Departure } from "./departure.ts";
import type { Endpoint } from "./endpoint.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { Message } from "./message.ts";
import { type KernelMessage, messageTable } from "./messages.ts";
import { parseState } from "./move-state.ts";
import type { Outcome } from "./outcome.ts";
import type { Outlet } from "./outlet.ts";
import type { Proc } from "./proc.ts";
import type { Relocation } from "./view-change.ts";
import type { KernelId } from "./view.ts";

export class MovesMachine {
  readonly #kernel: KernelMachine;
  readonly outgoing = new Map<Endpoint, Departure>();
  readonly incoming = new Map<Endpoint, Arrival>();

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  // The hosts

  /** The host wants the process elsewhere. OK: it is asked for; the end comes by sink.moveEnded, or never began. */
  start(proc: Proc, to: KernelId): Outcome {
    const { view, id, proposals } = this.#kernel;
    const { endpoint } = proc;
    if (!proc.bound || !view.members.has(to) || to === id) return "NOT_BOUND";
    if (proc.held || this.#isCopying(proc) || view.holderOf(endpoint) !== id) return "BUSY";
    const g = view.moveOf(endpoint) + 1;
    proposals.propose(
      { type: "moving", endpoint, g, from: id, to },
      () => view.moveOf(endpoint) >= g || view.holderOf(endpoint) !== id || !view.members.has(to),
    );
    return "OK";
  }

  /** The source's host has made the image, which must not change any more. */
  offer(endpoint: Endpoint, g: number, image: Uint8Array): void {
    const move = this.outgoing.get(endpoint);
    if (move?.g === g) move.offer(image);
  }

  /** By the source's host, at any time; what the log says first is what happens. */
  abort(endpoint: Endpoint, g: number): void {
    if (this.outgoing.get(endpoint)?.g === g) this.#proposeAborted(endpoint, g);
  }

  /** The process ends as soon as it is decided that it is here. */
  endWhenDecided(proc: Proc): void {
    const move = this.outgoing.get(proc.endpoint);
    if (!move) return;
    move.endsHere = true;
    this.#proposeAborted(proc.endpoint, move.g);
  }

  /** The destination's host has made a process of the image. `waiter` is told of its calls that are under way. */
  accept(endpoint: Endpoint, g: number, host: unknown, waiter: ((call: Call) => void) | null): void {
    const move = this.incoming.get(endpoint);
    if (move?.g !== g || move.phase !== "held") return;
    Object.assign(move, { phase: "accepted", host, waiter });
    const { proposals } = this.#kernel;
    proposals.propose({ type: "moved", endpoint, g }, () => this.#isDecided(endpoint, g));
  }

  decline(endpoint: Endpoint, g: number): void {
    const move = this.incoming.get(endpoint);
    if (move?.g !== g || move.phase === "accepted") return;
    this.#kernel.transmit(move.from, [messageTable.decline.number, endpoint, g]);
  }

  #proposeAborted(endpoint: Endpoint, g: number): void {
    const { proposals } = this.#kernel;
    proposals.propose({ type: "aborted", endpoint, g }, () => this.#isDecided(endpoint, g));
  }

  #isDecided(endpoint: Endpoint, g: number): boolean {
    const place = this.#kernel.view.places.get(endpoint);
    return place?.g !== g || place.to === 0;
  }

  /** Bytes go from or to it, or are about to. */
  #isCopying(proc: Proc): boolean {
    if (proc.copies > 0) return true;
    const { outlets } = this.#kernel.peers;
    for (const { asks } of outlets.values()) {
      for (let call = asks.head; call; call = call.next)
        if (call.caller === proc && isCopy(call)) return true;
    }
    return false;
  }

  // Messages

  handleOffer(from: KernelId, m: KernelMessage<"offer">): void {
    const kernel = this.#kernel;
    const [, endpoint, g, grant, bytes, body] = m;
    const place = kernel.view.places.get(endpoint);
    const isComing = place?.g === g && place.to === kernel.id && place.holder === from;
    if (!isComing) {
      // Decided meanwhile: of no interest.
      if ((place?.g ?? 0) < g) kernel.backlog.arrivedAhead(from, m);
      return;
    }
    const state = parseState(body);
    if (!state || this.incoming.has(endpoint) || kernel.leaving.begun) {
      kernel.transmit(from, [messageTable.decline.number, endpoint, g]);
      return;
    }
    const image = new Uint8Array(bytes);
    const move: Arrival = { endpoint, g, from, state, image, phase: "copying", host: null, waiter: null };
    this.incoming.set(endpoint, move);
    kernel.copies.pull(from, endpoint, g, grant, image, () => {
      if (this.incoming.get(endpoint) !== move) return;
      move.phase = "held";
      kernel.sink.moveOffered(endpoint, g, from, image);
    });
  }

  handleDecline(from: KernelId, [, endpoint, g]: KernelMessage<"decline">): void {
    const move = this.outgoing.get(endpoint);
    if (move?.to === from) this.abort(endpoint, g);
  }

  /** A sender wants to know what of its messages was taken. */
  handleMarker(from: KernelId, m: KernelMessage<"marker">): void {
    const kernel = this.#kernel;
    const [, endpoint, since, ticket] = m;
    if (kernel.view.index < since) {
      kernel.backlog.arrivedAhead(from, m);
      return;
    }
    const mailbox = kernel.table.find(endpoint)?.mailbox;
    for (const call of mailbox?.toArray() ?? []) {
      if (call.via !== from || call.caller) continue;
      mailbox!.remove(call);
      call.state = states.done;
    }
    kernel.answers.flush();
    kernel.transmit(from, [messageTable.settled.number, endpoint, ticket]);
  }

  // Calls

  /** A call of a frozen process has ended. */
  hold(call: Call, outcome: Outcome, result: Message | null): void {
    this.#kernel.peers.number(call);
    this.outgoing.get(call.source)?.hold(call, outcome, result);
  }

  /** Nothing is under way in the outlet any more. */
  settled(outlet: Outlet): void {
    for (const move of [...this.outgoing.values()]) move.settled(outlet);
  }

  updateDetour(proc: Proc): void {
    proc.detour = proc.held || this.#kernel.peers.isBehind(proc.endpoint);
  }

  // Records

  handleMoving({ endpoint, g, from, to }: Relocation): void {
    const kernel = this.#kernel;
    if (from !== kernel.id) return;
    const proc = kernel.table.find(endpoint);
    if (!proc || this.#isCopying(proc)) {
      this.#proposeAborted(endpoint, g);
      return;
    }
    const move = new Departure(kernel, proc, g, to);
    this.outgoing.set(endpoint, move);
    move.freeze();
    kernel.sink.moveStarted(endpoint, g, to);
  }

  handleMoved({ endpoint, from, to, since }: Relocation): void {
    const kernel = this.#kernel;
    const going = this.outgoing.get(endpoint);
    const coming = this.incoming.get(endpoint);
    // What is under way to it first: it is older than what leaves or is woken by the process.
    if (to !== kernel.id) kernel.peers.relocate(endpoint, to, since);
    if (from === kernel.id && going) {
      this.outgoing.delete(endpoint);
      going.leave();
    }
    if (to === kernel.id && coming) {
      this.incoming.delete(endpoint);
      arrive(kernel, coming);
      kernel.peers.relocate(endpoint, to, since);
      const proc = kernel.table.find(endpoint);
      if (proc) this.updateDetour(proc);
    }
  }

  handleAborted({ endpoint, from, to }: Relocation): void {
    const kernel = this.#kernel;
    const going = this.outgoing.get(endpoint);
    if (from === kernel.id && going) {
      this.outgoing.delete(endpoint);
      going.thaw();
    }
    if (to === kernel.id && this.incoming.delete(endpoint)) {
      kernel.copies.streams.dropImage(endpoint);
      kernel.sink.moveEnded(endpoint, "aborted", "destination");
    }
  }

  /** The holder has ended the endpoint, or died: a backup has it now. */
  handlePromoted({ endpoint, from, to, g, since }: Relocation): void {
    const kernel = this.#kernel;
    const backup = kernel.backups.get(endpoint);
    if (to === kernel.id && backup) {
      kernel.backups.delete(endpoint);
      backup.held = false;
      // Names of calls are not to be those of the process that had the endpoint before.
      backup.lastCall = g * 2 ** 32;
      kernel.bindings.enter(backup);
      kernel.sink.promoted(endpoint);
    }
    if (kernel.view.members.has(from)) kernel.peers.relocate(endpoint, to, since);
    const proc = kernel.table.find(endpoint);
    if (proc) this.updateDetour(proc);
  }

  /** The endpoint is no more: its old kernel has answered, or will. */
  handleLeft({ endpoint, to, since }: Relocation): void {
    this.#kernel.peers.relocate(endpoint, to, since);
  }

  /** This kernel exits: nothing of it goes or comes any more. */
  exit(): void {
    this.outgoing.clear();
    this.incoming.clear();
  }
}
