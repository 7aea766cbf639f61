/**
 * Which nodes live, judged by their heartbeats alone. Pure machine.
 *
 *   unknown ──heartbeat──▶ up ◀──heartbeat── down ──replaceAfterMs──▶ down, lost
 *      └──────nodeDownMs without one──────────▶┘
 *
 * A new leader has heard of nobody, and counts every known node as alive from the moment it took over. Time in which
 * this process itself did not run (`lagMs` of a tick) is taken off the clock: after a pause, nobody is suspected for
 * heartbeats that waited in our own socket buffers.
 */

export type NodeState = "up" | "down" | "unknown";

interface Liveness {
  state: NodeState;
  /** Reading of the clock below at the last heartbeat, or when the node became known. */
  seenMs: number;
  /** The caller's monotonic time of the last heartbeat, for people; null before the first. */
  heardAtMs: number | null;
  lost: boolean;
}

/** `lost`: down for so long that its containers get another place. */
export interface NodeTransition {
  id: string;
  to: "up" | "down" | "lost";
  from: NodeState;
}

export class NodeLiveness {
  readonly #limits: { nodeDownMs: number; replaceAfterMs: number };
  readonly #nodes = new Map<string, Liveness>();
  #stalledMs = 0;
  /** Monotonic time without our own stalls. */
  clockMs: number;

  constructor(limits: { nodeDownMs: number; replaceAfterMs: number }, nowMs: number) {
    this.#limits = limits;
    this.clockMs = nowMs;
  }

  /** Makes a node known; one that is known already stays as it is. */
  add(id: string): void {
    if (this.#nodes.has(id)) return;
    this.#nodes.set(id, { state: "unknown", seenMs: this.clockMs, heardAtMs: null, lost: false });
  }

  remove(id: string): void {
    this.#nodes.delete(id);
  }

  /** A heartbeat arrived. Returns what it changed, if anything. */
  hear(id: string, nowMs: number): NodeTransition | null {
    const node = this.#nodes.get(id);
    if (!node) return null;
    this.#advance(nowMs);
    node.seenMs = this.clockMs;
    node.heardAtMs = nowMs;
    const from = node.state;
    node.state = "up";
    node.lost = false;
    return from === "up" ? null : { id, to: "up", from };
  }

  tick(nowMs: number, lagMs: number): NodeTransition[] {
    this.#stalledMs += Math.max(0, lagMs);
    this.clockMs = nowMs - this.#stalledMs;
    const transitions: NodeTransition[] = [];
    for (const [id, node] of this.#nodes) {
      // Heard after the stall but before this tick counted it: not a reading of the future.
      node.seenMs = Math.min(node.seenMs, this.clockMs);
      const silentMs = this.clockMs - node.seenMs;
      if (node.state !== "down" && silentMs >= this.#limits.nodeDownMs) {
        transitions.push({ id, to: "down", from: node.state });
        node.state = "down";
      }
      if (!node.lost && silentMs >= this.#limits.replaceAfterMs) {
        transitions.push({ id, to: "lost", from: node.state });
        node.lost = true;
      }
    }
    return transitions;
  }

  /** A node nobody knows is down. */
  state(id: string): NodeState {
    return this.#nodes.get(id)?.state ?? "down";
  }

  lost(id: string): boolean {
    return this.#nodes.get(id)?.lost ?? true;
  }

  /** For how long it has been down, since its last heartbeat; 0 while it is not, Infinity for a node nobody knows. */
  downMs(id: string): number {
    const node = this.#nodes.get(id);
    if (!node) return Infinity;
    return node.state === "down" ? this.clockMs - node.seenMs : 0;
  }

  /** Null before the first heartbeat. */
  lastSeenMs(id: string, nowMs: number): number | null {
    const at = this.#nodes.get(id)?.heardAtMs;
    return at === null || at === undefined ? null : Math.max(0, nowMs - at);
  }

  #advance(nowMs: number): void {
    this.clockMs = Math.max(this.clockMs, nowMs - this.#stalledMs);
  }
}
