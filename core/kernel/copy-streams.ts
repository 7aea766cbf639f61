/**
 * Copies under way between this kernel and others: one side of each. The side that has the bytes sends them in frames
 * of copyFrameBytes on the bulk connection, never more than copyOutstandingBytes ahead of what the other side has put
 * in place and acknowledged. What a copy is for, and who may make it, copies.ts knows.
 */
import { copyFrameBytes, copyOutstandingBytes } from "../limits.ts";
import { callName } from "./call.ts";
import type { Endpoint } from "./endpoint.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import { type KernelMessage, messageTable } from "./messages.ts";
import type { Outcome } from "./outcome.ts";
import type { Proc } from "./proc.ts";
import type { KernelId } from "./view.ts";

/** One side of a copy between kernels. */
export interface CopyStream {
  /** Of the call, or the process and number of a move. */
  readonly source: Endpoint;
  readonly number: number;
  readonly peer: KernelId;
  /** Whether this side is the owner's. */
  readonly isOwner: boolean;
  /** Whether this side has the bytes. */
  readonly sends: boolean;
  readonly buffer: Uint8Array;
  /** The owner's process, or the caller's; null: an image on its way. */
  readonly proc: Proc | null;
  readonly end: (outcome: Outcome) => void;
}

interface Stream extends CopyStream {
  readonly name: string;
  /** Bytes sent or put in place. */
  done: number;
  acknowledged: number;
}

export class CopyStreams {
  readonly #kernel: KernelMachine;
  /** By side and name. Bounded by the calls of the processes that make them. */
  readonly #streams = new Map<string, Stream>();
  /** Peers whose bulk connection has no room. */
  readonly #full = new Set<KernelId>();

  constructor(kernel: KernelMachine) {
    this.#kernel = kernel;
  }

  get size(): number {
    return this.#streams.size;
  }

  find(isOwner: boolean, source: Endpoint, number: number): CopyStream | undefined {
    return this.#streams.get(nameOf(isOwner, source, number));
  }

  /** In the place of one with its name: a copy that is begun again. Nothing is sent before `pump`. */
  begin(stream: CopyStream): CopyStream {
    const name = nameOf(stream.isOwner, stream.source, stream.number);
    const begun: Stream = { ...stream, name, done: 0, acknowledged: 0 };
    this.#drop(name);
    this.#streams.set(name, begun);
    if (begun.proc) begun.proc.copies++;
    return begun;
  }

  /** Without a word to whoever waits for it. */
  drop({ isOwner, source, number }: CopyStream): void {
    this.#drop(nameOf(isOwner, source, number));
  }

  end(stream: CopyStream, outcome: Outcome): void {
    // Where both sides are this kernel, one message is handled within another.
    if (this.find(stream.isOwner, stream.source, stream.number) !== stream) return;
    this.drop(stream);
    stream.end(outcome);
  }

  /** All frames that may be sent now. */
  pump(stream: CopyStream): void {
    const known = this.find(stream.isOwner, stream.source, stream.number) as Stream | undefined;
    if (!known) return;
    while (this.#sendFrame(known));
  }

  handleData(from: KernelId, [, source, number, toOwner, bytes]: KernelMessage<"data">): void {
    const stream = this.#streams.get(nameOf(toOwner === 1, source, number));
    if (!stream || stream.sends || stream.peer !== from) return;
    if (stream.done + bytes.byteLength > stream.buffer.byteLength) return;
    stream.buffer.set(bytes, stream.done);
    stream.done += bytes.byteLength;
    const { number: dataAck } = messageTable.dataAck;
    this.#kernel.transmit(from, [dataAck, source, number, toOwner === 1 ? 0 : 1, stream.done]);
    if (stream.done === stream.buffer.byteLength) this.end(stream, "OK");
  }

  handleDataAck(from: KernelId, [, source, number, toOwner, bytes]: KernelMessage<"dataAck">): void {
    const stream = this.#streams.get(nameOf(toOwner === 1, source, number));
    if (!stream?.sends || stream.peer !== from || bytes > stream.done) return;
    stream.acknowledged = Math.max(stream.acknowledged, bytes);
    if (stream.acknowledged === stream.buffer.byteLength) this.end(stream, "OK");
    else this.pump(stream);
  }

  full(peer: KernelId): void {
    this.#full.add(peer);
  }

  /** Room for some frames: one for each copy that waits, in turn, and where it ends the next time goes on. */
  writable(peer: KernelId): void {
    if (!this.#full.delete(peer)) return;
    for (let sent = true; sent;) {
      sent = false;
      for (const stream of [...this.#streams.values()]) {
        if (stream.peer !== peer || !this.#sendFrame(stream)) continue;
        sent = true;
        this.#streams.delete(stream.name);
        this.#streams.set(stream.name, stream);
      }
    }
  }

  /** The image of a process whose move is decided. */
  dropImage(endpoint: Endpoint): void {
    for (const stream of this.#streams.values()) {
      if (stream.source === endpoint && stream.proc === null) this.#drop(stream.name);
    }
  }

  ownerGone(owner: Proc): void {
    for (const stream of this.#streams.values()) {
      if (stream.isOwner && stream.proc === owner) this.end(stream, "DIED");
    }
  }

  /** Copies to callers that are gone with their kernel. Its owners' are ended with their outlets. */
  kernelRemoved(peer: KernelId): void {
    this.#full.delete(peer);
    for (const stream of this.#streams.values()) {
      if (stream.peer === peer && (stream.isOwner || stream.proc === null)) this.#drop(stream.name);
    }
  }

  clear(): void {
    this.#streams.clear();
    this.#full.clear();
  }

  #drop(name: string): void {
    const stream = this.#streams.get(name);
    if (!stream) return;
    this.#streams.delete(name);
    if (stream.proc) stream.proc.copies--;
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

function nameOf(isOwner: boolean, source: Endpoint, number: number): string {
  return `${isOwner ? "o" : "c"}${callName(source, number)}`;
}
