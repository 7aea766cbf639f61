/** A controller on a test bench: a store of a few rows, agents that report what they are told to report. */
import type {
  ContainerReport,
  Desired,
  PortReport,
  ReplicaReport,
  Report,
} from "../../../core/agent-protocol.ts";
import {
  Controller,
  type ControlEffect,
  type ControlEvent,
  type TxnKind,
} from "../../../core/control/controller.ts";
import {
  type ConfigurationRecord,
  InstanceRecord,
  InstanceSpec,
  keys,
  NodeRecord,
} from "../../../core/records.ts";
import type { ReplicaRecord } from "../../../core/records.ts";
import type { ReplicaStatus } from "../../../core/state/replica-status.ts";
import { holds } from "../../../core/store/compare.ts";
import { MemoryTable } from "../../../core/store/memory/memory-table.ts";
import type { Txn, WatchEvent } from "../../../core/store/store.ts";

export const limits = { nodeDownMs: 2_000, replaceAfterMs: 30_000, portFailedMs: 2_000, txnRetryMs: 500 };

type TxnEffect = Extract<ControlEffect, { type: "txn" }>;

export class Bench {
  readonly table = new MemoryTable();
  controller: Controller;
  nowMs = 10_000;
  wallMs = 1_700_000_000_000;
  /** All effects since the last `take`. */
  effects: ControlEffect[] = [];
  /** False: transactions wait in `waiting` to be applied or lost by the test. */
  autoApply = true;
  readonly waiting: TxnEffect[] = [];
  readonly #ids = { next: 0 };
  readonly #sequences = new Map<string, number>();

  constructor() {
    this.controller = this.#newController();
  }

  #newController(): Controller {
    const random = () => `id${++this.#ids.next}`;
    return new Controller({ clusterId: "test", holder: "c1", random, limits });
  }

  /** Another coordinator, or the same one restarted, takes over with what the store has. */
  lead(): void {
    this.controller = this.#newController();
    this.waiting.length = 0;
    this.step({ type: "start", nowMs: this.nowMs, wallMs: this.wallMs, storeGeneration: 1 });
    const kvs = this.table.list("/", "", Infinity, this.table.revision);
    this.step({ type: "snapshot", revision: this.table.revision, kvs });
  }

  step(event: ControlEvent): ControlEffect[] {
    const effects = this.controller.step(event);
    this.effects.push(...effects);
    for (const effect of effects) {
      if (effect.type !== "txn") continue;
      this.waiting.push(effect);
      if (this.autoApply) this.apply(effect);
    }
    return effects;
  }

  /** Carries out a waiting transaction; `answer` false loses the answer. */
  apply(effect: TxnEffect, answer = true): boolean {
    this.waiting.splice(this.waiting.indexOf(effect), 1);
    const succeeded = this.write(effect.txn);
    const outcome = !answer ? "unknown" : succeeded ? "applied" : "conflict";
    this.step({ type: "txnDone", id: effect.id, nowMs: this.nowMs, outcome });
    return succeeded;
  }

  write(txn: Txn): boolean {
    if (!txn.if.every((compare) => holds(compare, this.table.get(compare.key)))) return false;
    const revision = this.table.revision + 1;
    const events: WatchEvent[] = [];
    for (const operation of txn.then) {
      const before = this.table.get(operation.key);
      if (operation.type === "put") {
        const { key, value } = operation;
        const createRevision = before?.createRevision ?? revision;
        const version = (before?.version ?? 0) + 1;
        const kv = { key, value, createRevision, modRevision: revision, version, lease: null };
        this.table.put(kv);
        events.push({ type: "put", key, kv });
      } else if (operation.type === "delete" && before) {
        this.table.delete(operation.key, revision);
        events.push({ type: "delete", key: operation.key, kv: null });
      }
    }
    this.step({ type: "changes", revision, events });
    return true;
  }

  put(key: string, value: unknown): void {
    this.write({ if: [], then: [{ type: "put", key, value: JSON.stringify(value) }] });
  }

  node(id: string, change: Partial<NodeRecord> = {}): void {
    const address = `10.0.0.${id.slice(1)}`;
    this.put(
      keys.node(id),
      NodeRecord.parse({ id, name: id, address, labels: {}, schedulable: true, joinedAt: "", ...change }),
    );
  }

  instance(
    name: string,
    spec: Partial<InstanceSpec> & { ports?: number[] } = {},
    change = {},
  ): InstanceRecord {
    const { ports = [], ...rest } = spec;
    const record = InstanceRecord.parse({
      tenant: "default",
      name,
      uid: `u-${name}`,
      spec: { os: "web", nodes: 1, publish: ports.map((port) => ({ port })), ...rest },
      generation: 1,
      desired: "running",
      phase: "creating",
      placement: [],
      createdAt: "",
      ...change,
    });
    const owner = { tenant: "default", instance: name, uid: record.uid };
    this.write({
      if: [],
      then: [
        { type: "put", key: keys.instance("default", name), value: JSON.stringify(record) },
        ...ports.map((port) => ({
          type: "put" as const,
          key: keys.port(port),
          value: JSON.stringify(owner),
        })),
      ],
    });
    return record;
  }

  record(name: string): InstanceRecord | null {
    const kv = this.table.get(keys.instance("default", name));
    return kv && InstanceRecord.parse(JSON.parse(kv.value));
  }

  change(name: string, change: Partial<InstanceRecord>): void {
    this.put(keys.instance("default", name), { ...this.record(name), ...change });
  }

  /** A state process of the node has registered. */
  register(name: string, node: string): void {
    const record: ReplicaRecord = {
      ...{ node, disk: diskOf(node), incarnation: `${node}-a`, unix: "/s", host: `10.0.0.${node.slice(1)}` },
      ...{ port: 7_000, exits: [] },
    };
    this.put(keys.replica("default", `u-${name}`, node), record);
  }

  /** What the replicas have agreed on; the first of the nodes is the primary. */
  configure(name: string, nodes: string[], epoch = 1): void {
    const key = keys.configuration("default", `u-${name}`);
    const before = this.table.get(key);
    const version = before ? (JSON.parse(before.value) as ConfigurationRecord).version + 1 : 1;
    const primary = { disk: diskOf(nodes[0]!), incarnation: `${nodes[0]}-a` };
    const inSync = nodes.map(diskOf).sort();
    const configuration = { epoch, generation: 1, primary, inSync, changeId: `change-${version}` };
    this.put(key, { version, configuration, changes: [] } satisfies ConfigurationRecord);
  }

  view(name: string) {
    return this.controller.instanceView("default", name);
  }

  desired(node: string): Desired | null {
    return this.controller.desiredFor(node);
  }

  /** A heartbeat; with a report of what is given, and of the newest Desired as applied. */
  beat(node: string, report?: Partial<Report>, incarnation = "a1"): ControlEffect[] {
    const sequence = (this.#sequences.get(`${node}/${incarnation}`) ?? 0) + 1;
    this.#sequences.set(`${node}/${incarnation}`, sequence);
    const whole = report && { ...emptyReport, revision: this.desired(node)?.revision ?? 0, ...report };
    return this.step({ type: "heartbeat", nowMs: this.nowMs, node, incarnation, sequence, report: whole });
  }

  /** An agent that does at once whatever its Desired says. */
  obey(...nodes: string[]): void {
    for (const node of nodes) {
      const containers = this.desired(node)?.containers.map(({ uid }) => container(uid, node)) ?? [];
      const ports = this.desired(node)?.routes.map(({ port, uid }) => openPort(port, uid)) ?? [];
      const replicas = this.desired(node)?.replicas.map(({ uid, run }) => replica(uid, node, { run })) ?? [];
      this.beat(node, { containers, replicas, ports });
    }
  }

  /** Time passes, the given nodes send heartbeats. */
  pass(ms: number, ...beating: string[]): void {
    for (let left = ms; left > 0; left -= 100) {
      this.nowMs += 100;
      this.wallMs += 100;
      for (const node of beating) this.beat(node);
      this.step({ type: "tick", nowMs: this.nowMs, wallMs: this.wallMs, lagMs: 0 });
    }
  }

  /** What it did since the last take: kinds of transactions. */
  kinds(): TxnKind[] {
    const kinds = this.effects.flatMap((effect) => (effect.type === "txn" ? [effect.kind] : []));
    this.effects = [];
    return kinds;
  }
}

