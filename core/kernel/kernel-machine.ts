/**
 * The kernel of one cpu container: calls of its processes, messages of other kernels, records and time in; effects out
 * through its sink. Each method is one step, synchronous and hence atomic. Pure machine: the simulator runs dozens.
 *
 *     processes ─ calls/do-*.ts ──▶ mailboxes ◀── handlers/*.ts ─ messages of peers
 *                                      │
 *     records ─ view-machine ─▶ peers (an outlet per destination), moves, membership
 *
 * `tick` is to be called when something is due (`dueMs`, `sink.wantTick`), at least each kernelIdleTickMs, and first in
 * each turn of the event loop in which something comes, before anything is flushed: it is what freezes a kernel whose
 * lease has run out while it was not looking.
 *
 * While it is frozen, records are read but nothing follows from them, messages of peers wait, and so does what
 * processes ask for: all of it happens, in that order, when it thaws.
 */
import { cancelGraceMs, processGrantsMax } from "../limits.ts";
import { Answers } from "./answers.ts";
import { Backlog } from "./backlog.ts";
import { Bindings, type BindOptions } from "./bindings.ts";
import { type Call, callKinds } from "./call.ts";
import { doGetInfo, infoOf } from "./calls/do-get-info.ts";
import { doNotify, notifyProc } from "./calls/do-notify.ts";
import { doReceive, tryReceive } from "./calls/do-receive.ts";
import { doReply } from "./calls/do-reply.ts";
import { doSend } from "./calls/do-send.ts";
import { doWaitForBind, doWaitForName } from "./calls/do-wait-for-bind.ts";
import { Copies, type CopyRequest } from "./copies.ts";
import { EndpointTable } from "./endpoint-table.ts";
import type { Endpoint } from "./endpoint.ts";
import { finish } from "./finish.ts";
import { giveUp } from "./give-up.ts";
import type { Grant } from "./grant.ts";
import { handlers, type Handler } from "./handlers.ts";
import { Leaving } from "./leaving.ts";
import { MembershipMachine } from "./membership-machine.ts";
import type { Message } from "./message.ts";
import { type KernelMessage, type MessageName, messageNames, messageTable } from "./messages.ts";
import { MovesMachine } from "./moves-machine.ts";
import type { Outcome } from "./outcome.ts";
import { Peers } from "./peers.ts";
import { Proc } from "./proc.ts";
import { type ProposalAnswer, Proposals } from "./proposals.ts";
import { messagesOf } from "./removal.ts";
import type { ChannelName } from "./proxy/link-messages.ts";
import type { KernelSink } from "./sink.ts";
import { TimerWheel } from "./timer-wheel.ts";
import { ViewMachine, type ViewSnapshot } from "./view-machine.ts";
import type { KernelId, KernelRecord, Member, OrderedRecord } from "./view.ts";

export interface KernelOptions {
  /** What it joins with. */
  member: Omit<Member, "kernel">;
  nowMs: number;
}

export type WatchLocal = (
  what: "send" | "request" | "reply" | "notify",
  source: Endpoint,
  destination: Endpoint,
  type: number,
) => void;

const noCalls: readonly Call[] = [];

export class KernelMachine {
  readonly sink: KernelSink;
  readonly member: Omit<Member, "kernel">;
  readonly view = new ViewMachine();
  readonly table = new EndpointTable();
  readonly backups = new Map<Endpoint, Proc>();
  readonly timers: TimerWheel;
  readonly proposals = new Proposals(this);
  readonly bindings = new Bindings(this);
  readonly peers = new Peers(this);
  readonly answers = new Answers(this);
  readonly copies = new Copies(this);
  readonly moves = new MovesMachine(this);
  readonly leaving = new Leaving(this);
  readonly backlog = new Backlog(this);
  readonly membership: MembershipMachine;
  /** 0 until it has read that it has joined. */
  id: KernelId = 0;
  nowMs: number;
  /** No process is woken, no call leaves, nothing is delivered. */
  frozen = true;
  exited = false;
  #tickets = 0;
  /** Sees each message between two processes of this kernel; null while nobody traces, which costs nothing. */
  watchLocal: WatchLocal | null = null;
  readonly #expire = (call: Call) => giveUp(this, call, "TIMED_OUT");

