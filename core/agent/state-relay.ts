/**
 * Between the state processes and containers of this node and the store, by way of any coordinator that answers: who
 * keeps an instance's OS state comes once for each instance, in the stream of messages to the agent, and goes on to
 * all of them; registrations, changes of the configuration and exit certificates go as requests of their own. Away
 * from every coordinator nothing comes and nothing changes.
 *
 * A certificate is given only for a process that was reaped, or whose (pid, start time) has gone from /proc, and only
 * where its disk is known: one that never said hello was never registered, so nobody has named it. The next incarnation
 * starts when the certificate is there, or when no coordinator answers; it is sent until one takes it all the same.
 */
import type { StateOf, ToAgent } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { reconnectMaxMs, reconnectMinMs, stateRequestTimeoutMs } from "../limits.ts";
import type { Change, Holder } from "../replica/configuration.ts";
import type { ToState } from "../state/control.ts";
import { type ChangeOutcome, isOlder, type ReplicaSet } from "../state/replica-set.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { Uid } from "./data-dir.ts";
import { limited, pause } from "./limited.ts";
import type { Log } from "./supervisor.ts";

export interface StateRelayOptions {
  nodeId: string;
  coordinator: Pick<CoordinatorLink, "state">;
  /** A set that is newer than any before: for the instance's container on this node, and to be kept. */
  onReplicas(uid: string, replicas: ReplicaSet): void;
  log: Log;
  signal: AbortSignal;
}

/** A state process that lives, as the relay needs it. */
export interface RelayedProcess {
  of: StateOf;
  holder: Holder;
  /** Path of its links' socket; and their TCP port, 0 while it does not listen. */
  unix: string;
  port: number;
  /** Its record names its disk. Rejects while that cannot be written. */
  kept(): Promise<void>;
  send(message: ToState): void;
}

interface Entry {
  /** The newest that has come. */
  replicas: ReplicaSet | null;
  process: RelayedProcess | null;
  registering: boolean;
  /** Something of the process has changed since it was registered. */
  unregistered: boolean;
  reading: Promise<void> | null;
  /** Incarnation → settles when the certificate was taken, or nobody was there to take it. */
  exits: Map<string, Promise<void>>;
}

/** It was understood and not done: nothing of it is under way. */
const refusals = ["UNAVAILABLE", "FORBIDDEN", "NOT_FOUND", "INVALID", "CONFLICT", "UNAUTHENTICATED"];

