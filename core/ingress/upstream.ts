/**
 * One container as this ingress reaches it: its health, its connections, its counters. Lives as long as its
 * incarnation is in the table, and after that until its last request has ended.
 */
import { type Target, connect } from "../platform/tcp.ts";
import { type Health, newHealth } from "./health-machine.ts";
import { upstreamConnectionsMax, upstreamIdleConnectionsMax } from "./ingress-limits.ts";
import { UpstreamLink } from "./upstream-link.ts";

export interface UpstreamIdentity {
  uid: string;
  node: string;
  incarnation: string;
  local: boolean;
  instance: string;
}

export class Upstream {
  /** Tells it from all others: instance, node, incarnation, address. */
  readonly key: string;
  readonly identity: UpstreamIdentity;
  /** On this node. */
  readonly local: boolean;
  readonly health: Health;
  /** Whom to tell that a connection failed (with a request on it) or was closed (without one). */
  readonly onTrouble: (upstream: Upstream, reason: string, inUse: boolean) => void;
  requests = 0;
  failedAt = 0;
  /** No longer in the table: gets no new requests. */
  removed = false;
  readonly busy: Set<UpstreamLink> = new Set();
  /** Most recently used last. */
  readonly #idle: UpstreamLink[] = [];
  /** Asked for each connection, so that renewed certificates are used at once. */
  readonly target: () => Target;

  constructor(
    key: string,
    identity: UpstreamIdentity,
    target: () => Target,
    nowMs: number,
    onTrouble: (upstream: Upstream, reason: string, inUse: boolean) => void,
  ) {
    this.key = key;
    this.identity = identity;
    this.local = identity.local;
    this.target = target;
    this.health = newHealth(nowMs);
    this.onTrouble = onTrouble;
  }

  /** For people: `the container of "web" on node n2`. */
  get description(): string {
    const { instance, node, local } = this.identity;
    return `the container of ${JSON.stringify(instance)} on ${local ? "this node" : `node ${node}`}`;
  }

  /**
   * An open connection that was idle for at most `idleMsMax`, else a new one that is still connecting; null when
   * the upstream has as many as it may have.
   */
  take(idleMsMax: number, nowMs: number): UpstreamLink | null {
    const link = this.#idle.at(-1);
    if (link !== undefined && nowMs - link.idleSince <= idleMsMax) {
      this.#idle.pop();
      link.reused = true;
      this.busy.add(link);
      return link;
    }
    if (this.busy.size >= upstreamConnectionsMax) return null;
    const fresh = new UpstreamLink(this);
    this.busy.add(fresh);
    fresh.stream = connect(this.target(), fresh);
    return fresh;
  }

  release(link: UpstreamLink, nowMs: number): void {
    this.busy.delete(link);
    link.exchange = null;
    if (this.removed || this.#idle.length >= upstreamIdleConnectionsMax) {
      link.discard();
      return;
    }
    link.idleSince = nowMs;
    link.stream.resume();
    this.#idle.push(link);
  }

  /** The link has ended, or its user gives it up. */
  forget(link: UpstreamLink): void {
    if (this.busy.delete(link)) return;
    const i = this.#idle.indexOf(link);
    if (i >= 0) this.#idle.splice(i, 1);
  }

  /** Closes connections that were idle for longer than `idleMsMax`. */
  closeIdle(idleMsMax: number, nowMs: number): void {
    while (this.#idle.length > 0 && nowMs - this.#idle[0]!.idleSince >= idleMsMax) {
      this.#idle.shift()!.discard();
    }
  }
}
