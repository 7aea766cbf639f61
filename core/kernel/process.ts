/**
 * A process, as its own code sees it: what the servers of a VOS are written against.
 *
 *     const counter = await kernel.bind({ name: "counter" });
 *     for (;;) {
 *       const request = await counter.receive();
 *       counter.reply(request, { type: 0, body: ++count });
 *     }
 *
 * Calls that cannot be carried out throw a CallError, which has the outcome. Timeouts are in milliseconds; none waits
 * for ever; 0 asks for what can be had at once. A call allocates itself and its promise, and nothing more.
 */
import { DvsError } from "../errors.ts";
import { processGrantsMax } from "../limits.ts";
import { CallError } from "./call-error.ts";
import type { Call } from "./call.ts";
import { ANY, type Endpoint, formatEndpoint, NONE } from "./endpoint.ts";
import type { EndpointInfo } from "./calls/do-get-info.ts";
import type { KernelMachine } from "./kernel-machine.ts";
import type { Message, Received } from "./message.ts";
import type { Outcome } from "./outcome.ts";
import type { Proc } from "./proc.ts";

export interface CallOptions {
  timeoutMs?: number;
  /** Cancels the call: CANCELLED if it was not taken, else OUTCOME_UNKNOWN. */
  signal?: AbortSignal;
}

export interface GrantOptions {
  buffer: Uint8Array;
  /** Who may copy; default: everybody who may call the owner. */
  to?: Endpoint;
  access: "read" | "write" | "both";
}

/** Throws INVALID for what is no time. */
function timeoutOf(options: CallOptions | undefined): number | undefined {
  const timeoutMs = options?.timeoutMs;
  if (timeoutMs === undefined || timeoutMs >= 0) return timeoutMs;
  throw new DvsError("INVALID", `Cannot wait for ${timeoutMs} ms: a timeout is 0 or more milliseconds.`);
}

const done: Promise<void> = Promise.resolve();

// The two functions of the promise that is being made: an executor that closes over nothing can be shared.
let resolveNext: (value: never) => void;
let rejectNext: (reason: unknown) => void;
const executor = (resolve: (value: never) => void, reject: (reason: unknown) => void) => {
  resolveNext = resolve;
  rejectNext = reject;
};

/** What wakes whoever awaits a call. */
interface Waiting {
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

export class Process {
  readonly #kernel: KernelMachine;
  readonly #proc: Proc;

  constructor(kernel: KernelMachine, proc: Proc) {
    this.#kernel = kernel;
    this.#proc = proc;
  }

  get endpoint(): Endpoint {
    return this.#proc.endpoint;
  }
  /** For the kernel's host: moves, counters. */
  get proc(): Proc {
    return this.#proc;
  }

  /** Resolves when the receiver's process has taken the message. */
  send(to: Endpoint, message: Message, options?: CallOptions): Promise<void> {
    const call = this.#kernel.send(this.#proc, to, message, timeoutOf(options));
    if (call.outcome === "OK") return done;
    return this.#wait("send to", call, to, options) as Promise<void>;
  }

  /** Resolves with the reply. */
  sendrec(to: Endpoint, message: Message, options?: CallOptions): Promise<Message> {
    const call = this.#kernel.sendrec(this.#proc, to, message, timeoutOf(options));
    return this.#wait("call", call, to, options) as Promise<Message>;
  }

  /** The next notification or message, from ANY or from one. At once if there is one, so `await` it. */
  receive(from: Endpoint = ANY, options?: CallOptions): Received | Promise<Received> {
    const call = this.#kernel.tryReceive(this.#proc, from, false);
    return call ?? this.#receive(from, false, options);
  }

  /** The next request: what must be replied to. Other messages, and notifications, stay where they are. */
  receiveRequest(options?: CallOptions): Received | Promise<Received> {
    const call = this.#kernel.tryReceive(this.#proc, ANY, true);
    return call ?? this.#receive(ANY, true, options);
  }

  /** To the caller of a request that this process has received. False: it does not wait any longer. */
  reply(request: Received, message: Message): boolean {
    const outcome = this.#kernel.reply(this.#proc, request as Call, message);
    if (outcome === "OK") return true;
    if (outcome === "NOT_WAITING") return false;
    throw new CallError("reply to", request.source, outcome);
  }

  /** Never waits. The receiver gets one notification with the number of them. */
  notify(to: Endpoint): void {
    const outcome = this.#kernel.notify(this.#proc, to);
    if (outcome !== "OK") throw new CallError("notify", to, outcome);
  }

  /** Copies from another process's grant, from `offset` on, as many bytes as `into` has. */
  async read(
    owner: Endpoint,
    grant: number,
    offset: number,
    into: Uint8Array,
    options?: CallOptions,
  ): Promise<void> {
    await this.#copy("read", owner, grant, offset, into, options);
  }
  /** Copies all of `bytes` into another process's grant. */
  async write(
    owner: Endpoint,
    grant: number,
    offset: number,
    bytes: Uint8Array,
    options?: CallOptions,
  ): Promise<void> {
    await this.#copy("write", owner, grant, offset, bytes, options);
  }

