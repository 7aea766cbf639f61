/**
 * The links of a replica to the others of its instance. Of two, the one whose disk has the lower id dials, so that
 * there is one link; when it breaks it is dialled again, soon at first. Which replicas there are, the coordinator says.
 */
import { stateRedialMaxMs, stateRedialMinMs } from "../limits.ts";
import type { DiskId, Replica } from "../replica/configuration.ts";
import type { ReplicaMessage } from "../replica/messages.ts";
import { isBlockExchange } from "./block-exchange.ts";
import type { Fields } from "./link/frames.ts";
import type { Link, LinkUser } from "./link/link.ts";
import { dialState, type LinkIdentity } from "./link/listen.ts";
import { readReplicaMessage } from "./replica-wire.ts";
import { isRoom, roomProtocol } from "./rooms.ts";
import { isTransfer } from "./snapshot-transfer.ts";

export interface ReplicaLinksOptions {
  identity: LinkIdentity;
  onMessage: (from: DiskId, message: ReplicaMessage) => void;
  /** A message of a snapshot's transfer. Throws Malformed. */
  onTransfer: (from: DiskId, fields: Fields) => void;
  /** A question for bytes of segments, or an answer. Throws Malformed. */
  onBlocks: (from: DiskId, fields: Fields) => void;
  /** How much room another replica has. Throws Malformed. */
  onRoom: (from: DiskId, fields: Fields) => void;
  /** Hints: nothing is decided by them. */
  onUp: (disk: DiskId) => void;
  onDown: (disk: DiskId, why: string) => void;
}

interface Known {
  replica: Replica;
  link: Link | null;
  backoffMs: number;
  redial: ReturnType<typeof setTimeout> | undefined;
}

export class ReplicaLinks {
  readonly #options: ReplicaLinksOptions;
  readonly #known = new Map<DiskId, Known>();
  #closed = false;

  constructor(options: ReplicaLinksOptions) {
    this.#options = options;
  }

  /** Those that there are now, wanted or leaving; this one among them or not. */
  setReplicas(replicas: readonly Replica[]): void {
    const present = new Set<DiskId>();
    for (const replica of replicas) {
      if (replica.disk === null || replica.disk === this.#options.identity.disk) continue;
      present.add(replica.disk);
      const known = this.#known.get(replica.disk);
      if (known) {
        const moved = addressOf(known.replica) !== addressOf(replica);
        known.replica = replica;
        // Whoever was not there may be there now.
        if (moved && !known.link) this.#dial(replica.disk, known);
      } else {
        const made = { replica, link: null, backoffMs: stateRedialMinMs, redial: undefined };
        this.#known.set(replica.disk, made);
        this.#dial(replica.disk, made);
      }
    }
    for (const [disk, { link, redial }] of this.#known) {
      if (present.has(disk)) continue;
      this.#known.delete(disk);
      clearTimeout(redial);
      link?.close();
    }
  }

  /** Why a replica that dials is not welcome, in words; null: it is. */
  judge(disk: DiskId, node: string): string | null {
    const known = this.#known.get(disk);
    if (!known) return `replica ${disk} is not one of the instance, or not yet`;
    return known.replica.node === node ? null : `replica ${disk} is on node ${known.replica.node}`;
  }

  /** A link that another replica has dialled is open. */
  accepted(link: Link): void {
    const { disk } = link.peer!;
    const known = this.#known.get(disk);
    if (!known || this.#closed) return link.close();
    this.#opened(disk, known, link);
  }

  /** Those that can be asked something now. */
  get linked(): DiskId[] {
    return [...this.#known].filter(([, { link }]) => link?.isOpen).map(([disk]) => disk);
  }

  /** Dropped where there is no link. */
  send(disk: DiskId, message: ReplicaMessage | Fields): void {
    const link = this.#known.get(disk)?.link;
    if (link?.isOpen) link.send(message);
  }

  /** To all that know of it. */
  tellRoom(message: Fields): void {
    for (const { link } of this.#known.values())
      if (link?.isOpen && link.peer!.protocol >= roomProtocol) link.send(message);
  }

  /** An accepted link's message. Throws Malformed. */
  received(link: Link, fields: Fields): void {
    const { disk } = link.peer!;
    if (this.#known.get(disk)?.link !== link) return;
    if (isTransfer(fields)) this.#options.onTransfer(disk, fields);
    else if (isBlockExchange(fields)) this.#options.onBlocks(disk, fields);
    else if (isRoom(fields)) this.#options.onRoom(disk, fields);
    else this.#options.onMessage(disk, readReplicaMessage(fields));
  }

  closed(link: Link, why: string): void {
    const disk = link.peer?.disk ?? "";
    const known = this.#known.get(disk);
    if (known?.link === link) this.#lost(disk, known, why);
  }

  close(): void {
    this.#closed = true;
    for (const { link, redial } of this.#known.values()) {
      clearTimeout(redial);
      link?.close();
    }
    this.#known.clear();
  }

  #dial(disk: DiskId, known: Known): void {
    clearTimeout(known.redial);
    if (this.#closed || known.link || this.#options.identity.disk > disk) return;
    if (this.#known.get(disk) !== known) return;
    const { node, unix, host, port } = known.replica;
    const user: LinkUser = {
      onOpen: (link) => this.#opened(disk, known, link),
      onMessage: (fields, link) => this.received(link, fields),
      onClose: (why, link) => {
        if (known.link === link) this.#lost(disk, known, why);
      },
    };
    const to = { node, unix, host, port };
    known.link = dialState({ identity: this.#options.identity, to, role: "replica", toDisk: disk, user });
  }

  #opened(disk: DiskId, known: Known, link: Link): void {
    const before = known.link;
    known.link = link;
    known.backoffMs = stateRedialMinMs;
    // The other end has begun anew and this end did not notice that the old one broke.
    if (before && before !== link) before.destroy("there is a newer link");
    this.#options.onUp(disk);
  }

  #lost(disk: DiskId, known: Known, why: string): void {
    const wasOpen = known.link!.peer !== null;
    known.link = null;
    if (wasOpen) this.#options.onDown(disk, why);
    if (this.#closed || this.#known.get(disk) !== known) return;
    const pause = known.backoffMs * (0.5 + Math.random() / 2);
    known.backoffMs = Math.min(2 * known.backoffMs, stateRedialMaxMs);
    known.redial = setTimeout(() => this.#dial(disk, known), pause);
  }
}

function addressOf({ incarnation, unix, host, port }: Replica): string {
  return [incarnation, unix, host, port].join(" ");
}
