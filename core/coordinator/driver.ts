/**
 * Runs the controller (core/control, a pure machine) on the real world: feeds it the store's changes, heartbeats
 * and ticks, and carries out what it wants. The controller never waits; everything that does is here.
 *
 * A store that does not answer is waited for: nothing of the controller's state is lost by it. A controller that throws
 * is a defect, and nothing more is done with a machine that stopped half-way: the process ends, and the next one
 * begins with what is stored.
 */
import type { Controller, ControlEffect, ControlEvent } from "../control/controller.ts";
import { keys } from "../records.ts";
import { StoreError, type Compare, type KeyValue, type Store, type WatchBatch } from "../store/store.ts";
import { DvsError } from "../errors.ts";
import { Topic } from "./topic.ts";
import type { InstanceWatchEvent } from "../api/views.ts";
import type { Desired } from "../agent-protocol.ts";
import type { ReplicaSet } from "../state/replica-set.ts";
import { pause } from "./pause.ts";
import type { Log } from "./log.ts";

const tickMs = 100;
const storeRetryMs = 200;
const seenTimeoutMs = 5_000;
/** What the controller reads of the store. */
const controlPrefixes = [keys.nodes, keys.tenants, keys.ports];
/** Records of kernels lie below their tenant, and are not the controller's (core/coordinator/kernel). */
export const kernelKey = /^\/t\/[^/]+\/k\/([^/]+)\/(.+)$/;

export interface DriverOptions {
  store: Store;
  storeGeneration: number;
  controller: Controller;
  /** Added to each transaction. */
  leader: Compare;
  /** False: another coordinator may be acting, so agents get no orders from this one. */
  mayOrder: () => boolean;
  onDesired(node: string, desired: Desired): void;
  /** Whenever it changed; a node that connects gets what there is by `Controller.replicaSetsFor`. */
  onReplicas(node: string, uid: string, replicas: ReplicaSet): void;
  onNodeRemoved(node: string): void;
  /** Called once: the leader compare failed (another coordinator acts) or the controller threw (a defect). All is over then. */
  onEnd: (reason: string, defect: boolean) => void;
  log: Log;
  /** How long `seen` waits. */
  seenTimeoutMs?: number;
}

export class Driver {
  readonly instances = new Topic<InstanceWatchEvent>();
  /** Changes below /ev/. */
  readonly events = new Topic<KeyValue>();
  /** Changes of keys of kernels, revision by revision; null: some may have been missed. */
  readonly kernels = new Topic<WatchBatch | null>();
  readonly #options: DriverOptions;
  readonly #stop = new AbortController();
  #applied = 0;
  readonly #waiters = new Set<{ revision: number; resolve(): void }>();
  #ticker: ReturnType<typeof setInterval> | undefined;
  /** Nodes with a Desired that was not sent while nothing might be ordered. */
  readonly #withheld = new Set<string>();
  /** What is wrong with the store, told once. */
  #trouble = "";

  constructor(options: DriverOptions) {
    this.#options = options;
  }

