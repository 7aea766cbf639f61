/**
 * The contract between dvs and a VOS (the guest operating system of an instance). It is booted with a host, which
 * has what it asked for; `plugins/hello` is the smallest example, to be copied.
 */
import type { z } from "zod";
import type { KernelState } from "./agent-protocol.ts";
import type { FileSystem } from "./files/file-system.ts";
import type { BindRequest } from "./kernel/kernel.ts";
import type { Process } from "./kernel/process.ts";
import type { KeyValue } from "./state/client/key-value.ts";

export interface VosPlugin<Options extends z.ZodType = z.ZodType> {
  /** What `--os` names. */
  name: string;
  /** One line for `dvs instance create --help`. */
  summary: string;
  /** Options of an instance, each field described with its unit. Checked by the coordinator before anything starts. */
  options: Options;
  /** Whether an instance boots from an image (`--site`, `--image`). */
  image: "required" | "optional" | "none";
  /**
   * What its containers have beside the host's basic services; nothing costs anything that is not asked for. As a
   * function, where that depends on the instance's options: of these alone, so that every node comes to the same.
   */
  needs?: VosNeeds | NeedsOf<z.output<Options>>;
  /**
   * Boots one container of an instance. Runs in the container's own host process, once.
   * A rejection with a DvsError INVALID is permanent: the container is not started again.
   */
  boot(host: VosHost, options: z.output<Options>): Promise<Vos>;
}

export interface VosNeeds {
  /** `host.kernel`: calls between the containers of the instance. */
  kernel?: boolean;
  /** OS state that is replicated on nodes of the instance, and outlives its containers. */
  state?: boolean;
  /**
   * It goes on serving while its kernel is frozen, and when it was removed: nothing that it does then depends on
   * what other containers do. Otherwise the container ends with its kernel, and is started anew.
   */
  servesFrozen?: boolean;
}

/** A method's type, so that a plugin of some options is a plugin: what it is given has passed its own schema. */
type NeedsOf<Values> = { of(options: Values): VosNeeds }["of"];

/** Of an instance with these options, which the plugin's schema has passed. */
export function needsOf(plugin: VosPlugin, options: unknown): VosNeeds {
  const { needs = {} } = plugin;
  return typeof needs === "function" ? needs(options) : needs;
}

/** One booted container. */
export interface Vos {
  /** Answers a request that ingress brought. Must not throw; what it throws is answered with 500 and logged. */
  fetch(request: Request, info: RequestInfo): Response | Promise<Response>;
  /** How busy the instance is, in a line for whoever probes this container: the header `x-dvs-load` of its health. */
  load?(): string;
  /** Called after the last request was answered, at most once. */
  close?(): Promise<void>;
}

export interface RequestInfo {
  /** Address of the connection's other end: the ingress, or the client where nothing is in front. */
  peer: string;
}

/**
 * The container's kernel (core/kernel): its processes call those of the instance's other containers, wherever they
 * are. It joins the instance while the VOS boots and after; until then, and while it is frozen, nothing comes or goes.
 */
export interface VosKernel {
  /** `frozen`: it has no lease, so others may have taken it for dead: nothing of the instance's state may be used. */
  readonly state: KernelState["state"];
  /** Number of this kernel, 0 before it has joined. */
  readonly id: number;
  /** Those that are in the View now. */
  members(): { kernel: number; node: string }[];
  /** Waits until the kernel has joined, and the name is free where one is given: throws NAME_TAKEN otherwise. */
  bind(request: BindRequest): Promise<Process>;
  /** Called at each change. `joining` again: another kernel has begun in this container, and every process is gone. */
  onState(listener: (state: KernelState["state"]) => void): void;
}

/**
 * What the instance must not lose, the same on every node: kept by replicas, on some of the instance's nodes or all. A
 * write is on every replica in sync when it resolves; a read sees every write that was acknowledged before it began.
 */
export interface VosState {
  readonly kv: KeyValue;
  /** One tree of files for all nodes, whose owner is uid 0; `as` makes it another's. */
  readonly files: FileSystem;
  /**
   * Fills `files` with those of an image, once in the instance's life: where that has begun with another image, it stays
   * as it is. Resolves when they are all there, whoever did it. To be called before anything is made there.
   */
  seedFiles(image: ImageReader): Promise<void>;
}

/** What dvs gives a VOS in its container. */
export interface VosHost {
  tenant: string;
  instance: string;
  uid: string;
  node: { id: string; name: string };
  /** Random per host process. */
  incarnation: string;
  /** Null where the instance has no image. */
  image: ImageReader | null;
  /** Null where the VOS did not ask for it. */
  kernel: VosKernel | null;
  /** Null where the VOS did not ask for it. */
  state: VosState | null;
  /** A line of the instance's log (`dvs instance logs`): one JSON object with time and level. */
  log(level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>): void;
  /** A raw line of the access log, buffered and written at least once a second. */
  accessLog(line: string): void;
}

/** An immutable tree of files, read from the node's blob store. */
export interface ImageReader {
  digest: string;
  /** The entry at an absolute path (`/index.html`), or undefined. Paths are exact: no `.`, `..`, `//` or escapes. */
  entry(path: string): ImageEntry | undefined;
  /** Like `entry`, following symbolic links in any part of the path; undefined where one dangles or goes in circles. */
  resolve(path: string): ImageEntry | undefined;
  /** Every path, sorted by code unit; `/` is the first. */
  paths(): Iterable<string>;
  /**
   * The whole content of a file. Verified against its digest: a blob that is missing or corrupted is fetched anew
   * from the coordinator, and the call waits for that; rejects with UNAVAILABLE when nobody can give it, and with
   * TOO_LARGE above `readBytesMax`.
   */
  read(entry: ImageEntry): Promise<Uint8Array>;
  /**
   * Bytes [start, end) as a stream, for files too large to hold. Up to `verifyFirstBytesMax` the whole file was verified
   * before the first byte leaves. Of a larger file the bytes were verified when they were stored; its first stream
   * starts a verification beside it; once that fails, the streams still in flight end with an error and the next ones
   * wait for the fresh blob.
   */
  stream(entry: ImageEntry, start: number, end: number): ReadableStream<Uint8Array>;
  /**
   * Path of the file that holds a file's content, to be sent by the runtime: the whole of it was verified. Null while
   * that takes longer than the first byte may wait, for files above `verifyFirstBytesMax` that were not verified since
   * the reader was opened: `stream` does until then. Rejects as `read` does. The path is for use at once, and for reading.
   */
  file(entry: ImageEntry): Promise<string | null>;
}

export interface ImageEntry {
  path: string;
  type: "file" | "directory" | "symlink";
  /** Bytes of a file, else 0. */
  size: number;
  /** `sha256:…` of a file's content, else "". */
  digest: string;
  /** Permission bits. */
  mode: number;
  /** Where a symbolic link points, else "". Never out of the image. */
  target: string;
}

/** The VOSes that this build knows, given to the parts of core that need them: core imports no plugin. */
export interface VosRegistry {
  names(): string[];
  /** Undefined where no plugin has the name. */
  load(name: string): Promise<VosPlugin | undefined>;
}
