/** Clients of instances' OS state that this agent has not started: they get what they need to reach the replicas. */
import { rm } from "node:fs/promises";
import { DvsError } from "../errors.ts";
import { type ControlPeer, ControlServer } from "../transport/control-server.ts";
import { FromOutside, outsideLineCharsMax, type ReachOutside, type ToOutside } from "./outside-control.ts";
import type { Log } from "./supervisor.ts";

export interface OutsideClientsOptions {
  socket: string;
  /** Uid of an instance that this node has something of; rejects with NOT_FOUND, or CONFLICT where several have the name. */
  find(instance: string): string;
  /** Null: nothing of it is known here yet. */
  reach(uid: string): Promise<Omit<ReachOutside, "type"> | null>;
  log: Log;
}

export class OutsideClients {
  readonly #options: OutsideClientsOptions;
  readonly #server: ControlServer<typeof FromOutside, ToOutside>;
  /** Whoever is told of changes → uid. */
  readonly #told = new Map<ControlPeer<ToOutside>, string>();

  constructor(options: OutsideClientsOptions) {
    this.#options = options;
    this.#server = new ControlServer({
      path: options.socket,
      schema: FromOutside,
      greeting: () => [],
      onMessage: (message, peer) => void this.#answer(peer, message.instance),
      lineCharsMax: outsideLineCharsMax,
    });
  }

  /** One that cannot listen says so: nothing else depends on it. */
  async listen(): Promise<void> {
    const { socket, log } = this.#options;
    await rm(socket, { force: true });
    await this.#server.listen().catch((e: unknown) => {
      log("warn", `nobody can mount here: ${socket} cannot be listened on: ${DvsError.from(e).message}`);
    });
  }

  /** How the instance is reached from here has changed. */
  changed(uid: string): void {
    for (const [peer, of] of this.#told) {
      if (!peer.isOpen()) this.#told.delete(peer);
      else if (of === uid) void this.#tell(peer, uid);
    }
  }

  close(): Promise<void> {
    this.#told.clear();
    return this.#server.close();
  }

  async #answer(peer: ControlPeer<ToOutside>, instance: string): Promise<void> {
    try {
      const uid = this.#options.find(instance);
      this.#told.set(peer, uid);
      if (await this.#tell(peer, uid)) return;
      throw new DvsError("UNAVAILABLE", `This node does not know yet who keeps the state of "${instance}".`);
    } catch (e) {
      peer.send({ type: "refused", error: DvsError.from(e).toBody() });
    }
  }

  async #tell(peer: ControlPeer<ToOutside>, uid: string): Promise<boolean> {
    const reach = await this.#options.reach(uid).catch(() => null);
    if (reach) peer.send({ type: "reach", ...reach });
    return reach !== null;
  }
}
