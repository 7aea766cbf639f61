/**
 * One container as this ingress reaches it: its health, its connections, its counters. Lives as long as its
 * incarnation is in the table, and after that until its last request has ended.
 */
import { type StreamFailure, type Target, connect } from "../platform/tcp.ts";
import type { Admission, AdmissionUpstream } from "./admission-machine.ts";
import { isHealthy } from "./balancing-machine.ts";
import { mayOpen } from "./connecting-machine.ts";
import { type Health, newHealth } from "./health-machine.ts";
import { upstreamIdleConnectionsMax } from "./ingress-limits.ts";
import type { LoadLimits } from "./load-limits.ts";
import { UpstreamLink } from "./upstream-link.ts";

export interface UpstreamIdentity {
  uid: string;
  node: string;
  incarnation: string;
  local: boolean;
  instance: string;
}

export interface UpstreamOptions {
  /** Tells it from all others: instance, node, incarnation, address. */
  key: string;
  identity: UpstreamIdentity;
  /** Asked for each connection, so that renewed certificates are used at once. */
  target: () => Target;
  /** The line of its instance. */
  admission: Admission<Upstream>;
  limits: LoadLimits;
  now: () => number;
  /** A connection failed with a request on it, or could not be established; `silent`: not in time. */
  onFailed: (upstream: Upstream, reason: string, silent: boolean) => void;
  /** A connection without a request was closed. */
  onIdleClosed: (upstream: Upstream) => void;
}

