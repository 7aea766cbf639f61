/** The acting coordinator's view of the others: whether each answers, and what it says of itself. */
import { peerDownMs, peerProbeMs } from "../limits.ts";
import type { Member } from "./members.ts";
import { pause } from "./pause.ts";
import type { PeerHealth, Peers } from "./peers.ts";

export interface PeerView {
  member: Member;
  /** `unknown`: not asked for long enough to say. */
  state: "up" | "down" | "unknown";
  health: PeerHealth | null;
}

export class PeerWatch {
  readonly #peers: Pick<Peers, "members" | "to">;
  readonly #heard = new Map<string, { atMs: number; health: PeerHealth }>();
  #sinceMs = performance.now();

  constructor(peers: Pick<Peers, "members" | "to">) {
    this.#peers = peers;
  }

  views(): PeerView[] {
    const nowMs = performance.now();
    return this.#peers.members.map((member) => {
      const heard = this.#heard.get(member.id);
      const silentMs = nowMs - (heard?.atMs ?? this.#sinceMs);
      const state = silentMs > peerDownMs ? "down" : heard ? "up" : "unknown";
      return { member, state, health: heard?.health ?? null };
    });
  }

  /** Resolves when the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    this.#sinceMs = performance.now();
    while (!signal.aborted) {
      await Promise.all(this.#peers.members.map((member) => this.#ask(member, signal)));
      await pause(peerProbeMs, signal);
    }
  }

  async #ask(member: Member, signal: AbortSignal): Promise<void> {
    try {
      const health = await this.#peers.to(member).health(signal);
      this.#heard.set(member.id, { atMs: performance.now(), health });
    } catch {
      // Its silence is what counts.
    }
  }
}
