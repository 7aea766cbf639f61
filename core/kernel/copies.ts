/**
 * Two-party copy: bytes between a caller's buffer and a grant, which is a buffer that its owner has opened.
 *
 * On one kernel it is one memory copy, in steps of copyStepBytes. Between kernels the side that has the bytes sends
 * them in frames of copyFrameBytes on the bulk connection, never more than copyOutstandingBytes ahead of what the other
 * side has put in place. A copy may be begun again: the same bytes end up in the same places.
 */
import { copyBytesMax, copyFrameBytes, copyOutstandingBytes } from "../limits.ts";
import { Call, callKinds, callName, states } from "./call.ts";
import { ANY, type Endpoint } from "./endpoint.ts";
import { finish } from "./finish.ts";
import { allows, type Grant } from "./grant.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { type KernelMessage, messageTable } from "./messages.ts";
import type { Outcome } from "./outcome.ts";
import type { Stay } from "./outlet.ts";
import { callBits } from "./privileges.ts";
import type { Proc } from "./proc.ts";
import type { KernelId } from "./view.ts";

export interface CopyRequest {
  direction: "read" | "write";
  owner: Endpoint;
  grant: number;
  /** Where in the grant. */
  offset: number;
  /** The caller's: read into, or written from; its length is the copy's. */
  buffer: Uint8Array;
}

/** One side of a copy between kernels. */
interface Stream {
  name: string;
  source: Endpoint;
  number: number;
  peer: KernelId;
  /** Whether this side is the owner's. */
  isOwner: boolean;
  /** Whether this side has the bytes. */
  sends: boolean;
  buffer: Uint8Array;
  /** Bytes sent or put in place. */
  done: number;
  acknowledged: number;
  /** The owner's process, or the caller's. */
  proc: Proc | null;
  end: (outcome: Outcome) => void;
}

export class Copies {
  readonly #kernel: KernelMachine;
  /** By side and name. Bounded by the calls of the processes that make them. */
  readonly streams = new Map<string, Stream>();
  /** Peers whose bulk connection has no room. */
  readonly #full = new Set<KernelId>();

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  get size(): number {
    return this.streams.size;
  }

  /** Opens a buffer to another process; the number is for its caller to be told. */
  grant(owner: Proc, grant: Omit<Grant, "id">, most: number): number {
    if (owner.grants.size >= most) return 0;
    const id = ++owner.lastGrant;
    owner.grants.set(id, { ...grant, id });
    return id;
  }

  copy(caller: Proc, request: CopyRequest, timeoutMs: number | undefined): Call {
    const kernel = this.#kernel;
    const kind = request.direction === "read" ? callKinds.copyRead : callKinds.copyWrite;
    const call = new Call(kind, caller, caller.endpoint, request.owner, 0, request, caller.group);
    caller.underWay++;
    const refusal = this.#refuse(caller, request);
    if (refusal) {
      finish(kernel, call, refusal);
      return call;
    }
    if (timeoutMs !== undefined) kernel.timers.arm(call, timeoutMs);
    if (kernel.frozen) kernel.backlog.park(() => this.#begin(call));
    else this.#begin(call);
    return call;
  }

  #refuse(caller: Proc, { buffer }: CopyRequest): Outcome | null {
    if ((caller.calls & callBits.copy) === 0) return "NOT_ALLOWED";
    if (caller.underWay > caller.callsMax || caller.held) return "BUSY";
    if (!caller.bound) return "NOT_BOUND";
    if (buffer.byteLength > copyBytesMax) return "TOO_LARGE";
    return this.#kernel.exited ? "EXITED" : null;
  }