export class Upstream implements AdmissionUpstream {
  readonly #options: UpstreamOptions;
  /** On this node. */
  readonly local: boolean;
  readonly health: Health;
  requests = 0;
  connectFailedCount = 0;
  /** No longer in the table: gets no new requests. */
  removed = false;
  /** Why the last connection that could not be established could not. */
  #connectFailure = "";
  #connectAgainAt = 0;
  readonly busy: Set<UpstreamLink> = new Set();
  /** Of the busy ones, those that last and do not count as connections. */
  #tunnels = 0;
  readonly #connecting = new Set<UpstreamLink>();
  /** Most recently used last. Those opened ahead of requests are first, so that they are used last. */
  readonly #idle: UpstreamLink[] = [];

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.local = options.identity.local;
    this.health = newHealth(options.now());
  }

  get key(): string {
    return this.#options.key;
  }

  get identity(): UpstreamIdentity {
    return this.#options.identity;
  }

  get target(): () => Target {
    return this.#options.target;
  }

  /** For people: `the container of "web" on node n2`. */
  get description(): string {
    const { instance, node, local } = this.identity;
    return `the container of ${JSON.stringify(instance)} on ${local ? "this node" : `node ${node}`}`;
  }

  /** Why it gets no requests, for people. */
  get failure(): string {
    return this.health.reason || this.#connectFailure;
  }

  // ---- what its line asks

  get connecting(): number {
    return this.#connecting.size;
  }

  get inUse(): number {
    return this.busy.size - this.#tunnels;
  }

  get #open(): number {
    return this.inUse + this.#idle.length;
  }

  get full(): boolean {
    return this.#open + this.connecting >= this.#options.limits.upstreamConnectionsMax;
  }

  hasIdle(sinceMs: number): boolean {
    const link = this.#idle.at(-1);
    return link !== undefined && link.idleSince >= sinceMs;
  }

  mayConnect(nowMs: number): boolean {
    if (this.removed || nowMs < this.#connectAgainAt) return false;
    const counts = { open: this.#open, connecting: this.connecting, healthy: isHealthy(this) };
    return mayOpen(counts, this.#options.limits);
  }

  connect(nowMs: number): void {
    const link = new UpstreamLink(this);
    link.connectDeadline = nowMs + this.#options.limits.connectTimeoutMs;
    this.#connecting.add(link);
    link.stream = connect(this.#options.target(), link);
  }

  // ---- what its connections tell

  linkOpened(link: UpstreamLink): void {
    const { admission, now } = this.#options;
    const nowMs = now();
    this.#connecting.delete(link);
    link.idleSince = nowMs;
    if (admission.waiting > 0) this.#idle.push(link);
    else this.#idle.unshift(link);
    admission.freed(this, nowMs);
    admission.pump(nowMs);
  }

  /** It could not be established. */
  linkFailed(link: UpstreamLink, failure: StreamFailure | null): void {
    this.#connecting.delete(link);
    this.#connectFailed(failure?.code ?? "", failure?.message ?? "it closed the connection", false);
  }

  #connectFailed(code: string, message: string, silent: boolean): void {
    const { admission, limits, now, onFailed } = this.#options;
    const nowMs = now();
    this.#connectAgainAt = nowMs + limits.connectAgainMs;
    this.#connectFailure = code || message;
    // What this host process lacks says nothing of the upstream.
    if (ownShortages.has(code)) return;
    onFailed(this, this.#connectFailure, silent);
    admission.connectFailed(this, nowMs);
  }

  /** A request failed with its connection. */
  requestFailed(reason: string): void {
    this.#options.onFailed(this, reason, false);
  }

  /** A connection without a request was closed: often the first sign. */
  idleClosed(): void {
    this.#options.onIdleClosed(this);
  }

  /** To be called some dozen times a second. `lateMs`: what our own loop was late by. */
  tick(nowMs: number, lateMs: number): void {
    if (this.#connecting.size === 0) return;
    for (const link of Array.from(this.#connecting)) {
      link.connectDeadline += lateMs;
      if (nowMs < link.connectDeadline) continue;
      link.abandon();
      this.#connectFailed("", "it did not accept a connection in time", true);
    }
  }

  // ---- what requests do

  /** To be called after hasIdle(). */
  take(): UpstreamLink {
    const link = this.#idle.pop()!;
    link.reused = link.served;
    link.served = true;
    this.busy.add(link);
    this.requests++;
    return link;
  }

  release(link: UpstreamLink): void {
    const { admission, now } = this.#options;
    link.exchange = null;
    if (this.removed || (this.#idle.length >= upstreamIdleConnectionsMax && admission.waiting === 0)) {
      link.discard();
      return;
    }
    const nowMs = now();
    this.busy.delete(link);
    link.idleSince = nowMs;
    link.stream.resume();
    this.#idle.push(link);
    admission.freed(this, nowMs);
  }

  becomesTunnel(link: UpstreamLink): void {
    link.tunnel = true;
    this.#tunnels++;
  }

  /** The link has ended, or its user gives it up. */
  forget(link: UpstreamLink): void {
    if (this.busy.delete(link)) {
      if (link.tunnel) this.#tunnels--;
    } else if (!this.#connecting.delete(link)) {
      const i = this.#idle.indexOf(link);
      if (i >= 0) this.#idle.splice(i, 1);
    }
    // There may be room for another.
    const { admission, now } = this.#options;
    if (admission.waiting > 0) admission.pump(now());
  }

  /** Closes connections that were idle for longer than `idleMsMax`. */
  closeIdle(idleMsMax: number, nowMs: number): void {
    if (this.#idle.length === 0) return;
    for (const link of this.#idle.filter(({ idleSince }) => nowMs - idleSince >= idleMsMax)) link.discard();
  }

  /** Gives up connections that are being established. */
  stopConnecting(): void {
    for (const link of Array.from(this.#connecting)) link.abandon();
  }

  /** Opens connections ahead of requests, up to as many as are kept warm. */
  warm(nowMs: number): void {
    if (this.health.status !== "healthy") return;
    while (this.#open + this.connecting < this.#options.limits.warmConnections && this.mayConnect(nowMs)) {
      this.connect(nowMs);
    }
  }
}

/** Files, ports, memory, and EAGAIN, the full backlog of a Unix socket: it lives, and has much to do. */
const ownShortages: ReadonlySet<string> = new Set([
  ...["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS", "ENOMEM", "EAGAIN"],
]);
