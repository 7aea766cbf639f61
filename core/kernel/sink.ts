/**
 * What a kernel makes happen. Its host gives it a sink; in a container that is made of promises, proxies and the
 * record log, in the simulator of the simulator's. No method may call back into the kernel before it has returned.
 */
import type { Call } from "./call.ts";
import type { Endpoint } from "./endpoint.ts";
import type { KernelMessage } from "./messages.ts";
import type { KernelId, KernelRecord } from "./view.ts";

export interface KernelSink {
  /** The call has its outcome: `call.outcome`, `call.result`. Once for each call. */
  complete(call: Call): void;
  /**
   * To the proxy of another kernel, which always takes it. False: it holds so much that no new call is to follow
   * before `kernel.writable(kernel)`; answers may, since there are never more of them than calls.
   */
  transmit(kernel: KernelId, message: KernelMessage): boolean;
  /** To the record log. The host draws the id and says what became of it with `kernel.proposed(ticket, …)`. */
  propose(ticket: number, record: KernelRecord): void;
  /** `kernel.flush()` is to be called before this turn of the event loop ends: there are answers that can be joined. */
  wantFlush(): void;
  /**
   * A deadline has been set since the last tick: the next one is to come within kernelTickMs. Not needed where there is
   * one that often.
   */
  wantTick?(): void;
  /** Neither a process of it may run nor anything leave, until it has thawed. */
  freeze(): void;
  thaw(): void;
  /** The view no longer has this kernel, and never will. */
  exit(): void;
  /** The process is frozen for its move number g: make its image and call `kernel.offerMove`; or `kernel.abortMove`. */
  moveStarted(endpoint: Endpoint, g: number, to: KernelId): void;
  /** A whole image is here: make a process of it and call `kernel.acceptMove`; or `kernel.declineMove`. */
  moveOffered(endpoint: Endpoint, g: number, from: KernelId, image: Uint8Array): void;
  /** The move is decided. On the old kernel the process is gone (moved) or goes on (aborted); on the new vice versa. */
  moveEnded(endpoint: Endpoint, outcome: "moved" | "aborted", side: "source" | "destination"): void;
  /** A backup of this kernel is the endpoint's holder from now on. */
  promoted(endpoint: Endpoint): void;
}
