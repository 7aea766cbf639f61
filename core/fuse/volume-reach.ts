/**
 * The file system of an instance for a host process that no agent has started: a client of the OS state under a name of
 * its own, which the agent of this node lets in and tells where the replicas are, also later when that changes. Without an
 * agent it goes on by the last word of one.
 *
 * It says from time to time that it is there: what it has open or locked goes attendTtlMs after it has gone. Where a
 * replica is on this node, files are read beside it, as its containers do.
 */
import { randomUUID } from "node:crypto";
import { dirname } from "node:path";
import { type ControlLink, openControlLink } from "../agent/control-link.ts";
import { type FromOutside, type ReachOutside, ToOutside } from "../agent/outside-control.ts";
import { DvsError } from "../errors.ts";
import { LocalFiles } from "../files/client/local-files.ts";
import { localModule } from "../files/client/local-module.ts";
import { VolumeClient } from "../files/client/volume-client.ts";
import { rootIno } from "../files/file-system.ts";
import { BlobReader } from "../image/blob-reader.ts";
import { reconnectMaxMs } from "../limits.ts";
import { LocalReader } from "../state/client/local-reader.ts";
import { StateClient } from "../state/client/state-client.ts";
import { linkTls } from "../state/link/link-identity.ts";
import { addressesOf } from "../state/replica-set.ts";

export interface VolumeReachOptions {
  instance: string;
  /** The agent's. */
  socket: string;
  log: (message: string) => void;
}

/** An agent that takes longer is stopped. */
const answerMs = 10_000;
/** One that was started a moment ago does not know yet what is here. */
const refusedAgainMs = 500;

export class VolumeReach {
  readonly files: VolumeClient;
  readonly #client: StateClient;
  readonly #options: VolumeReachOptions;
  #last: ReachOutside;
  #link: ControlLink<FromOutside> | null = null;
  #again: ReturnType<typeof setTimeout> | undefined;
  /** The socket of the replica on this node, empty where there is none. */
  #beside = "";
  #reader: LocalReader | null = null;
  #near: LocalFiles | null = null;
  readonly #blobs: BlobReader;
  #closed = false;

  /** Rejects with UNAVAILABLE (no agent answers), NOT_FOUND (nothing of the instance is here) or CONFLICT. */
  static async open(options: VolumeReachOptions): Promise<VolumeReach> {
    const { link, reach } = await ask(options);
    link.close();
    return new VolumeReach(options, reach);
  }

  private constructor(options: VolumeReachOptions, reach: ReachOutside) {
    this.#options = options;
    this.#last = reach;
    const incarnation = `mount-${randomUUID()}`;
    const { uid, node, secret, blobs } = reach;
    this.#blobs = new BlobReader(blobs);
    this.#client = new StateClient({
      identity: {
        ...{ instance: uid, node, incarnation, disk: "" },
        secret: new Uint8Array(Buffer.from(secret, "hex")),
        tls: linkTls(() => this.#last.tls),
      },
    });
    this.#replicas();
    const state = this.#client;
    this.files = VolumeClient.open({ state, client: incarnation, attends: true, near: () => this.#near });
    this.#follow();
  }

  /** Resolves when somebody serves the file system. Rejects with UNAVAILABLE. */
  async serves(): Promise<void> {
    await this.files.attributes(rootIno);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#link?.close();
    await this.files.close().catch(() => undefined);
    this.#reader?.close();
    this.#client.close();
  }

  /** Where they are, by the last word of an agent. */
  #replicas(): void {
    const addresses = addressesOf(this.#last.replicas);
    this.#client.setReplicas(addresses);
    const beside = addresses.find(({ node }) => node === this.#last.node)?.unix ?? "";
    if (beside === this.#beside) return;
    this.#beside = beside;
    this.#reader?.close();
    const blob = (digest: string, position: number, length: number) =>
      this.#blobs.read(digest, position, length);
    this.#reader = beside === "" ? null : new LocalReader(dirname(beside), [localModule], blob);
    this.#near = this.#reader && new LocalFiles(this.#reader);
    this.#client.setReader(this.#reader);
  }

  /** Keeps a link to the agent, whichever is there. */
  #follow(): void {
    this.#link = openControlLink<ToOutside, FromOutside>({
      socket: this.#options.socket,
      schema: ToOutside,
      onMessage: (message) => this.#take(message),
      onClose: () => this.#later(reconnectMaxMs * Math.random()),
    });
    this.#link.send({ type: "reach", instance: this.#options.instance });
  }

  #take(message: ToOutside): void {
    // Nothing here any more, as far as this agent knows: what was known may hold all the same.
    if (message.type === "refused") return this.#link?.close();
    if (message.uid !== this.#last.uid) {
      this.#options.log(`instance ${this.#options.instance} was removed; another one has its name now`);
      return;
    }
    this.#last = message;
    this.#replicas();
  }

  #later(ms: number): void {
    if (this.#closed) return;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#follow(), ms);
  }
}

async function ask(options: VolumeReachOptions) {
  const until = performance.now() + answerMs;
  for (;;) {
    try {
      return await askOnce(options);
    } catch (e) {
      if (!(e instanceof DvsError) || e.code !== "UNAVAILABLE" || !e.cause || performance.now() > until)
        throw e;
      await new Promise((resolve) => setTimeout(resolve, refusedAgainMs));
    }
  }
}

function askOnce({ instance, socket }: VolumeReachOptions) {
  return new Promise<{ link: ControlLink<FromOutside>; reach: ReachOutside }>((resolve, reject) => {
    const silent = () =>
      new DvsError(
        "UNAVAILABLE",
        `No agent answers on ${socket}: is this machine a node, and "dvs node start" running?`,
      );
    const timer = setTimeout(() => {
      reject(silent());
      link.close();
    }, answerMs);
    const link = openControlLink<ToOutside, FromOutside>({
      socket,
      schema: ToOutside,
      onMessage(message) {
        clearTimeout(timer);
        if (message.type === "reach") return resolve({ link, reach: message });
        const refused = DvsError.fromBody(message.error);
        // With a cause: the agent is there, and may know more soon.
        reject(new DvsError(refused.code, refused.message, { cause: refused }));
        link.close();
      },
      onClose() {
        clearTimeout(timer);
        reject(silent());
      },
    });
    link.send({ type: "reach", instance });
  });
}