  /** Resolves when the controller has the whole state, or at `close`; then it acts until `close`. */
  async start(): Promise<void> {
    const { storeGeneration } = this.#options;
    this.step({ type: "start", nowMs: performance.now(), wallMs: Date.now(), storeGeneration });
    while (!(await this.#snapshot())) {
      await pause(storeRetryMs, this.#stop.signal);
      if (this.#stop.signal.aborted) return;
    }
    void this.#follow();
    let lastMs = performance.now();
    this.#ticker = setInterval(() => {
      const nowMs = performance.now();
      const lagMs = Math.max(0, nowMs - lastMs - tickMs);
      lastMs = nowMs;
      this.#drive({ type: "tick", nowMs, wallMs: Date.now(), lagMs });
      if (this.#withheld.size > 0) this.#release();
    }, tickMs);
  }

  close(): void {
    clearInterval(this.#ticker);
    this.#stop.abort();
    for (const waiter of this.#waiters) waiter.resolve();
    this.#waiters.clear();
  }

  /** Throws what the controller throws, having ended everything. */
  step(event: ControlEvent): void {
    if (this.#stop.signal.aborted) return;
    let effects: ControlEffect[];
    this.#options.controller.wallMs = Date.now();
    try {
      effects = this.#options.controller.step(event);
    } catch (e) {
      this.#options.log(
        "error",
        `the controller failed at ${event.type}: ${String((e as Error)?.stack ?? e)}`,
      );
      this.#end("its controller failed", true);
      throw e;
    }
    for (const effect of effects) this.#perform(effect);
  }

  /** What a node is to be told when it connects; null when there is nothing yet. */
  desiredFor(node: string): Desired | null {
    if (this.#options.mayOrder()) return this.#options.controller.desiredFor(node);
    this.#withheld.add(node);
    return null;
  }

  /**
   * Resolves when the controller has seen the revision: what a caller wrote, it then reads. Rejects with TIMEOUT when
   * the store keeps it waiting; what was written is written all the same.
   */
  async seen(revision: number): Promise<void> {
    if (this.#applied >= revision || this.#stop.signal.aborted) return;
    await new Promise<void>((resolve, reject) => {
      const waiter = {
        revision,
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(
          new DvsError(
            "TIMEOUT",
            "The change is stored, but the coordinator lags behind its store. Look again.",
          ),
        );
      }, this.#options.seenTimeoutMs ?? seenTimeoutMs);
      this.#waiters.add(waiter);
    });
  }

  /** For callers that nobody could tell. */
  #drive(event: ControlEvent): void {
    try {
      this.step(event);
    } catch {
      // It was told, and has ended everything.
    }
  }

  #end(reason: string, defect = false): void {
    if (this.#stop.signal.aborted) return;
    this.close();
    this.#options.onEnd(reason, defect);
  }

  /** Everything as of one revision. False when the store does not give it. */
  async #snapshot(): Promise<boolean> {
    const { store } = this.#options;
    try {
      const first = await store.range(controlPrefixes[0]!);
      const kvs = [...first.kvs];
      for (const prefix of controlPrefixes.slice(1)) {
        kvs.push(...(await store.range(prefix, { revision: first.revision })).kvs);
      }
      this.#note("");
      this.#drive({
        type: "snapshot",
        revision: first.revision,
        kvs: kvs.filter((kv) => !kernelKey.test(kv.key)),
      });
      this.#advance(first.revision);
      this.kernels.publish(null);
      return true;
    } catch (e) {
      if (!(e instanceof StoreError)) throw e;
      this.#note(e.message);
      return false;
    }
  }

  async #follow(): Promise<void> {
    const { store } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const batch of store.watch("/", this.#applied + 1, signal)) this.#apply(batch);
      } catch (e) {
        if (signal.aborted) return;
        if (!(e instanceof StoreError)) throw e;
        if (e.code === "COMPACTED" && (await this.#snapshot())) continue;
        this.#note(e.message);
      }
      await pause(storeRetryMs, signal);
    }
  }

  #apply(batch: WatchBatch): void {
    this.#note("");
    const kernels = batch.events.filter((e) => kernelKey.test(e.key));
    if (kernels.length > 0) this.kernels.publish({ revision: batch.revision, events: kernels });
    const control = batch.events.filter(
      (e) => controlPrefixes.some((p) => e.key.startsWith(p)) && !kernelKey.test(e.key),
    );
    if (control.length > 0) this.#drive({ type: "changes", revision: batch.revision, events: control });
    this.#advance(batch.revision);
    for (const e of batch.events) if (e.kv && e.key.startsWith(keys.events)) this.events.publish(e.kv);
  }

  #advance(revision: number): void {
    this.#applied = Math.max(this.#applied, revision);
    for (const waiter of this.#waiters) {
      if (waiter.revision > this.#applied) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  #perform(effect: ControlEffect): void {
    switch (effect.type) {
      case "txn":
        void this.#execute(effect);
        break;
      case "desired":
        if (this.#options.mayOrder()) this.#options.onDesired(effect.node, effect.desired);
        else this.#withheld.add(effect.node);
        break;
      case "replicas":
        this.#options.onReplicas(effect.node, effect.uid, effect.replicas);
        break;
      case "removed":
        this.#options.onNodeRemoved(effect.node);
        break;
      case "instance":
        this.instances.publish(effect.event);
        break;
      case "node":
        break;
      case "log":
        this.#options.log(effect.level, effect.message);
        break;
    }
  }

  #release(): void {
    if (!this.#options.mayOrder()) return;
    const nodes = [...this.#withheld];
    this.#withheld.clear();
    for (const node of nodes) {
      const desired = this.#options.controller.desiredFor(node);
      if (desired) this.#options.onDesired(node, desired);
    }
  }

  async #execute(effect: Extract<ControlEffect, { type: "txn" }>): Promise<void> {
    const { store, leader } = this.#options;
    let outcome: "applied" | "conflict" | "unknown" | "failed" = "failed";
    try {
      const result = await store.txn({ ...effect.txn, if: [leader, ...effect.txn.if] });
      this.#note("");
      outcome = result.succeeded ? "applied" : "conflict";
      if (!result.succeeded) await this.#checkLeadership();
    } catch (e) {
      if (!(e instanceof StoreError)) throw e;
      if (e.code === "UNKNOWN_OUTCOME") outcome = "unknown";
      this.#note(e.message);
    }
    this.#drive({ type: "txnDone", id: effect.id, nowMs: performance.now(), outcome });
  }

  async #checkLeadership(): Promise<void> {
    const { store, leader } = this.#options;
    const kv = await store.get(leader.key).catch(() => undefined);
    if (kv === undefined) return; // the store did not answer: nothing is known
    if (kv?.createRevision !== leader.value) this.#end("another coordinator has taken over");
  }

  /** Each trouble once, and its end: a controller asks again and again. */
  #note(trouble: string): void {
    if (this.#stop.signal.aborted || (trouble === "") === (this.#trouble === "")) return;
    this.#trouble = trouble;
    if (trouble === "") this.#options.log("info", "the store answers again");
    else this.#options.log("warn", `the store does not do what it is asked for: ${trouble}`);
  }
}