  #begin(call: Call): void {
    if (call.state === states.done) return;
    const kernel = this.#kernel;
    const owner = kernel.table.find(call.destination);
    if (call.caller!.held || owner?.held) {
      kernel.peers.finishAway(call, "BUSY");
      return;
    }
    if (!owner) {
      kernel.peers.ask(call);
      return;
    }
    const { direction, grant: id, offset, buffer } = call.body as CopyRequest;
    const caller = call.caller!;
    if (((caller.to >>> owner.group) & 1) === 0) {
      finish(kernel, call, "NOT_ALLOWED");
      return;
    }
    const grant = this.#grantOf(owner, id, call.source, call.group, direction, offset, buffer.byteLength);
    if (typeof grant === "string") {
      finish(kernel, call, grant);
      return;
    }
    if (direction === "read") buffer.set(grant);
    else grant.set(buffer);
    caller.counters.bytesCopied += buffer.byteLength;
    owner.counters.bytesCopied += buffer.byteLength;
    finish(kernel, call, "OK", { type: 0, body: buffer.byteLength });
  }

  /** The bytes that the caller may copy, or why not. */
  #grantOf(
    owner: Proc,
    id: number,
    by: Endpoint,
    group: number,
    direction: "read" | "write",
    offset: number,
    length: number,
  ): Uint8Array | Outcome {
    if (group >= 0 && ((owner.from >>> group) & 1) === 0) return "NOT_ALLOWED";
    const grant = owner.grants.get(id);
    if (!grant || !allows(grant, by, direction, ANY)) return "NO_GRANT";
    if (offset + length > grant.buffer.byteLength) return "NO_GRANT";
    return grant.buffer.subarray(offset, offset + length);
  }

  /** Begins, or begins again, a copy whose owner is at another kernel. */
  open(call: Call, { kernel: to, since }: Stay): void {
    const caller = call.caller!;
    const { direction, grant, offset, buffer } = call.body as CopyRequest;
    const isRead = direction === "read";
    this.giveUp(call);
    const stream = this.#add({
      ...{
        name: `c${callName(call.source, call.number)}`,
        source: call.source,
        number: call.number,
        peer: to,
      },
      ...{ isOwner: false, sends: !isRead, buffer, done: 0, acknowledged: 0, proc: caller },
      end: (outcome) => {
        if (outcome === "OK") caller.counters.bytesCopied += buffer.byteLength;
        const result = outcome === "OK" ? { type: 0, body: buffer.byteLength } : null;
        this.#kernel.peers.finishAway(call, outcome, result);
      },
    });
    const { source, number, destination, group } = call;
    const length = buffer.byteLength;
    const kind = isRead ? messageTable.copyRead.number : messageTable.copyWrite.number;
    this.#kernel.transmit(to, [kind, source, number, destination, group, since, grant, offset, length]);
    this.#pump(stream);
    if (length === 0) this.#end(stream, "OK");
  }

  /** For a move: the whole image, from a grant of the frozen process. */
  pull(
    from: KernelId,
    endpoint: Endpoint,
    g: number,
    grant: number,
    image: Uint8Array,
    done: () => void,
  ): void {
    const stream = this.#add({
      ...{ name: `c${callName(endpoint, g)}`, source: endpoint, number: g, peer: from, isOwner: false },
      ...{ sends: false, buffer: image, done: 0, acknowledged: 0, proc: null },
      end: (outcome) => {
        if (outcome === "OK") done();
      },
    });
    const { number } = messageTable.copyRead;
    this.#kernel.transmit(from, [number, endpoint, g, endpoint, 0, 0, grant, 0, image.byteLength]);
    if (image.byteLength === 0) this.#end(stream, "OK");
  }

  /** Another kernel's process copies from or to a grant of one of this kernel's. */
  handleOpen(from: KernelId, m: KernelMessage<"copyRead"> | KernelMessage<"copyWrite">): void {
    const kernel = this.#kernel;
    const [kind, source, number, ownerEndpoint, group, since, id, offset, length] = m;
    const direction = kind === messageTable.copyRead.number ? "read" : "write";
    const owner = kernel.table.find(ownerEndpoint);
    const isMove = source === ownerEndpoint;
    // The image of a frozen process goes to its new kernel; everybody else asks again when it has moved.
    const move = kernel.moves.outgoing.get(ownerEndpoint);
    const mayMove = isMove && move?.to === from && move.grant === id;
    if (!owner || (owner.held && !mayMove)) {
      if (isMove) return;
      // Bytes would come before the record is read, and after the process has gone.
      if (owner || since > kernel.view.index) kernel.answers.failed(from, source, number, "BUSY");
      else kernel.missing(from, source, number, ownerEndpoint);
      return;
    }
    const grant = this.#grantOf(owner, id, source, isMove ? -1 : group, direction, offset, length);
    if (typeof grant === "string" || length === 0) {
      // A call of the process may have the number of its move.
      if (typeof grant === "string" && !isMove) kernel.answers.failed(from, source, number, grant);
      return;
    }
    const stream = this.#add({
      ...{ name: `o${callName(source, number)}`, source, number, peer: from, isOwner: true },
      ...{
        sends: direction === "read",
        buffer: grant,
        done: 0,
        acknowledged: 0,
        proc: isMove ? null : owner,
      },
      end: (outcome) => {
        if (outcome === "OK") owner.counters.bytesCopied += length;
        else if (outcome !== "CANCELLED") kernel.answers.failed(from, source, number, outcome);
      },
    });
    this.#pump(stream);
  }

  handleData(from: KernelId, [, source, number, toOwner, bytes]: KernelMessage<"data">): void {
    const stream = this.streams.get(`${toOwner === 1 ? "o" : "c"}${callName(source, number)}`);
    if (!stream || stream.sends || stream.peer !== from) return;
    if (stream.done + bytes.byteLength > stream.buffer.byteLength) return;
    stream.buffer.set(bytes, stream.done);
    stream.done += bytes.byteLength;
    const { number: dataAck } = messageTable.dataAck;
    this.#kernel.transmit(from, [dataAck, source, number, toOwner === 1 ? 0 : 1, stream.done]);
    if (stream.done === stream.buffer.byteLength) this.#end(stream, "OK");
  }

  handleDataAck(from: KernelId, [, source, number, toOwner, bytes]: KernelMessage<"dataAck">): void {
    const stream = this.streams.get(`${toOwner === 1 ? "o" : "c"}${callName(source, number)}`);
    if (!stream?.sends || stream.peer !== from || bytes > stream.done) return;
    stream.acknowledged = Math.max(stream.acknowledged, bytes);
    if (stream.acknowledged === stream.buffer.byteLength) this.#end(stream, "OK");
    else this.#pump(stream);
  }

  /** The other side refuses, or gives up. True if it was a copy. */
  handleFailed(from: KernelId, source: Endpoint, number: number, outcome: Outcome): boolean {
    const stream = this.streams.get(`c${callName(source, number)}`);
    if (!stream) return false;
    // Another has been asked meanwhile. The same may have been asked again.
    if (stream.peer !== from) return true;
    this.#kernel.transmit(from, [messageTable.copyCancel.number, source, number]);
    this.#end(stream, outcome);
    return true;
  }
  handleCancel(from: KernelId, [, source, number]: KernelMessage<"copyCancel">): void {
    const stream = this.streams.get(`o${callName(source, number)}`);
    if (stream?.peer === from) this.#end(stream, "CANCELLED");
  }

  /** The call ends, whatever has become of the copy. True if bytes of the owner's may have been changed. */
  giveUp(call: Call): boolean {
    const stream = this.streams.get(`c${callName(call.source, call.number)}`);
    if (!stream) return false;
    this.#drop(stream.name);
    const { number } = messageTable.copyCancel;
    this.#kernel.transmit(stream.peer, [number, stream.source, stream.number]);
    return stream.sends;
  }

  /** The image of a process whose move is decided. */
  drop(endpoint: Endpoint): void {
    for (const stream of this.streams.values()) {
      if (stream.source === endpoint && stream.proc === null) this.#drop(stream.name);
    }
  }

  ownerGone(owner: Proc): void {
    for (const stream of this.streams.values()) {
      if (stream.isOwner && stream.proc === owner) this.#end(stream, "DIED");
    }
    owner.grants.clear();
  }

  /** Copies to callers that are gone with their kernel. Its owners' are ended with their outlets. */
  kernelRemoved(peer: KernelId): void {
    this.#full.delete(peer);
    for (const stream of this.streams.values()) {
      if (stream.peer === peer && (stream.isOwner || stream.proc === null)) this.#drop(stream.name);
    }
  }

  full(peer: KernelId): void {
    this.#full.add(peer);
  }

  /** Room for some frames: one for each copy that waits, in turn, and where it ends the next time goes on. */
  writable(peer: KernelId): void {
    if (!this.#full.delete(peer)) return;
    for (let sent = true; sent;) {
      sent = false;
      for (const stream of [...this.streams.values()]) {
        if (stream.peer !== peer || !this.#sendFrame(stream)) continue;
        sent = true;
        this.streams.delete(stream.name);
        this.streams.set(stream.name, stream);
      }
    }
  }

  clear(): void {
    this.streams.clear();
    this.#full.clear();
  }

  #add(stream: Stream): Stream {
    this.#drop(stream.name);
    this.streams.set(stream.name, stream);
    if (stream.proc) stream.proc.copies++;
    return stream;
  }

  #drop(name: string): void {
    const stream = this.streams.get(name);
    if (!stream) return;
    this.streams.delete(name);
    if (stream.proc) stream.proc.copies--;
  }

  #end(stream: Stream, outcome: Outcome): void {
    // Where both sides are this kernel, one message is handled within another.
    if (this.streams.get(stream.name) !== stream) return;
    this.#drop(stream.name);
    stream.end(outcome);
  }

  #pump(stream: Stream): void {
    while (this.#sendFrame(stream));
  }

  /** The next frame, if there is one and it may be sent. */
  #sendFrame(stream: Stream): boolean {
    const { buffer, source, number, peer, isOwner, sends, done, acknowledged } = stream;
    if (!sends || done === buffer.byteLength || done - acknowledged >= copyOutstandingBytes) return false;
    if (this.#kernel.frozen || this.#full.has(peer)) return false;
    const bytes = buffer.subarray(done, done + copyFrameBytes);
    stream.done += bytes.byteLength;
    this.#kernel.transmit(peer, [messageTable.data.number, source, number, isOwner ? 0 : 1, bytes]);
    return true;
  }
}
