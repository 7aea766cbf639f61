/**
 * Snapshots on their way from a primary to a learner that lacks what the primary's log no longer has. They go over the
 * replicas' own link, in pieces, a bounded number of bytes ahead of what the learner has written.
 *
 *     begin     id, index, epoch, bytes, sha256,
 *               segments (where there are any)       →  progress  id, bytes        for each piece on the disk
 *     piece     id, bytes                            →  taken     id               it is installed
 *     cancel    id                                   →  refused   id, why
 *
 * What it names of segments of blocks the learner fetches itself, as far as it does not have it (receive-segments.ts).
 *
 * It belongs to the link that it began on: when that is gone, so is the transfer. A learner that was cancelled, or has a
 * new link, installs nothing any more, since the primary may have gone on with it in another way.
 */
import type { BlockStore } from "../blocks/block-store.ts";
import { DvsError } from "../errors.ts";
import { Malformed } from "../kernel/proxy/malformed.ts";
import type { DiskId } from "../replica/configuration.ts";
import type { BlockExchange } from "./block-exchange.ts";
import type { Keeper } from "./keeper.ts";
import { snapshotPieceBytes, snapshotStallMs, snapshotWindowBytes } from "./limits.ts";
import type { Fields } from "./link/frames.ts";
import { receiveSegments } from "./receive-segments.ts";
import { SnapshotReceiver } from "./receive-snapshot.ts";
import { readSnapshot, segmentsOf, SnapshotInfo } from "./snapshots.ts";

export const transferNumbers = {
  begin: 48,
  piece: 49,
  cancel: 50,
  progress: 51,
  taken: 52,
  refused: 53,
} as const;

export function isTransfer(fields: Fields): boolean {
  const number = Number(fields[0]);
  return number >= transferNumbers.begin && number <= transferNumbers.refused;
}

export interface TransferOptions {
  dataDir: string;
  keeper: Keeper;
  /** Dropped where there is no link. */
  send: (disk: DiskId, fields: Fields) => void;
  /** Whether this replica is to give up all it has for a snapshot of that one; asked again right before it does. */
  mayTake: (from: DiskId, info: SnapshotInfo) => boolean;
  install: (info: SnapshotInfo) => Promise<void>;
  /** Missing: this replica has no blocks. */
  blocks?: {
    store: BlockStore;
    exchange: Pick<BlockExchange, "sums" | "fetch">;
    /** How many bytes of each segment are surely those of the primary. */
    known: () => ReadonlyMap<number, number>;
  };
  /** Of `sendTo`: it has ended, one way or another. */
  sent: (disk: DiskId) => void;
  say: (level: "info" | "warn", message: string, fields?: Record<string, unknown>) => void;
}

interface Sending {
  id: number;
  /** Sent and not yet on the learner's disk. */
  outstandingBytes: number;
  /** Why it is over; null while it is not. */
  over: string | null;
  wake: () => void;
}

interface Receiving {
  from: DiskId;
  id: number;
  info: SnapshotInfo;
  cancelled: boolean;
  /** While it comes, nothing is tidied up where it lies. */
  release: () => void;
  receiver: SnapshotReceiver | null;
  bytes: number;
}

export class SnapshotTransfers {
  readonly #options: TransferOptions;
  readonly #sending = new Map<DiskId, Sending>();
  #receiving: Receiving | null = null;
  /** What is done to the disk for what is received: one after the other. */
  #queue: Promise<void> = Promise.resolve();
  #ids = 0;

  constructor(options: TransferOptions) {
    this.#options = options;
  }

