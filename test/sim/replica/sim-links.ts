/**
 * Links between state processes: in order and whole until they break, and nothing is resumed. A direction that is cut
 * holds everything back; after a while the link breaks and what was under way is lost. The other end learns of a death
 * by a reset, of a power cut by silence only.
 */
import type { Host } from "../harness/host.ts";
import type { Simulation } from "../harness/simulation.ts";

/** What a host process gives its links; another one after each start. */
export interface LinkEnd<Message> {
  host: Host;
  life: number;
  arrived(from: Host, message: Message): void;
  up(peer: Host): void;
  down(peer: Host): void;
}

interface Direction<Message> {
  queue: { message: Message; atMs: number }[];
  lastMs: number;
  /** Since when its first message cannot pass; 0: it can. */
  stuckMs: number;
}

interface Link<Message> {
  ends: [LinkEnd<Message>, LinkEnd<Message>];
  directions: [Direction<Message>, Direction<Message>];
  isOpen: boolean;
}

const againMs = 25;

export class SimLinks<Message> {
  readonly #sim: Simulation;
  readonly #ends = new Map<Host, LinkEnd<Message>>();
  readonly #links = new Map<Host, Map<Host, Link<Message>>>();
  latencyMs = { min: 0.05, max: 1 };
  /** Share of messages that are held back, with all behind them, for up to that long. */
  held = { share: 0, ms: 0 };
  /** `from>to` → what it takes longer that way. */
  readonly slowMs = new Map<string, number>();
  /** A link that carries nothing for this long breaks. */
  breakMs = 1_500;
  redialMs = { min: 5, max: 100 };
  delivered = 0;

  constructor(sim: Simulation) {
    this.#sim = sim;
  }

  /** A host process listens, and dials all others. */
  attach(end: LinkEnd<Message>): void {
    this.#ends.set(end.host, end);
    for (const other of this.#ends.values()) if (other !== end) this.#dial(end, other);
  }

  /** False: there is no link, and what is said is lost. */
  send(from: Host, to: Host, message: Message): boolean {
    const link = this.#links.get(from)?.get(to);
    if (!link?.isOpen) return false;
    const side = link.ends[0].host === from ? 0 : 1;
    const direction = link.directions[side];
    const slowMs = this.slowMs.get(`${from.id}>${to.id}`) ?? 0;
    direction.lastMs = Math.max(direction.lastMs, this.#sim.nowMs + slowMs + this.#latency());
    direction.queue.push({ message, atMs: direction.lastMs });
    if (direction.queue.length === 1) this.#pump(link, side);
    return true;
  }

  /** Whom it has a link to. */
  peersOf(host: Host): Host[] {
    return [...(this.#links.get(host) ?? [])].filter(([, link]) => link.isOpen).map(([peer]) => peer);
  }

  /** As a fault: both ends find out at once. */
  breakLink(a: Host, b: Host): void {
    const link = this.#links.get(a)?.get(b);
    if (link?.isOpen) this.#break(link, [0, 0]);
  }

  /** The host's process has died. `quietly`: its machine with it, so that nobody says so. */
  gone(host: Host, quietly: boolean): void {
    this.#ends.delete(host);
    for (const link of this.#links.get(host)?.values() ?? []) {
      if (!link.isOpen) continue;
      const ms = quietly ? this.breakMs : this.#latency();
      this.#break(link, [ms, ms]);
    }
  }

  #dial(a: LinkEnd<Message>, b: LinkEnd<Message>): void {
    const { random, network } = this.#sim;
    this.#sim.after(random.between(this.redialMs.min, this.redialMs.max), () => {
      if (!this.#isAttached(a) || !this.#isAttached(b)) return;
      const carries = network.carries(a.host.id, b.host.id) && network.carries(b.host.id, a.host.id);
      // A stopped process has a backlog, but shakes no hands.
      if (!carries || a.host.paused || b.host.paused) this.#dial(a, b);
      else this.#open(a, b);
    });
  }

  #open(a: LinkEnd<Message>, b: LinkEnd<Message>): void {
    const direction = (): Direction<Message> => ({ queue: [], lastMs: 0, stuckMs: 0 });
    const link: Link<Message> = { ends: [a, b], directions: [direction(), direction()], isOpen: true };
    for (const [end, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      const ofHost = this.#links.get(end.host) ?? new Map<Host, Link<Message>>();
      this.#links.set(end.host, ofHost.set(peer.host, link));
    }
    a.host.enter(a.life, () => a.up(b.host));
    b.host.enter(b.life, () => b.up(a.host));
  }

  #pump(link: Link<Message>, side: 0 | 1): void {
    const direction = link.directions[side];
    const head = direction.queue[0];
    if (!head) return;
    this.#sim.after(head.atMs - this.#sim.nowMs, () => {
      if (!link.isOpen) return;
      const [from, to] = side === 0 ? link.ends : [link.ends[1], link.ends[0]];
      if (!this.#sim.network.carries(from.host.id, to.host.id)) {
        direction.stuckMs ||= this.#sim.nowMs;
        head.atMs = this.#sim.nowMs + againMs;
        if (this.#sim.nowMs - direction.stuckMs < this.breakMs) this.#pump(link, side);
        else this.#break(link, [0, this.breakMs / 2]);
        return;
      }
      direction.stuckMs = 0;
      direction.queue.shift();
      this.delivered++;
      to.host.enter(to.life, () => to.arrived(from.host, head.message));
      this.#pump(link, side);
    });
  }

  /** `delays`: when each of the two ends hears of it. */
  #break(link: Link<Message>, delays: [number, number]): void {
    link.isOpen = false;
    this.#sim.count("link:broken");
    const [a, b] = link.ends;
    for (const [i, end, peer] of [
      [0, a, b],
      [1, b, a],
    ] as const) {
      this.#links.get(end.host)?.delete(peer.host);
      this.#sim.after(delays[i], () => end.host.enter(end.life, () => end.down(peer.host)));
    }
    this.#sim.after(Math.max(...delays), () => this.#dial(a, b));
  }

  #isAttached(end: LinkEnd<Message>): boolean {
    return this.#ends.get(end.host) === end;
  }

  #latency(): number {
    const { random } = this.#sim;
    const ms = random.between(this.latencyMs.min, this.latencyMs.max);
    return this.held.share > 0 && random.chance(this.held.share) ? ms + random.between(0, this.held.ms) : ms;
  }
}
