/** What a record has changed in the View: what a kernel reacts to. */
import type { Endpoint } from "./endpoint.ts";
import type { SlotRange } from "./slot-ranges.ts";
import type { KernelId, Member } from "./view.ts";

/** An endpoint that another kernel holds from now on. */
export interface Relocation {
  endpoint: Endpoint;
  g: number;
  /** Index of the record: it tells one stay of the endpoint with a kernel from another. */
  since: number;
  from: KernelId;
  to: KernelId;
}

export type ViewChange =
  | { type: "joined"; member: Member }
  | {
      type: "removed";
      kernel: KernelId;
      /** Moves from or to it that will not take place. */
      aborted: Relocation[];
      /** Its endpoints that a backup has now. Every other of its endpoints is dead. */
      promoted: Relocation[];
    }
  | { type: "grantor"; kernel: KernelId; epoch: number }
  | { type: "slots"; kernel: KernelId; range: SlotRange }
  | { type: "named"; name: string; endpoint: Endpoint }
  | { type: "unnamed"; name: string; endpoint: Endpoint }
  | ({ type: "moving" } & Relocation)
  | ({ type: "moved" } & Relocation)
  | ({ type: "aborted" } & Relocation)
  | { type: "backup"; endpoint: Endpoint; kernel: KernelId }
  /**
   * `promoted`: the backup that holds it now, if it had one. Else it is dead, and `left` goes to kernel 0.
   */
  | {
      type: "ended";
      endpoint: Endpoint;
      kernel: KernelId;
      promoted: Relocation | null;
      left: Relocation | null;
    }
  /** The record did not fit; nothing has changed. `why` is for people. */
  | { type: "refused"; why: string };
