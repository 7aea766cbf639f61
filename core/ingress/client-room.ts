/**
 * How many clients an ingress holds. When there is no room, those whose connections have been idle longest make it:
 * they open another when they need one, while a client that is turned away has a request in its hands.
 */
import type { ClientConnection } from "./client-connection.ts";
import type { LoadLimits } from "./load-limits.ts";

/** `surplus`: its request gets 503, and then it is closed. `no`: not even that. */
export type Welcome = "yes" | "surplus" | "no";

/** Idle clients closed at a time: looking at thousands for each new one would cost more than serving it. */
const closedAtOnce = 64;
/** When none was idle, nobody is looked at again before. */
const lookAgainMs = 100;

export class ClientRoom {
  readonly #limits: LoadLimits;
  readonly #clients = new Set<ClientConnection>();
  /** How many may enter beyond the bound, since as many others were closed. */
  #made = 0;
  #lookAt = -Infinity;

  constructor(limits: LoadLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#clients.size;
  }

  admit(nowMs: number): Welcome {
    const { clientsMax, surplusClientsMax } = this.#limits;
    if (this.size < clientsMax) {
      this.#made = 0;
      return "yes";
    }
    if (this.#made === 0 && nowMs >= this.#lookAt) this.#make(nowMs);
    if (this.#made > 0) {
      this.#made--;
      return "yes";
    }
    return this.size < clientsMax + surplusClientsMax ? "surplus" : "no";
  }

  entered(client: ClientConnection): void {
    this.#clients.add(client);
  }

  left(client: ClientConnection): void {
    this.#clients.delete(client);
  }

  #make(nowMs: number): void {
    const idle: { client: ClientConnection; since: number }[] = [];
    for (const client of this.#clients) {
      const since = client.idleSince;
      if (since !== null && nowMs - since >= this.#limits.clientIdleMinMs) idle.push({ client, since });
    }
    idle.sort((a, b) => a.since - b.since);
    for (const { client } of idle.slice(0, closedAtOnce)) {
      client.closeIfIdle();
      this.#made++;
    }
    if (this.#made === 0) this.#lookAt = nowMs + lookAgainMs;
  }
}
