/**
 * Two-party copy: bytes between a caller's buffer and a grant, which is a buffer that its owner has opened.
 *
 * On one kernel it is one memory copy. Between kernels it is a stream of frames (copy-streams.ts), which the caller's
 * kernel asks for and the owner's allows. A copy may be begun again: the same bytes end up in the same places.
 */
import { copyBytesMax } from "../limits.ts";
import { Call, callKinds, states } from "./call.ts";
import { CopyStreams } from "./copy-streams.ts";
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

export class Copies {
  readonly #kernel: KernelMachine;
  /** Those between this kernel and others. */
  readonly streams: CopyStreams;

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
    this.streams = new CopyStreams(kernel);
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
    const stream = this.streams.begin({
      ...{ source: call.source, number: call.number, peer: to, isOwner: false },
      ...{ sends: !isRead, buffer, proc: caller },
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
    this.streams.pump(stream);
    if (length === 0) this.streams.end(stream, "OK");
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
    const stream = this.streams.begin({
      ...{ source: endpoint, number: g, peer: from, isOwner: false },
      ...{ sends: false, buffer: image, proc: null },
      end: (outcome) => {
        if (outcome === "OK") done();
      },
    });
    const { number } = messageTable.copyRead;
    this.#kernel.transmit(from, [number, endpoint, g, endpoint, 0, 0, grant, 0, image.byteLength]);
    if (image.byteLength === 0) this.streams.end(stream, "OK");
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
    const stream = this.streams.begin({
      ...{ source, number, peer: from, isOwner: true },
      ...{ sends: direction === "read", buffer: grant, proc: isMove ? null : owner },
      end: (outcome) => {
        if (outcome === "OK") owner.counters.bytesCopied += length;
        else if (outcome !== "CANCELLED") kernel.answers.failed(from, source, number, outcome);
      },
    });
    this.streams.pump(stream);
  }

  /** The other side refuses, or gives up. True if it was a copy. */
  handleFailed(from: KernelId, source: Endpoint, number: number, outcome: Outcome): boolean {
    const stream = this.streams.find(false, source, number);
    if (!stream) return false;
    // Another has been asked meanwhile. The same may have been asked again.
    if (stream.peer !== from) return true;
    this.#kernel.transmit(from, [messageTable.copyCancel.number, source, number]);
    this.streams.end(stream, outcome);
    return true;
  }
  handleCancel(from: KernelId, [, source, number]: KernelMessage<"copyCancel">): void {
    const stream = this.streams.find(true, source, number);
    if (stream?.peer === from) this.streams.end(stream, "CANCELLED");
  }

  /** The call ends, whatever has become of the copy. True if bytes of the owner's may have been changed. */
  giveUp(call: Call): boolean {
    const stream = this.streams.find(false, call.source, call.number);
    if (!stream) return false;
    this.streams.drop(stream);
    const { number } = messageTable.copyCancel;
    this.#kernel.transmit(stream.peer, [number, stream.source, stream.number]);
    return stream.sends;
  }

  ownerGone(owner: Proc): void {
    this.streams.ownerGone(owner);
    owner.grants.clear();
  }
}