  constructor(sink: KernelSink, options: KernelOptions) {
    this.sink = sink;
    this.member = options.member;
    this.nowMs = options.nowMs;
    this.timers = new TimerWheel(options.nowMs, () => this.sink.wantTick?.());
    const host = {
      view: this.view,
      getId: () => this.id,
      transmit: (kernel: KernelId, message: KernelMessage) => this.transmit(kernel, message),
      propose: (record: KernelRecord, isSettled: () => boolean, settled: () => void) =>
        this.proposals.propose(record, isSettled, settled, true),
      setFrozen: (frozen: boolean) => this.#setFrozen(frozen),
    };
    this.membership = new MembershipMachine(host, options.nowMs);
  }

  // The host

  /** Once, when records begin to come. */
  join(): void {
    const { view, member } = this;
    const { incarnation } = member;
    this.proposals.propose(
      { type: "join", member },
      () => view.memberOf(incarnation) !== undefined || view.hasGoneIncarnation(incarnation),
      () => {},
      true,
    );
  }

  tick(nowMs: number): void {
    if (this.exited) return;
    this.nowMs = nowMs;
    this.membership.tick(nowMs);
    this.proposals.tick(nowMs);
    if (!this.frozen) this.timers.tick(nowMs, this.#expire);
  }

  /** The next tick is wanted then, at the latest; what is past: within kernelTickMs. Infinity: no more. */
  get dueMs(): number {
    if (this.exited) return Infinity;
    const dueMs = Math.min(this.membership.dueMs, this.proposals.dueMs);
    // While it is frozen nobody's time is up.
    return this.frozen ? dueMs : Math.min(dueMs, this.timers.dueMs);
  }

  /** At the end of a turn of the event loop in which the sink was asked for it. */
  flush(): void {
    this.answers.flush();
  }

  proposed(ticket: number, answer: ProposalAnswer): void {
    this.proposals.answered(ticket, answer);
  }

  /** Instead of the first records, which are kept no longer. A kernel that has read some is too far behind to go on. */
  restore(snapshot: ViewSnapshot): void {
    if (this.exited || snapshot.index <= this.view.index) return;
    if (this.view.index > 0 || snapshot.gone.includes(this.member.incarnation)) {
      this.#exit();
      return;
    }
    this.view.restore(snapshot);
    // That it has joined is in what it has not seen: its slots may be, too, and are lost to it until it exits.
    const own = this.view.memberOf(this.member.incarnation);
    if (own) this.id = own.kernel;
    this.membership.restored();
    this.proposals.review();
  }

  /** The next record of the log. */
  apply(ordered: OrderedRecord): void {
    if (this.exited || ordered.index <= this.view.index) return;
    const { record } = ordered;
    const lost = record.type === "remove" ? messagesOf(this, record.kernel) : noCalls;
    const change = this.view.apply(ordered);
    this.backlog.read({ index: ordered.index, change, lost });
    if (change.type === "joined" && change.member.incarnation === this.member.incarnation) {
      this.id = change.member.kernel;
    }
    if (change.type === "removed" && change.kernel === this.id) {
      this.#exit();
      return;
    }
    this.membership.applied(change);
    if (this.frozen) this.proposals.review();
    else this.backlog.catchUp();
    this.sink.wantTick?.();
  }

  /** A message of another kernel, in the order in which it was transmitted. */
  arrived(from: KernelId, message: KernelMessage): void {
    if (this.exited) return;
    const isMembership =
      message[0] === messageTable.beacon.number || message[0] === messageTable.beaconAck.number;
    if (!this.view.members.has(from)) {
      // Removed: it is as if it had never been sent. Not read of yet: it waits for the record.
      if (isMembership || this.view.hasGone(from)) return;
      this.backlog.arrivedEarly(from, message);
    } else if (isMembership || !this.frozen) this.handle(from, message);
    else this.backlog.arrivedFrozen(from, message);
  }

  /** The proxy of a peer has room again. */
  writable(peer: KernelId, channel?: ChannelName): void {
    this.whenThawed(() => {
      if (channel !== "bulk") this.peers.writable(peer);
      if (channel !== "calls") this.copies.streams.writable(peer);
    });
  }

  /** A node's agent has seen the end of a host process. */
  certifyExit(incarnation: string): void {
    this.membership.certifyExit(incarnation);
  }

  /** Ends with sink.exit(). Processes that are still here die. */
  leave(): void {
    this.whenThawed(() => this.leaving.leave());
  }

  // Processes

  /** A call without a caller, whose result's body is the Proc. */
  bind(options: BindOptions): Call {
    return this.bindings.bind(options);
  }
  unbind(proc: Proc): void {
    this.whenThawed(() => this.bindings.unbind(proc));
  }
  /** Takes over when the endpoint's holder ends it or dies; mute until then: sink.promoted(). */
  bindBackup(endpoint: Endpoint, options: BindOptions): Proc {
    const proc = new Proc(endpoint, options.privileges, options.callsMax ?? 1);
    proc.host = options.host ?? null;
    proc.held = true;
    proc.detour = true;
    this.backups.set(endpoint, proc);
    const { view, id } = this;
    const isSettled = () => view.places.get(endpoint)?.backups.includes(id) ?? false;
    this.proposals.propose({ type: "backup", endpoint, kernel: id }, isSettled);
    return proc;
  }

  send(caller: Proc, to: Endpoint, message: Message, timeoutMs?: number): Call {
    return doSend(this, caller, callKinds.send, to, message, timeoutMs);
  }
  sendrec(caller: Proc, to: Endpoint, message: Message, timeoutMs?: number): Call {
    return doSend(this, caller, callKinds.request, to, message, timeoutMs);
  }
  /** What is there now, taken; or null. */
  tryReceive(caller: Proc, from: Endpoint, requestsOnly: boolean): Call | null {
    return tryReceive(this, caller, from, requestsOnly);
  }
  receive(caller: Proc, from: Endpoint, requestsOnly: boolean, timeoutMs?: number): Call {
    return doReceive(this, caller, from, requestsOnly, timeoutMs);
  }
  reply(replier: Proc, request: Call, message: Message): Outcome {
    return doReply(this, replier, request, message);
  }
  notify(caller: Proc, to: Endpoint): Outcome {
    return doNotify(this, caller, to);
  }
  copy(caller: Proc, request: CopyRequest, timeoutMs?: number): Call {
    return this.copies.copy(caller, request, timeoutMs);
  }
  /** The grant's number; 0: the process has as many as it may. */
  grant(owner: Proc, grant: Omit<Grant, "id">): number {
    return this.copies.grant(owner, grant, processGrantsMax);
  }
  revoke(owner: Proc, grant: number): void {
    owner.grants.delete(grant);
  }
  waitForBind(caller: Proc, endpoint: Endpoint, bound = true, timeoutMs?: number): Call {
    return doWaitForBind(this, caller, endpoint, bound, timeoutMs);
  }
  waitForName(caller: Proc, name: string, timeoutMs?: number): Call {
    return doWaitForName(this, caller, name, timeoutMs);
  }
  /** As far as this kernel has read the records. */
  lookup(name: string): Endpoint | undefined {
    return this.view.names.get(name);
  }
  getInfo(caller: Proc, endpoint: Endpoint, timeoutMs?: number): Call {
    return doGetInfo(this, caller, endpoint, timeoutMs);
  }
  /** Ends the process's call with CANCELLED, if it has not been taken. */
  cancel(caller: Proc, call: Call): void {
    this.whenThawed(() => {
      // A call that was under way when its process was frozen is another object since.
      const own = call.caller === caller ? call : caller.away.get(call.number);
      if (own && !caller.held) giveUp(this, own, "CANCELLED");
    });
  }

  // Moves, for the host: see sink.ts. What is said of a move that is decided comes to nothing.

  startMove(proc: Proc, to: KernelId): Outcome {
    return this.exited ? "EXITED" : this.moves.start(proc, to);
  }
  offerMove(endpoint: Endpoint, g: number, image: Uint8Array): void {
    this.whenThawed(() => this.moves.offer(endpoint, g, image));
  }
  abortMove(endpoint: Endpoint, g: number): void {
    this.moves.abort(endpoint, g);
  }
  acceptMove(endpoint: Endpoint, g: number, host: unknown, waiter: ((call: Call) => void) | null): void {
    this.moves.accept(endpoint, g, host, waiter);
  }
  declineMove(endpoint: Endpoint, g: number): void {
    this.whenThawed(() => this.moves.decline(endpoint, g));
  }

  // For the parts of the kernel

  handle(from: KernelId, message: KernelMessage): void {
    const name = messageNames[message[0]] as MessageName;
    (handlers[name] as Handler<MessageName>)(this, from, message);
  }

  transmit(to: KernelId, message: KernelMessage): void {
    if (to === this.id) this.handle(to, message);
    else if (this.view.members.has(to) && !this.sink.transmit(to, message)) {
      const { channel } = messageTable[messageNames[message[0]]!];
      // A copy that waits for room delays no call.
      if (channel === "bulk") this.copies.streams.full(to);
      else this.peers.full(to);
    }
  }

  /** Now, or in its turn once the kernel has thawed. */
  whenThawed(act: () => void): void {
    if (this.exited) return;
    if (this.frozen) this.backlog.park(act);
    else act();
  }
  /** Of a marker or an audit. */
  nextTicket(): number {
    return ++this.#tickets;
  }
  notifyProc(to: Proc, source: Endpoint, count: number): void {
    notifyProc(this, to, source, count);
  }
  expire(call: Call): void {
    giveUp(this, call, "TIMED_OUT");
  }
  /** The other kernel has so long to say whether it had been taken. */
  armGrace(call: Call): void {
    this.timers.disarm(call);
    this.timers.arm(call, cancelGraceMs);
  }

  beginAsk(call: Call, timeoutMs: number | undefined): void {
    if (this.exited) finish(this, call, "EXITED");
    else if (!call.caller?.bound) finish(this, call, "NOT_BOUND");
    else {
      if (timeoutMs !== undefined) this.timers.arm(call, timeoutMs);
      this.whenThawed(() => this.ask(call));
    }
  }
  /** A watch, lookup or info. */
  ask(call: Call): void {
    if (call.outcome !== null) return;
    const { destination } = call;
    const proc = this.table.find(destination);
    const isHere = proc !== undefined || this.view.holderOf(destination) === this.id;
    if (call.kind === callKinds.lookup) this.bindings.watchName(call);
    else if (call.caller?.held) finish(this, call, "BUSY");
    else if (!isHere) this.peers.ask(call);
    else if (call.kind === callKinds.watch) this.bindings.watch(call, destination, call.type === 1);
    else if (proc) finish(this, call, "OK", { type: 0, body: infoOf(this, proc) });
    else finish(this, call, this.peers.absence(destination));
  }

  /** Another kernel holds the endpoint. */
  isElsewhere(endpoint: Endpoint): boolean {
    const kernel = this.view.holderOf(endpoint);
    return kernel !== 0 && kernel !== this.id;
  }
  /** Tells a kernel that its call came to the wrong place or stay, or to nobody. */
  missing(from: KernelId, source: Endpoint, number: number, destination: Endpoint): void {
    if (this.isElsewhere(destination) || this.table.find(destination)) {
      const holder = this.view.holderOf(destination);
      const { number: miss } = messageTable.miss;
      this.transmit(from, [miss, source, number, destination, this.view.placedAt(destination), holder]);
    } else this.answers.failed(from, source, number, this.peers.absence(destination));
  }

  #setFrozen(frozen: boolean): void {
    if (this.frozen === frozen || this.exited) return;
    this.frozen = frozen;
    if (frozen) {
      this.sink.freeze();
      return;
    }
    this.sink.thaw();
    this.backlog.thaw();
    if (this.frozen) return;
    this.bindings.rematchAll();
    this.peers.pumpAll();
    this.answers.flush();
  }

  #exit(): void {
    this.exited = true;
    this.frozen = true;
    this.proposals.clear();
    this.moves.exit();
    this.bindings.exit();
    this.copies.streams.clear();
    this.sink.exit();
  }
}