  /** Opens a buffer; the number is for whoever is to copy. It stays open until it is revoked. */
  grant({ buffer, to = ANY, access }: GrantOptions): number {
    if (!(buffer instanceof Uint8Array)) {
      throw new DvsError("INVALID", "Cannot open a grant of a buffer that is no Uint8Array.");
    }
    const id = this.#kernel.grant(this.#proc, { buffer, grantee: to, access });
    if (id !== 0) return id;
    const who = formatEndpoint(this.endpoint);
    throw new DvsError(
      "EXHAUSTED",
      `Cannot open a grant of ${who}: it has ${processGrantsMax}. Revoke those that are done.`,
    );
  }
  revoke(grant: number): void {
    this.#kernel.revoke(this.#proc, grant);
  }

  /** The endpoint that has the name now, as far as this kernel knows. */
  lookup(name: string): Endpoint | undefined {
    return this.#kernel.lookup(name);
  }
  /** Waits until an endpoint has the name. */
  async waitForName(name: string, options?: CallOptions): Promise<Endpoint> {
    const call = this.#kernel.waitForName(this.#proc, name, timeoutOf(options));
    const { body } = (await this.#wait("wait for the name", call, name, options)) as Message;
    return body as Endpoint;
  }
  /** Waits until the endpoint is bound. */
  async waitForBind(endpoint: Endpoint, options?: CallOptions): Promise<void> {
    const call = this.#kernel.waitForBind(this.#proc, endpoint, true, timeoutOf(options));
    await this.#wait("wait for the bind of", call, endpoint, options);
  }
  /** Waits until the endpoint is bound no longer. */
  async waitForUnbind(endpoint: Endpoint, options?: CallOptions): Promise<void> {
    const call = this.#kernel.waitForBind(this.#proc, endpoint, false, timeoutOf(options));
    try {
      await this.#wait("wait for the end of", call, endpoint, options);
    } catch (e) {
      if (!(e instanceof CallError && e.outcome === "DIED")) throw e;
    }
  }
  async getInfo(endpoint: Endpoint, options?: CallOptions): Promise<EndpointInfo> {
    const call = this.#kernel.getInfo(this.#proc, endpoint, timeoutOf(options));
    const { body } = (await this.#wait("ask about", call, endpoint, options)) as Message;
    return body as EndpointInfo;
  }

  unbind(): void {
    this.#kernel.unbind(this.#proc);
  }

  async #copy(
    direction: "read" | "write",
    owner: Endpoint,
    grant: number,
    offset: number,
    buffer: Uint8Array,
    options?: CallOptions,
  ): Promise<void> {
    if (!Number.isSafeInteger(offset) || offset < 0) {
      throw new DvsError("INVALID", `Cannot ${direction} at offset ${offset}: an integer from 0`);
    }
    if (!Number.isSafeInteger(grant) || grant < 0) {
      throw new DvsError("INVALID", `Cannot ${direction} grant ${grant}: an integer from 0`);
    }
    if (!(buffer instanceof Uint8Array)) {
      throw new DvsError("INVALID", `Cannot ${direction} a grant with a buffer that is no Uint8Array.`);
    }
    const request = { direction, owner, grant, offset, buffer };
    const call = this.#kernel.copy(this.#proc, request, timeoutOf(options));
    await this.#wait(`${direction} a grant of`, call, owner, options);
  }

  #receive(from: Endpoint, requestsOnly: boolean, options?: CallOptions): Promise<Received> {
    const call = this.#kernel.receive(this.#proc, from, requestsOnly, timeoutOf(options));
    return this.#wait("receive from", call, from, options) as Promise<Received>;
  }

  #wait(what: string, call: Call, to: Endpoint | string, options?: CallOptions): Promise<unknown> {
    const { outcome } = call;
    if (outcome === "OK") return Promise.resolve(call.result);
    if (outcome !== null) return Promise.reject(new CallError(what, to === NONE ? "nobody" : to, outcome));
    const promise = new Promise<never>(executor);
    const waiting: Waiting = { resolve: resolveNext as (value: unknown) => void, reject: rejectNext };
    call.waiter = (call) => wake(waiting, what, to, call);
    return options?.signal ? this.#cancelBy(options.signal, call, promise) : promise;
  }

  async #cancelBy(signal: AbortSignal, call: Call, promise: Promise<unknown>): Promise<unknown> {
    const cancel = () => this.#kernel.cancel(this.#proc, call);
    signal.addEventListener("abort", cancel);
    if (signal.aborted) cancel();
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }
}

function wake(waiting: Waiting, what: string, to: Endpoint | string, call: Call): void {
  if (call.outcome === "OK") waiting.resolve(call.result);
  else waiting.reject(new CallError(what, to, call.outcome as Exclude<Outcome, "OK">));
}
