/**
 * Runs the controller (core/control, a pure machine) on the real world: feeds it the store's changes, heartbeats
 * and ticks, and carries out what it wants. The controller never waits; everything that does is here.
 */
import type { Controller, ControlEffect, ControlEvent } from "../control/controller.ts";
import { keys } from "../records.ts";
import { StoreError, type Compare, type KeyValue, type Store, type WatchBatch } from "../store/store.ts";
import { DvsError } from "../errors.ts";
import { Topic } from "./topic.ts";
import type { InstanceWatchEvent } from "../api/views.ts";
import type { Desired } from "../agent-protocol.ts";

const tickMs = 100;
/** What the controller reads of the store. */
const controlPrefixes = [keys.nodes, keys.tenants, keys.ports];

export interface DriverOptions {
  store: Store;
  storeGeneration: number;
  controller: Controller;
  leader: Compare;
  onDesired(node: string, desired: Desired): void;
  onNodeRemoved(node: string): void;
  /** The leader compare failed: another coordinator acts, this one must stop. */
  onDeposed(): void;
  log(level: "info" | "warn" | "error", message: string): void;
}

export class Driver {
  readonly instances = new Topic<InstanceWatchEvent>();
  /** Changes below /ev/. */
  readonly events = new Topic<KeyValue>();
  #options: DriverOptions;
  #stop = new AbortController();
  #applied = 0;
  #waiters: { revision: number; resolve(): void }[] = [];
  #ticker: ReturnType<typeof setInterval> | undefined;

  constructor(options: DriverOptions) {
    this.#options = options;
  }

  /** Resolves when the controller has the whole state; then it acts until `close`. */
  async start(): Promise<void> {
    const { storeGeneration } = this.#options;
    this.step({ type: "start", nowMs: performance.now(), wallMs: Date.now(), storeGeneration });
    await this.#snapshot();
    void this.#follow();
    let lastMs = performance.now();
    this.#ticker = setInterval(() => {
      const nowMs = performance.now();
      const lagMs = Math.max(0, nowMs - lastMs - tickMs);
      lastMs = nowMs;
      this.step({ type: "tick", nowMs, wallMs: Date.now(), lagMs });
    }, tickMs);
  }

  close(): void {
    clearInterval(this.#ticker);
    this.#stop.abort();
    for (const w of this.#waiters.splice(0)) w.resolve();
  }

  step(event: ControlEvent): void {
    for (const effect of this.#options.controller.step(event)) this.#perform(effect);
  }

  /** Resolves when the controller has seen the revision: what a caller wrote, it then reads. */
  async seen(revision: number): Promise<void> {
    if (this.#applied >= revision || this.#stop.signal.aborted) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve, reject) => {
      this.#waiters.push({ revision, resolve });
      timer = setTimeout(
        () =>
          reject(
            new DvsError("UNAVAILABLE", "The change is stored, but the coordinator lags behind its store."),
          ),
        5_000,
      );
    }).finally(() => clearTimeout(timer));
  }

  async #snapshot(): Promise<void> {
    const { store } = this.#options;
    const first = await store.range(controlPrefixes[0]!);
    const kvs = [...first.kvs];
    for (const prefix of controlPrefixes.slice(1)) {
      kvs.push(...(await store.range(prefix, { revision: first.revision })).kvs);
    }
    this.step({ type: "snapshot", revision: first.revision, kvs });
    this.#advance(first.revision);
  }

  async #follow(): Promise<void> {
    const { store, log } = this.#options;
    const signal = this.#stop.signal;
    while (!signal.aborted) {
      try {
        for await (const batch of store.watch("/", this.#applied + 1, signal)) this.#apply(batch);
      } catch (e) {
        if (signal.aborted) return;
        if (e instanceof StoreError && e.code === "COMPACTED") await this.#snapshot().catch(() => undefined);
        else log("warn", `store: ${e instanceof Error ? e.message : String(e)}`);
        await new Promise((r) => setTimeout(r, 200));
      }
    }
  }

  #apply(batch: WatchBatch): void {
    const control = batch.events.filter((e) => controlPrefixes.some((p) => e.key.startsWith(p)));
    if (control.length > 0) this.step({ type: "changes", revision: batch.revision, events: control });
    this.#advance(batch.revision);
    for (const e of batch.events) if (e.kv && e.key.startsWith(keys.events)) this.events.publish(e.kv);
  }

  #advance(revision: number): void {
    this.#applied = Math.max(this.#applied, revision);
    const ready = this.#waiters.filter((w) => w.revision <= this.#applied);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter((w) => w.revision > this.#applied);
    for (const w of ready) w.resolve();
  }

  #perform(effect: ControlEffect): void {
    switch (effect.type) {
      case "txn":
        void this.#execute(effect);
        break;
      case "desired":
        this.#options.onDesired(effect.node, effect.desired);
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

  async #execute(effect: Extract<ControlEffect, { type: "txn" }>): Promise<void> {
    const { store, leader } = this.#options;
    let outcome: "applied" | "conflict" | "unknown" | "failed" = "failed";
    try {
      const result = await store.txn({ ...effect.txn, if: [leader, ...effect.txn.if] });
      outcome = result.succeeded ? "applied" : "conflict";
      if (!result.succeeded) await this.#checkLeadership();
    } catch (e) {
      if (!(e instanceof StoreError)) throw e;
      if (e.code === "UNKNOWN_OUTCOME") outcome = "unknown";
      this.#options.log("warn", `store: ${e.message}`);
    }
    if (!this.#stop.signal.aborted) {
      this.step({ type: "txnDone", id: effect.id, nowMs: performance.now(), outcome });
    }
  }

  async #checkLeadership(): Promise<void> {
    const { store, leader, onDeposed } = this.#options;
    const kv = await store.get(leader.key).catch(() => undefined);
    if (kv === undefined) return; // the store did not answer: nothing is known
    if (kv?.createRevision !== leader.value) onDeposed();
  }
}
