/**
 * A published port on this node's address: the listener, which is opened again and again while somebody else has
 * the port, and the clients that came through it.
 */
import type { PortReport } from "../agent-protocol.ts";
import { type Stream, type StreamListener, listen } from "../platform/tcp.ts";
import type { Admission } from "./admission-machine.ts";
import { ClientConnection } from "./client-connection.ts";
import type { ClientRoom } from "./client-room.ts";
import { hopOf } from "./http/rewrite.ts";
import { portRetryMs } from "./ingress-limits.ts";
import type { RetryBudget } from "./retry-machine.ts";
import type { Counters, RoutedPort } from "./routed-port.ts";
import type { Upstream } from "./upstream.ts";

/** What all ports of one ingress share. */
export interface Shared {
  readonly budget: RetryBudget;
  readonly counters: Counters;
  readonly room: ClientRoom;
  now: () => number;
  /** The state of a port has changed. */
  portChanged(): void;
}

export class PublishedPort implements RoutedPort {
  readonly port: number;
  readonly address: string;
  readonly budget: RetryBudget;
  readonly counters: Counters;
  admission: Admission<Upstream>;
  readonly #node: string;
  readonly #shared: Shared;
  readonly #clients = new Set<ClientConnection>();
  #listener: StreamListener | null = null;
  #failure = "it is being opened";
  #opening = false;
  #retryAt = 0;
  open = true;
  uid: string;
  nothingReason = "";

  constructor(
    port: number,
    node: { name: string; address: string },
    instance: { uid: string; admission: Admission<Upstream> },
    shared: Shared,
  ) {
    this.port = port;
    this.uid = instance.uid;
    this.admission = instance.admission;
    this.address = node.address;
    this.#node = node.name;
    this.#shared = shared;
    this.budget = shared.budget;
    this.counters = shared.counters;
  }

  now(): number {
    return this.#shared.now();
  }

  get clients(): ReadonlySet<ClientConnection> {
    return this.#clients;
  }

  /** The port that it really has: another one than `port` only when that is 0. */
  get boundPort(): number {
    return this.#listener?.port ?? 0;
  }

  get report(): PortReport {
    return this.#listener
      ? {
          port: this.port,
          uid: this.uid,
          state: "open",
          reason: "",
          routed: this.admission.upstreams.length > 0,
        }
      : { port: this.port, uid: this.uid, state: "failed", reason: this.#failure };
  }

  /** One attempt to open it; the outcome is in `report`. */
  async tryOpen(): Promise<void> {
    if (this.#listener || this.#opening || !this.open || this.now() < this.#retryAt) return;
    this.#opening = true;
    try {
      const listener = await listen({ host: this.address, port: this.port }, (stream) =>
        this.#accept(stream),
      );
      // It may have been closed meanwhile.
      if (this.open) this.#listener = listener;
      else listener.stop();
      this.#shared.portChanged();
    } catch (e) {
      this.#retryAt = this.now() + portRetryMs;
      const failure = wordsFor(e as NodeJS.ErrnoException, this.port, this.address);
      if (failure !== this.#failure) {
        this.#failure = failure;
        this.#shared.portChanged();
      }
    } finally {
      this.#opening = false;
    }
  }

  #accept(stream: Stream): ClientConnection | null {
    const { room } = this.#shared;
    const welcome = room.admit(this.now());
    if (welcome === "no") return null;
    const hop = hopOf(stream.remoteAddress, this.#node, this.address, this.boundPort || this.port);
    const client = new ClientConnection(stream, this, hop, {
      surplus: welcome === "surplus",
      onGone: (gone) => {
        this.#clients.delete(gone);
        room.left(gone);
      },
    });
    this.#clients.add(client);
    room.entered(client);
    return client;
  }

  /** Accepts nothing new; what is under way goes on. */
  close(): void {
    this.open = false;
    this.#listener?.stop();
    this.#listener = null;
    for (const client of this.#clients) client.closeIfIdle();
  }

  destroyClients(): void {
    for (const client of this.#clients) client.destroy();
  }

  sweep(nowMs: number): void {
    for (const client of this.#clients) client.sweep(nowMs);
  }
}

function wordsFor(e: NodeJS.ErrnoException, port: number, address: string): string {
  switch (e.code) {
    case "EADDRINUSE":
      return `port ${port} on ${address} is in use by another program`;
    case "EACCES":
      return `port ${port} on ${address} needs a privilege that dvs does not have (CAP_NET_BIND_SERVICE)`;
    case "EADDRNOTAVAIL":
      return `${address} is not an address of this machine`;
    default:
      return `port ${port} on ${address} cannot be opened: ${e.message}`;
  }
}
