/**
 * A coordinator of a simulated cluster: it campaigns for leadership and drives the real Controller, as
 * core/coordinator does it over real sockets. Faults strike around each transaction of the controller.
 */
import type { Heartbeat, ToAgent } from "../../../core/agent-protocol.ts";
import {
  Controller,
  type ControlEffect,
  type ControlEvent,
  type TxnOutcome,
} from "../../../core/control/controller.ts";
import { leaderRenewMs, leaderStaleMs } from "../../../core/limits.ts";
import { keys, type LeaderRecord } from "../../../core/records.ts";
import type { Compare, TxnResult } from "../../../core/store/store.ts";
import type { Host } from "../harness/host.ts";
import type { Stream } from "../harness/stream.ts";
import type { ControlWorld } from "./control-world.ts";
import type { HeartbeatReply } from "./sim-agent.ts";
import type { ToWatcher } from "./sim-store.ts";

const tickMs = 100;
const answerTimeoutMs = 1_000;

export const simLimits = { nodeDownMs: 2_000, replaceAfterMs: 4_000, portFailedMs: 2_000, txnRetryMs: 500 };

/** One time in office. */
interface Term {
  leader: Compare;
  controller: Controller;
  loaded: boolean;
  applied: number;
  startedMs: number;
  watch: Stream<never, ToWatcher> | null;
  agents: Map<string, Stream<ToAgent, never>>;
}

export class SimCoordinator {
  readonly world: ControlWorld;
  readonly id: string;
  readonly host: Host;
  term: Term | null = null;
  /** Beat of the rival's key, and since when it has not moved by our clock. */
  #seen = { beat: "", sinceMs: 0 };

  constructor(world: ControlWorld, id: string) {
    this.world = world;
    this.id = id;
    this.host = world.sim.host(id);
  }

  /** Names this life of it. */
  get holder(): string {
    return `${this.id}#${this.host.life}`;
  }

  start(): void {
    this.world.sim.log(`${this.id} starts`);
    this.host.start();
    this.#seen = { beat: "", sinceMs: 0 };
    this.host.every(leaderRenewMs, () => this.#campaign());
    this.#campaign();
  }

  crash(): void {
    this.world.sim.log(`${this.id} crashes`);
    this.host.crash();
    for (const stream of this.term?.agents.values() ?? []) stream.close();
    this.term = null;
  }

  handleHeartbeat(node: string, beat: Heartbeat): HeartbeatReply {
    const { term } = this;
    if (!term?.loaded) return { leader: false, reportWanted: false };
    this.#step(term, { type: "heartbeat", nowMs: this.host.nowMs(), node, ...beat });
    return { leader: true, reportWanted: term.controller.reportWanted(node, beat.incarnation) };
  }

  /** An agent opened its stream. */
  listen(node: string, stream: Stream<ToAgent, never>): void {
    const { term } = this;
    // Who is not in the store is told so by whichever coordinator it asks.
    if (!this.world.store.get(keys.node(node))) stream.send({ type: "removed" });
    else if (!term?.loaded) stream.close();
    else {
      term.agents.set(node, stream);
      const desired = term.controller.desiredFor(node);
      if (desired) stream.send({ type: "desired", desired });
    }
  }

  #campaign(): void {
    const { store, sim } = this.world;
    const { holder } = this;
    if (this.term) {
      this.#renew(this.term);
      return;
    }
    const read = () => store.get(keys.leader);
    store.request(this.host, read, (kv) => {
      if (this.term) return;
      if (!kv) {
        const record: LeaderRecord = { holder, address: this.id, beat: 0 };
        const take = () =>
          store.txn(
            {
              if: [{ key: keys.leader, target: "create", op: "=", value: 0 }],
              then: [{ type: "put", key: keys.leader, value: JSON.stringify(record) }],
            },
            { by: holder, kind: "lead" },
          );
        // The next look tells whether it succeeded, answer or not.
        store.request(this.host, take, () => this.#campaign());
        return;
      }
      if ((JSON.parse(kv.value) as LeaderRecord).holder === holder) {
        this.#lead({ key: keys.leader, target: "create", op: "=", value: kv.createRevision });
        return;
      }
      const beat = `${kv.createRevision}/${kv.modRevision}`;
      if (this.#seen.beat !== beat) this.#seen = { beat, sinceMs: this.host.nowMs() };
      if (this.host.nowMs() - this.#seen.sinceMs < leaderStaleMs) return;
      sim.count("leader:judged stale");
      const remove = () =>
        store.txn(
          {
            if: [{ key: keys.leader, target: "mod", op: "=", value: kv.modRevision }],
            then: [{ type: "delete", key: keys.leader }],
          },
          { by: holder, kind: "depose" },
        );
      store.request(this.host, remove, () => this.#campaign());
    });
  }

  #renew(term: Term): void {
    const { store } = this.world;
    const { holder } = this;
    const record: LeaderRecord = { holder, address: this.id, beat: store.table.revision };
    const renew = () =>
      store.txn(
        { if: [term.leader], then: [{ type: "put", key: keys.leader, value: JSON.stringify(record) }] },
        { by: holder, kind: "renew" },
      );
    store.request(this.host, renew, (result) => {
      if (!result.succeeded) this.#stepDown(term);
    });
  }

  #lead(leader: Compare): void {
    const { sim } = this.world;
    sim.count("leader:changed");
    sim.log(`${this.id} leads`);
    const controller = new Controller({
      clusterId: "sim",
      holder: this.holder,
      random: () => sim.random.id(),
      limits: simLimits,
    });
    const term: Term = {
      leader,
      controller,
      loaded: false,
      applied: 0,
      startedMs: sim.nowMs,
      watch: null,
      agents: new Map(),
    };
    this.term = term;
    const { host } = this;
    this.#step(term, { type: "start", nowMs: host.nowMs(), wallMs: host.wallMs(), storeGeneration: 1 });
    this.#load(term);
    this.#tick(term, host.nowMs());
    this.#ping(term);
  }

  #stepDown(term: Term): void {
    if (this.term !== term) return;
    this.world.sim.log(`${this.id} steps down`);
    this.term = null;
    for (const stream of term.agents.values()) stream.close();
    term.watch?.close();
  }

  #tick(term: Term, lastMs: number): void {
    this.host.after(tickMs, () => {
      if (this.term !== term) return;
      const nowMs = this.host.nowMs();
      const lagMs = Math.max(0, nowMs - lastMs - tickMs);
      this.#step(term, { type: "tick", nowMs, wallMs: this.host.wallMs(), lagMs });
      this.#tick(term, nowMs);
    });
  }