  /** Sends a snapshot of at least that index. `sent` follows, whatever becomes of it. */
  sendTo(disk: DiskId, fromIndex: number): void {
    const sending: Sending = { id: ++this.#ids, outstandingBytes: 0, over: null, wake: () => undefined };
    this.#sending.set(disk, sending);
    const release = this.#options.keeper.hold();
    void this.#send(disk, fromIndex, sending)
      .catch((e: unknown) => {
        this.#options.keeper.doubt();
        sending.over = e instanceof Error ? e.message : String(e);
      })
      .then(() => {
        release();
        if (this.#sending.get(disk) === sending) this.#sending.delete(disk);
        if (sending.over !== taken) {
          this.#options.say("warn", "a snapshot was not taken", { disk, why: sending.over });
          this.#options.send(disk, [transferNumbers.cancel, sending.id]);
        }
        this.#options.sent(disk);
      });
  }

  /** What was on its way over a link to that replica, in either direction, is lost. */
  linkChanged(disk: DiskId): void {
    const sending = this.#sending.get(disk);
    if (sending) end(sending, "the link broke");
    if (this.#receiving?.from === disk) this.#cancel(this.#receiving);
  }

  /** Throws Malformed. */
  received(from: DiskId, fields: Fields): void {
    const [number, id, ...rest] = fields;
    if (typeof id !== "number") throw new Malformed("a snapshot's id");
    switch (number) {
      case transferNumbers.begin:
        return this.#begin(from, id, rest);
      case transferNumbers.piece:
        return this.#piece(from, id, rest[0]);
      case transferNumbers.cancel:
        if (this.#receiving?.from === from && this.#receiving.id === id) this.#cancel(this.#receiving);
        return;
    }
    const sending = this.#sending.get(from);
    if (sending?.id !== id) return;
    if (number === transferNumbers.progress && typeof rest[0] === "number") {
      sending.outstandingBytes -= rest[0];
      sending.wake();
    } else if (number === transferNumbers.taken) end(sending, taken);
    else end(sending, String(rest[0]).slice(0, 500));
  }

  async #send(disk: DiskId, fromIndex: number, sending: Sending): Promise<void> {
    const { keeper, dataDir, send } = this.#options;
    const newest = keeper.snapshot;
    const info = newest && newest.index >= fromIndex ? newest : await keeper.makeSnapshot();
    if (sending.over !== null) return;
    const { index, epoch, bytes, sha256 } = info;
    const segments = segmentsOf(info);
    const begin = [transferNumbers.begin, sending.id, index, epoch, bytes, sha256];
    send(disk, segments.length === 0 ? begin : [...begin, segments]);
    for await (const piece of readSnapshot(dataDir, info)) {
      while (sending.over === null && sending.outstandingBytes >= snapshotWindowBytes) await moved(sending);
      if (isOver(sending)) return;
      sending.outstandingBytes += piece.length;
      send(disk, [transferNumbers.piece, sending.id, piece]);
    }
    while (!isOver(sending)) await moved(sending);
  }

  #begin(from: DiskId, id: number, fields: readonly unknown[]): void {
    const [index, epoch, bytes, sha256, segments] = fields;
    const common = { index, epoch, bytes, sha256 };
    const parsed = SnapshotInfo.safeParse(
      segments === undefined ? { format: 1, ...common } : { format: 2, ...common, segments },
    );
    if (!parsed.success) throw new Malformed("what a snapshot is");
    if (this.#receiving) this.#cancel(this.#receiving);
    const info = parsed.data;
    const release = this.#options.keeper.hold();
    const receiving: Receiving = { from, id, info, cancelled: false, release, receiver: null, bytes: 0 };
    if (!this.#options.mayTake(from, info)) return this.#refuse(receiving, "it is not wanted here");
    this.#receiving = receiving;
    this.#then(receiving, async () => {
      receiving.receiver = await SnapshotReceiver.begin(this.#options.dataDir, info);
    });
  }

  #piece(from: DiskId, id: number, bytes: unknown): void {
    if (!(bytes instanceof Uint8Array) || bytes.length > snapshotPieceBytes)
      throw new Malformed("a snapshot's piece");
    const receiving = this.#receiving;
    if (receiving?.from !== from || receiving.id !== id) return;
    this.#then(receiving, async () => {
      await receiving.receiver!.write(bytes);
      receiving.bytes += bytes.length;
      this.#options.send(from, [transferNumbers.progress, id, bytes.length]);
      if (receiving.bytes === receiving.info.bytes) await this.#finish(receiving);
    });
  }

  async #finish(receiving: Receiving): Promise<void> {
    const { from, id, info, receiver } = receiving;
    await this.#receiveSegments(receiving);
    receiving.receiver = null;
    await receiver!.finish();
    // From here to the installation there is no wait: what was true now is true then.
    if (receiving.cancelled) return;
    if (!this.#options.mayTake(from, info)) return this.#refuse(receiving, "it is no longer wanted here");
    this.#receiving = null;
    receiving.release();
    await this.#options.install(info);
    this.#options.say("info", "installed a snapshot of another replica", { from, index: info.index });
    this.#options.send(from, [transferNumbers.taken, id]);
  }

  /** They stay, whatever becomes of the rest. */
  async #receiveSegments(receiving: Receiving): Promise<void> {
    const { from, id, info } = receiving;
    const { blocks, send, say } = this.#options;
    const segments = segmentsOf(info);
    if (segments.length === 0) return;
    if (!blocks)
      throw new DvsError("INVALID", "Cannot take a snapshot with blocks: there is no place for them.");
    const { store, exchange, known } = blocks;
    const check = (): void => {
      if (receiving.cancelled) throw new DvsError("UNAVAILABLE", "The snapshot is not sent any more.");
    };
    if (store.isFull) throw new DvsError("EXHAUSTED", "Cannot take a snapshot: the disk is full.");
    // What is known has to be in the files, too, before it counts.
    await new Promise<void>((resolve) => store.whenWritten(resolve));
    const progress = (): void => send(from, [transferNumbers.progress, id, 0]);
    const { received, missing } = await receiveSegments(segments, {
      ...{ from, store, exchange, known: known(), check, progress },
    });
    say("info", "received blocks of another replica", { from, bytes: received });
    if (missing > 0)
      say("warn", "the other replica lacks blocks that its snapshot names", { from, bytes: missing });
  }

  /** Work for a transfer, unless that is cancelled by then. */
  #then(receiving: Receiving, work: () => Promise<void>): void {
    this.#queue = this.#queue.then(async () => {
      if (receiving.cancelled) return;
      try {
        await work();
      } catch (e) {
        this.#refuse(receiving, e instanceof Error ? e.message : String(e));
      }
    });
  }

  #refuse(receiving: Receiving, why: string): void {
    this.#cancel(receiving);
    this.#options.send(receiving.from, [transferNumbers.refused, receiving.id, why]);
  }

  #cancel(receiving: Receiving): void {
    receiving.cancelled = true;
    receiving.release();
    if (this.#receiving === receiving) this.#receiving = null;
    this.#queue = this.#queue.then(async () => {
      await receiving.receiver?.abort();
      receiving.receiver = null;
    });
  }
}

const taken = "taken";

function end(sending: Sending, why: string): void {
  sending.over ??= why;
  sending.wake();
}

/** Apart, since it changes while others wait. */
function isOver(sending: Sending): boolean {
  return sending.over !== null;
}

/** The learner has written more, or it is over: also because it has been silent for too long. */
function moved(sending: Sending): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(
      () => end(sending, "the learner has not written anything for too long"),
      snapshotStallMs,
    );
    sending.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}