export class StateRelay {
  readonly #options: StateRelayOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: StateRelayOptions) {
    this.#options = options;
  }

  /** Null while nothing has come from a coordinator. */
  replicas(uid: string): ReplicaSet | null {
    return this.#entries.get(uid)?.replicas ?? null;
  }

  /** A coordinator says who keeps the instance's OS state. */
  take({ uid, replicas }: Omit<Extract<ToAgent, { type: "replicas" }>, "type">): void {
    // It becomes the name of a directory.
    if (!Uid.safeParse(uid).success) return;
    const entry = this.#entry(uid);
    if (entry.replicas && isOlder(replicas, entry.replicas)) return;
    entry.replicas = replicas;
    entry.process?.send({ type: "replicas", replicas });
    this.#options.onReplicas(uid, replicas);
    if (entry.process && !this.#isRegistered(entry.process, replicas)) this.#register(uid, entry);
  }

  /** A state process has said hello: it is told what is known, and registered once it listens. */
  greeted(process: RelayedProcess): void {
    const { uid } = process.of;
    const entry = this.#entry(uid);
    entry.process = process;
    if (entry.replicas) process.send({ type: "replicas", replicas: entry.replicas });
  }

  /** It listens, and on this port. */
  listening(uid: string, incarnation: string, port: number): void {
    const entry = this.#entries.get(uid);
    const process = entry?.process;
    if (!entry || process?.holder.incarnation !== incarnation) return;
    process.port = port;
    if (!entry.replicas || !this.#isRegistered(process, entry.replicas)) this.#register(uid, entry);
  }

  unlinked(uid: string, incarnation: string): void {
    const entry = this.#entries.get(uid);
    if (entry?.process?.holder.incarnation === incarnation) entry.process = null;
  }

  /** It is surely dead. */
  exited(of: StateOf, holder: Holder): void {
    const entry = this.#entry(of.uid);
    if (entry.process?.holder.incarnation === holder.incarnation) entry.process = null;
    const { promise, resolve } = Promise.withResolvers<void>();
    entry.exits.set(holder.incarnation, promise);
    void this.#certify(of, holder, resolve).finally(() => entry.exits.delete(holder.incarnation));
  }

  /** Resolves when every process of the instance here that has ended is certified, or no coordinator answers. */
  async certified(uid: string): Promise<void> {
    await Promise.all([...(this.#entries.get(uid)?.exits.values() ?? [])]);
  }

  /** Reads the store now; answered by `replicas`, if at all. */
  ask(of: StateOf): void {
    const entry = this.#entry(of.uid);
    entry.reading ??= this.#read(of).finally(() => {
      entry.reading = null;
    });
  }

  async propose(of: StateOf, change: Change): Promise<void> {
    const { changeId } = change.configuration;
    const { outcome, reason } = await this.#change(of, change);
    this.#entries.get(of.uid)?.process?.send({ type: "proposed", changeId, outcome, reason });
  }

  /** Whether the data of an instance's replica here may be removed, by the store as it is now. Rejects when nobody tells. */
  isGone(of: StateOf): Promise<boolean> {
    return this.#request((s) => this.#options.coordinator.state.gone(of, s));
  }

  /** Instances that have nothing here any more are forgotten, once their ends are certified. */
  setWanted(uids: ReadonlySet<string>): void {
    for (const [uid, { process, exits }] of this.#entries) {
      if (!uids.has(uid) && !process && exits.size === 0) this.#entries.delete(uid);
    }
  }

  #entry(uid: string): Entry {
    let entry = this.#entries.get(uid);
    if (!entry) {
      entry = {
        replicas: null,
        process: null,
        registering: false,
        unregistered: false,
        reading: null,
        exits: new Map(),
      };
      this.#entries.set(uid, entry);
    }
    return entry;
  }

  /** By what the store holds of this node. */
  #isRegistered({ holder, unix, port }: RelayedProcess, { wanted, leaving }: ReplicaSet): boolean {
    const own = [...wanted, ...leaving].find((replica) => replica.node === this.#options.nodeId);
    if (!own || own.disk !== holder.disk || own.incarnation !== holder.incarnation) return false;
    return own.unix === unix && own.port === port;
  }

  #register(uid: string, entry: Entry): void {
    entry.unregistered = true;
    if (!entry.registering) void this.#registerUntilDone(uid, entry);
  }

  async #registerUntilDone(uid: string, entry: Entry): Promise<void> {
    const { coordinator, signal, log } = this.#options;
    entry.registering = true;
    let backoffMs = reconnectMinMs;
    let told = "";
    while (entry.unregistered && entry.process && !signal.aborted) {
      const { process } = entry;
      const { of, holder, unix, port } = process;
      entry.unregistered = false;
      try {
        // What was registered can be certified, also by the next agent.
        await process.kept();
        await this.#request((s) => coordinator.state.register({ ...of, ...holder, unix, port }, s));
      } catch (e) {
        entry.unregistered = true;
        const { code, message } = DvsError.from(e);
        if (refusals.includes(code) && code !== "UNAVAILABLE" && message !== told) {
          told = message;
          log("warn", `the replica of instance ${of.instance} is not registered: ${message}`);
        }
        await pause(backoffMs * (0.5 + Math.random() / 2), signal);
        backoffMs = Math.min(reconnectMaxMs, backoffMs * 2);
      }
    }
    entry.registering = false;
    if (!entry.process && this.#entries.get(uid) === entry) entry.unregistered = false;
  }

  async #read(of: StateOf): Promise<void> {
    try {
      const replicas = await this.#request((s) => this.#options.coordinator.state.read(of, s));
      this.take({ uid: of.uid, replicas });
    } catch {
      // Whoever asked asks again.
    }
  }

  async #change(of: StateOf, change: Change): Promise<{ outcome: ChangeOutcome; reason: string }> {
    try {
      return await this.#request((s) => this.#options.coordinator.state.change({ ...of, change }, s));
    } catch (e) {
      const { code, message } = DvsError.from(e);
      return { outcome: refusals.includes(code) ? "refused" : "unknown", reason: message };
    }
  }

  /** Until a coordinator has taken it, or says that there is nothing of this node to certify. */
  async #certify(of: StateOf, holder: Holder, attempted: () => void): Promise<void> {
    const { coordinator, signal, log } = this.#options;
    let backoffMs = reconnectMinMs;
    while (!signal.aborted) {
      try {
        await this.#request((s) => coordinator.state.exit({ ...of, ...holder }, s));
        break;
      } catch (e) {
        const { code, message } = DvsError.from(e);
        if (code === "NOT_FOUND" || code === "FORBIDDEN") break;
        if (code === "INVALID") {
          log("error", `the end of a state process of ${of.instance} cannot be certified: ${message}`);
          break;
        }
      }
      // Every coordinator was asked: none answers.
      attempted();
      await pause(backoffMs * (0.5 + Math.random() / 2), signal);
      backoffMs = Math.min(reconnectMaxMs, backoffMs * 2);
    }
    attempted();
  }

  #request<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return limited(this.#options.signal, stateRequestTimeoutMs, action);
  }
}