  #ping(term: Term): void {
    this.host.after(1_000, () => {
      if (this.term !== term) return;
      for (const stream of term.agents.values()) stream.send({ type: "ping" });
      this.#ping(term);
    });
  }

  #load(term: Term): void {
    const { store } = this.world;
    const read = () => ({
      revision: store.table.revision,
      kvs: [keys.nodes, keys.tenants, keys.ports].flatMap((prefix) => store.range(prefix)),
    });
    let loaded = false;
    store.request(this.host, read, ({ revision, kvs }) => {
      if (this.term !== term || loaded) return;
      loaded = true;
      this.#step(term, { type: "snapshot", revision, kvs });
      term.loaded = true;
      term.applied = revision;
      this.#follow(term);
    });
    this.host.after(answerTimeoutMs, () => {
      if (this.term === term && !loaded) this.#load(term);
    });
  }

  #follow(term: Term): void {
    const stream = this.world.store.watch(this.host, term.applied + 1);
    term.watch = stream;
    stream.onMessage = (message) => {
      if (this.term !== term || stream !== term.watch) return;
      if (message.type === "compacted") {
        this.world.sim.count("watch:compacted");
        term.watch = null;
        stream.close();
        this.#load(term);
        return;
      }
      const { revision, events } = message.batch;
      if (revision <= term.applied) return;
      term.applied = revision;
      this.#step(term, { type: "changes", revision, events });
    };
    stream.onClose = () => {
      if (this.term === term && stream === term.watch) this.host.after(200, () => this.#follow(term));
    };
    // A watch whose request was lost, or whose store has gone silent, is made anew.
    this.host.after(3_000, () => {
      if (this.term !== term || stream !== term.watch) return;
      stream.close();
      this.#follow(term);
    });
  }

  #step(term: Term, event: ControlEvent): void {
    for (const effect of term.controller.step(event)) {
      // A crash at one effect is the end of the others.
      if (this.term !== term) return;
      this.#perform(term, effect);
    }
  }

  #perform(term: Term, effect: ControlEffect): void {
    const { invariants, sim } = this.world;
    switch (effect.type) {
      case "txn":
        this.#execute(term, effect);
        break;
      case "desired":
        invariants.checkDesired(effect.desired, sim.nowMs - term.startedMs);
        term.agents.get(effect.node)?.send({ type: "desired", desired: effect.desired });
        break;
      case "replicas":
        invariants.checkReplicas(effect.node, effect.uid, effect.replicas);
        break;
      case "removed":
        term.agents.get(effect.node)?.send({ type: "removed" });
        break;
      case "instance":
        if (effect.event.type === "instance") {
          const { name, phase, conditions } = effect.event.instance;
          sim.log(`${this.id} view ${name} ${phase} ${conditions.map((c) => c.message).join("; ")}`);
          for (const { reason } of conditions) sim.count(`condition:${reason}`);
        }
        break;
      case "node":
        break;
      case "log":
        sim.log(`${this.id} ${effect.level}: ${effect.message}`);
        break;
    }
  }

  #execute(term: Term, { id, kind, txn }: Extract<ControlEffect, { type: "txn" }>): void {
    const { sim, store, faults, invariants } = this.world;
    if (kind !== "event") invariants.checkSent(term.controller, kind, txn, this.host.nowMs());
    if (faults.strikes(`crash before ${kind}`)) {
      this.#crashForAWhile();
      return;
    }
    const done = (outcome: TxnOutcome) => {
      if (this.term !== term || answered) return;
      answered = true;
      this.#step(term, { type: "txnDone", id, nowMs: this.host.nowMs(), outcome });
    };
    let answered = false;
    if (faults.strikes(`refused ${kind}`)) {
      this.host.after(1, () => done("failed"));
      return;
    }
    const loses = faults.strikes(`lost answer of ${kind}`);
    const { life } = this.host;
    const run = (): TxnResult => {
      const compares = faults.mutant === "no leader compare" ? txn.if : [term.leader, ...txn.if];
      const result = store.txn({ ...txn, if: compares }, { by: `${this.id}#${life}`, kind });
      if (store.get(keys.leader)?.createRevision !== term.leader.value)
        sim.count("leader:deposed one refused");
      if (this.host.life === life && faults.strikes(`crash after ${kind}`)) this.#crashForAWhile();
      return result;
    };
    store.request(this.host, run, (result) => {
      if (loses) return;
      done(result.succeeded ? "applied" : "conflict");
      if (!result.succeeded) sim.count(`conflict:${kind}`);
    });
    this.host.after(answerTimeoutMs, () => done("unknown"));
  }

  #crashForAWhile(): void {
    const { sim } = this.world;
    this.crash();
    sim.after(sim.random.between(10, 3_000), () => {
      if (!this.host.running) this.start();
    });
  }
}