/** A cluster of so many nodes, all heard of. */
export function bench(nodes = 3, change: (id: string) => Partial<NodeRecord> = () => ({})): Bench {
  const b = new Bench();
  b.lead();
  for (let i = 1; i <= nodes; i++) b.node(`n${i}`, change(`n${i}`));
  for (let i = 1; i <= nodes; i++) b.beat(`n${i}`, {});
  b.effects = [];
  return b;
}

export const all = ["n1", "n2", "n3", "n4"];

/** Of node `n2` the disk is 222… */
export const diskOf = (node: string) => node.slice(1).repeat(32).slice(0, 32);

export function replica(
  uid: string,
  node: string,
  { run = true, status = {}, ...change }: Partial<Omit<ReplicaReport, "status">> & ReplicaChange = {},
): ReplicaReport {
  const figures = { index: 10, committed: 10, applied: 10, diskBytes: 100 };
  return {
    ...{ tenant: "default", instance: uid.slice(2), uid, generation: 1, disk: diskOf(node) },
    ...{ incarnation: `${node}-a`, state: run ? "ready" : "kept", reason: "", permanent: false },
    ...{ pid: 1, restarts: 0, startedAt: "" },
    status: run
      ? { role: "backup", serving: true, epoch: 1, durability: "fsync", problem: "", ...figures, ...status }
      : null,
    ...change,
  };
}

interface ReplicaChange {
  run?: boolean;
  status?: Partial<ReplicaStatus>;
}

export function container(uid: string, node: string, change: Partial<ContainerReport> = {}): ContainerReport {
  return {
    tenant: "default",
    instance: uid.slice(2),
    uid,
    incarnation: `${uid}@${node}`,
    generation: 1,
    state: "ready",
    reason: "",
    permanent: false,
    pid: 1,
    port: 4_000,
    restarts: 0,
    startedAt: "",
    requests: 0,
    ...change,
  };
}

export function openPort(port: number, uid: string): PortReport {
  return { port, uid, state: "open", reason: "" };
}
export function failedPort(port: number, uid: string): PortReport {
  return { port, uid, state: "failed", reason: "address in use" };
}

export const emptyReport: Report = {
  version: "1",
  runtime: "test",
  bootId: "b",
  cpus: 1,
  memoryBytes: 1,
  diskFreeBytes: 1,
  revision: 0,
  containers: [],
  replicas: [],
  ports: [],
  ingressRequests: 0,
  warnings: [],
};
