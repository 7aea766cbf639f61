/**
 * One node's ingress, without its control link: the table becomes ports and upstreams, probes judge the upstreams,
 * requests flow. Applying a table touches only what differs from the one before.
 */
import { probeIntervalMs, probeTimeoutMs, probesFailedMax, retryBudgetShare } from "../limits.ts";
import type { PortReport } from "../agent-protocol.ts";
import { Admission } from "./admission-machine.ts";
import { ClientRoom } from "./client-room.ts";
import { Warmth } from "./connecting-machine.ts";
import type { IngressRoute, IngressTable, UpstreamHealth } from "./control.ts";
import { type HealthEvent, stepHealth } from "./health-machine.ts";
import {
  failedUpstreamWaitMs,
  healthTickMs,
  probesPerSecondMax,
  retriesPerSecond,
  retryStockMax,
  sweepMs,
  upstreamIdleMs,
} from "./ingress-limits.ts";
import { type LoadLimits, loadLimits } from "./load-limits.ts";
import { Prober } from "./prober.ts";
import { PublishedPort, type Shared } from "./published-port.ts";
import { RetryBudget } from "./retry-machine.ts";
import type { Target } from "../platform/tcp.ts";
import type { Counters } from "./routed-port.ts";
import { targetOf } from "./target.ts";
import { Upstream, type UpstreamIdentity, type UpstreamOptions } from "./upstream.ts";

export interface IngressEvents {
  portsChanged(): void;
}

/** What the ports of one instance share. */
interface Instance {
  readonly uid: string;
  readonly admission: Admission<Upstream>;
  readonly warmth: Warmth;
}

export class Ingress {
  readonly counters: Counters = { requests: 0, failures: 0, retries: 0 };
  readonly #events: IngressEvents;
  readonly #shared: Shared;
  readonly #ports = new Map<number, PublishedPort>();
  /** Closed, with clients that are still being served. */
  readonly #closing = new Set<PublishedPort>();
  /** By `keyOf`; also those that the table no longer has, until their last request has ended. */
  readonly #upstreams = new Map<string, { upstream: Upstream; prober: Prober }>();
  /** By uid. */
  readonly #instances = new Map<string, Instance>();
  readonly #limits: LoadLimits;
  readonly #timers: ReturnType<typeof setInterval>[] = [];
  #table: IngressTable | null = null;
  #lastTick: number;

  constructor(events: IngressEvents, limits: Partial<LoadLimits> = {}) {
    this.#events = events;
    this.#limits = { ...loadLimits, ...limits };
    const now = () => performance.now();
    this.#shared = {
      budget: new RetryBudget(
        { share: retryBudgetShare, perSecond: retriesPerSecond, stockMax: retryStockMax },
        now(),
      ),
      counters: this.counters,
      room: new ClientRoom(this.#limits),
      now,
      portChanged: () => this.#events.portsChanged(),
    };
    this.#lastTick = now();
    this.#timers.push(setInterval(() => this.#tick(), healthTickMs));
    this.#timers.push(setInterval(() => this.#sweep(), sweepMs));
  }

