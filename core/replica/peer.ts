/** What a primary knows of another replica: how far its log is, when it last promised, what it was granted. */
import type { DiskId } from "./configuration.ts";
import type { ModuleLevels } from "./messages.ts";

export class Peer {
  readonly disk: DiskId;
  /** Of the life that was heard last; empty before. */
  incarnation = "";
  levels: ModuleLevels | null = null;
  amnesiac = false;

  // Its log, in this epoch
  /** What is sent next. */
  next = 0;
  /** Where sending begins again while nothing was received in this epoch. */
  #start = 0;
  /** Whether its log is known to be the same before `next`; until then one message at a time is sent. */
  matched = false;
  received = 0;
  written = 0;
  durable = 0;
  /** What its disk says, and what it has to say for `written` to count. */
  memberVersion = 0;
  joinedVersion = Infinity;
  /** What was told of commits. */
  commitSent = 0;
  /** Ends of messages that it has not received, and their bytes. */
  outstanding: { index: number; bytes: number }[] = [];
  outstandingBytes = 0;
  /** It gets its records out of the log on disk, or a snapshot, at the moment. */
  fetching = false;
  /** What it needs could not be read, or is on its way as a snapshot: not again before this. */
  fetchFromMs = -Infinity;
  snapshotting = false;
  /** When its acknowledgements last moved, or it had nothing to acknowledge. */
  progressMs: number;

  // The two promises
  /** Our clock in the last beacon that it acknowledged. */
  acknowledgedMs = -Infinity;
  /** Its silence counts from here, if it has acknowledged nothing since. */
  heardMs: number;
  /** Its clock in that acknowledgement, which is echoed; and when that came. */
  echoMs = 0;
  echoReceivedMs = -Infinity;
  /** When that clock was received by which its last lease, in any life, was granted. */
  leasedMs = -Infinity;
  /** The life to which leases were granted; null: several, or none that is known. */
  leasedTo: string | null = null;
  /** The clock of the last beacon, and what had been sent before it: links keep the order. */
  beaconMs = -1;
  beaconNext = 0;

  constructor(disk: DiskId, nowMs: number) {
    this.disk = disk;
    this.heardMs = nowMs;
    this.progressMs = nowMs;
  }

  /** Lives that are over: what comes of them is late. */
  readonly #past = new Set<string>();

  /** Whether what this life says is late. */
  isOver(incarnation: string): boolean {
    return this.#past.has(incarnation);
  }

  /** Another host process has the disk open: nothing that the old one was sent is on its way any more. */
  restarted(incarnation: string): void {
    this.#past.add(this.incarnation);
    this.incarnation = incarnation;
    // It may have been only a learner that had it, and lost it with its machine.
    this.written = Math.min(this.written, this.durable);
    this.memberVersion = 0;
    this.echoMs = 0;
    this.echoReceivedMs = -Infinity;
    this.beaconMs = -1;
    this.levels = null;
    this.snapshotting = false;
    this.resend();
  }

  /** Up to there its log may be the same. */
  startAt(index: number): void {
    this.#start = index;
    this.next = index;
    this.#forgetOutstanding();
  }

  /** Its log is the same no further, whatever it, or its life before, has said. */
  lowerTo(index: number): void {
    this.received = Math.min(this.received, index);
    this.written = Math.min(this.written, index);
    this.durable = Math.min(this.durable, index);
  }

  /** Sends again what may have been lost. */
  resend(): void {
    this.next = Math.min(this.next, this.received > 0 ? this.received + 1 : this.#start);
    this.#forgetOutstanding();
  }

  #forgetOutstanding(): void {
    this.matched = false;
    this.outstanding = [];
    this.outstandingBytes = 0;
  }

  receivedTo(index: number): void {
    if (index > this.received) this.received = index;
    let done = 0;
    while (done < this.outstanding.length && this.outstanding[done]!.index <= index) {
      this.outstandingBytes -= this.outstanding[done]!.bytes;
      done++;
    }
    if (done > 0) this.outstanding.splice(0, done);
  }
}
