/** A request that is being carried out, and all that its handler may need for it. */
import type { FileSystem } from "../files/file-system.ts";
import type { Answer } from "./answer.ts";
import type { Cache } from "./cache.ts";
import type { Callers } from "./callers.ts";
import type { Handles } from "./handles.ts";
import type { LockOwners } from "./lock-owners.ts";
import type { Request } from "./request.ts";

/** What all requests of a mount share. */
export interface Mounted {
  /** With the rights of uid 0. */
  fs: FileSystem;
  callers: Callers;
  handles: Handles;
  cache: Cache;
  locks: LockOwners;
}

export interface Call extends Mounted {
  request: Request;
  /** For whoever asks. */
  caller: () => FileSystem;
  /** Aborted when whoever waits was interrupted by a signal. */
  interrupted: () => AbortSignal;
}

/** `done`: without fields; `nothing`: the kernel expects no answer; bytes: the content that was read. */
export type Reply = Answer | Uint8Array | { finish(unique: number): Uint8Array } | "done" | "nothing";
/** What it throws is answered by its errno. */
export type Handler = (call: Call) => Reply | Promise<Reply>;

/** What a handler returns when there is nothing to say. */
export const done: Reply = "done";