  /** Resolves when every port has been tried once. */
  async apply(table: IngressTable): Promise<void> {
    this.#table = table;
    const now = this.#shared.now();
    const wanted = new Set<string>();
    const ports = new Set<number>();
    const uids = new Set<string>();
    for (const route of table.routes) {
      ports.add(route.port);
      const instance = this.#instanceOf(route.uid);
      // Routes of one instance differ in their ports only.
      if (!uids.has(route.uid)) {
        instance.admission.setUpstreams(this.#upstreamsOf(route, table, instance, wanted), now);
      }
      uids.add(route.uid);
      let port = this.#ports.get(route.port);
      if (port && port.address !== table.node.address) {
        this.#closePort(port);
        port = undefined;
      }
      if (!port) {
        port = new PublishedPort(route.port, table.node, instance, this.#shared);
        this.#ports.set(route.port, port);
      }
      port.uid = route.uid;
      port.admission = instance.admission;
      port.nothingReason = `instance ${JSON.stringify(route.instance)} has no container that was ever ready`;
    }
    for (const [number, port] of this.#ports) if (!ports.has(number)) this.#closePort(port);
    for (const [key, { upstream }] of this.#upstreams) {
      if (wanted.has(key)) continue;
      upstream.removed = true;
      this.#maybeDrop(key, upstream);
    }
    for (const [uid, { admission }] of this.#instances) if (!uids.has(uid)) admission.setUpstreams([], now);
    await Promise.all([...this.#ports.values()].map((port) => port.tryOpen()));
  }

  #instanceOf(uid: string): Instance {
    let instance = this.#instances.get(uid);
    if (!instance) {
      instance = {
        uid,
        admission: new Admission(this.#limits),
        warmth: new Warmth(this.#shared.now()),
      };
      this.#instances.set(uid, instance);
    }
    return instance;
  }

  #upstreamsOf(
    route: IngressRoute,
    table: IngressTable,
    { admission }: Instance,
    wanted: Set<string>,
  ): Upstream[] {
    const found: Upstream[] = [];
    const add = (identity: UpstreamIdentity, at: string, target: () => Target) => {
      const key = JSON.stringify([identity.uid, identity.node, identity.incarnation, at]);
      wanted.add(key);
      let entry = this.#upstreams.get(key);
      if (!entry) {
        entry = this.#newUpstream({ key, identity, target, admission });
        this.#upstreams.set(key, entry);
      }
      entry.upstream.removed = false;
      found.push(entry.upstream);
    };
    const { uid, instance } = route;
    if (route.local) {
      const { socket, incarnation } = route.local;
      const identity = { uid, instance, node: table.node.id, incarnation, local: true };
      const target = { address: { socket }, tls: null };
      add(identity, socket, () => target);
    }
    for (const remote of route.upstreams) {
      // The local one is reached by its socket; without one it is not ready.
      if (remote.node === table.node.id) continue;
      const identity = { uid, instance, node: remote.node, incarnation: remote.incarnation, local: false };
      const target = () => targetOf(remote, route.uri, this.#table!.tls);
      add(identity, `${remote.host}:${remote.port}`, target);
    }
    return found;
  }

  #newUpstream(options: Pick<UpstreamOptions, "key" | "identity" | "target" | "admission">): {
    upstream: Upstream;
    prober: Prober;
  } {
    const upstream = new Upstream({
      ...options,
      limits: this.#limits,
      now: this.#shared.now,
      onFailed: (it, reason, silent) => this.#health(it, { type: "connectionFailed", reason, silent }),
      onIdleClosed: (it) => this.#health(it, { type: "connectionClosed" }),
    });
    const prober = new Prober(options.target, (wrong) =>
      this.#health(upstream, wrong === null ? { type: "probeGood" } : { type: "probeBad", reason: wrong }),
    );
    return { upstream, prober };
  }

  get ports(): PortReport[] {
    return [...this.#ports.values()].map((port) => port.report);
  }

  /** Where a published port really listens; 0 when it does not. */
  boundPort(port: number): number {
    return this.#ports.get(port)?.boundPort ?? 0;
  }

  get upstreams(): UpstreamHealth[] {
    return [...this.#upstreams.values()]
      .filter(({ upstream }) => !upstream.removed)
      .map(({ upstream: { identity, health, requests } }) => ({
        uid: identity.uid,
        node: identity.node,
        incarnation: identity.incarnation,
        healthy: health.status === "healthy" || health.status === "untested",
        reason: health.reason,
        requests,
      }));
  }

  /** Accepts nothing new and finishes what is under way, for graceMs at most. */
  async stop(graceMs: number): Promise<void> {
    for (const port of this.#ports.values()) this.#closePort(port);
    const until = this.#shared.now() + graceMs;
    while (this.#shared.room.size > 0 && this.#shared.now() < until) {
      for (const port of this.#closing) for (const client of port.clients) client.closeIfIdle();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const port of this.#closing) port.destroyClients();
    for (const timer of this.#timers) clearInterval(timer);
    for (const { upstream, prober } of this.#upstreams.values()) {
      prober.close();
      upstream.removed = true;
      upstream.stopConnecting();
      upstream.closeIdle(0, Infinity);
    }
  }

  #closePort(port: PublishedPort): void {
    port.close();
    this.#ports.delete(port.port);
    this.#closing.add(port);
  }

  /** How far apart the probes of one upstream are, with as many as there are. */
  #intervalMs(): number {
    return Math.max(probeIntervalMs, (this.#upstreams.size * 1_000) / probesPerSecondMax);
  }

  #tick(): void {
    const now = this.#shared.now();
    const lateMs = Math.max(0, now - this.#lastTick - healthTickMs);
    this.#lastTick = now;
    for (const { upstream } of this.#upstreams.values()) {
      this.#health(upstream, { type: "tick", lateMs });
      upstream.tick(now, lateMs);
    }
    for (const { admission } of this.#instances.values()) admission.tick(now, lateMs);
  }

  #health(upstream: Upstream, event: HealthEvent): void {
    const entry = this.#entryOf(upstream);
    if (!entry) return;
    const now = this.#shared.now();
    const effects = stepHealth(upstream.health, event, now, {
      probeIntervalMs: this.#intervalMs(),
      probeTimeoutMs,
      probesFailedMax,
    });
    for (const effect of effects) {
      if (effect === "probe") entry.prober.probe();
      else if (effect === "cancelProbe") entry.prober.cancel();
      else if (effect === "failed") this.#cancel(upstream, false);
      else if (effect === "changed") this.#instances.get(upstream.identity.uid)?.admission.pump(now);
    }
  }

  #entryOf(upstream: Upstream): { upstream: Upstream; prober: Prober } | undefined {
    return this.#upstreams.get(upstream.key);
  }

  #cancel(upstream: Upstream, last: boolean): void {
    // A copy: each retry takes its link out of the set.
    for (const link of Array.from(upstream.busy)) {
      link.exchange?.upstreamFailed(upstream.health.reason, last);
    }
  }

  #maybeDrop(key: string, upstream: Upstream): void {
    upstream.stopConnecting();
    upstream.closeIdle(0, Infinity);
    if (upstream.busy.size > 0) return;
    this.#upstreams.get(key)?.prober.close();
    this.#upstreams.delete(key);
  }

  #isInUse(uid: string): boolean {
    for (const port of this.#ports.values()) if (port.uid === uid) return true;
    for (const { upstream } of this.#upstreams.values()) if (upstream.identity.uid === uid) return true;
    return false;
  }

  #sweep(): void {
    const now = this.#shared.now();
    for (const port of this.#ports.values()) {
      port.sweep(now);
      void port.tryOpen();
    }
    for (const port of this.#closing) {
      port.sweep(now);
      if (port.clients.size === 0) this.#closing.delete(port);
    }
    for (const [key, { upstream }] of this.#upstreams) {
      upstream.closeIdle(upstreamIdleMs, now);
      if (upstream.health.status === "failed") {
        this.#cancel(upstream, now - upstream.health.since > failedUpstreamWaitMs);
      }
      if (upstream.removed) this.#maybeDrop(key, upstream);
    }
    for (const { uid, admission, warmth } of this.#instances.values()) {
      // Upstreams that still have requests under way may come back, and belong to this line.
      if (admission.upstreams.length === 0 && !this.#isInUse(uid)) this.#instances.delete(uid);
      if (!warmth.isWarm(admission.orders, now)) continue;
      for (const upstream of admission.upstreams) upstream.warm(now);
    }
  }
}
