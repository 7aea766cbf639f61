/**
 * The primary's log on its way to the others, and what is committed. Carries of DESIGN.md section 5:
 *
 *   rule 1   a record is committed when every replica that may be in sync has it (`deciding`)
 *   rule 2b  … and those that have left the set and may still read
 *   rule 3   an epoch begins with a record of its own; the others' logs are made equal to this one; what an older
 *            epoch left is committed with that record, and only then does the primary serve
 *   rule 7   `has it` is: on its disk for good, or written where the policy is `replicated` and nobody is alone
 *
 * Records that are drawn up in one turn are encoded behind one another and go out at its end, in one message a
 * replica and one call of the log. Acknowledgements are cumulative.
 */
import type { DiskId } from "./configuration.ts";
import { messageTable, type ReplicaMessage } from "./messages.ts";
import { Peer } from "./peer.ts";
import { joinRecords, LogRecord, RecordEncoder, type RecordFields, recordKinds } from "./record.ts";
import type { Replica } from "./replica.ts";
import { appendBytesMax, peerWindowBytes } from "./timings.ts";

const nothing = new Uint8Array(0);

export class ReplicationMachine {
  readonly #replica: Replica;
  readonly #encoder: RecordEncoder;
  readonly peers = new Map<DiskId, Peer>();
  /** Members of all sets that may be in force, without this replica: the primary is alive while all of these promise. */
  #promising: Peer[] = [];
  /** The same, and who has left and may still read: what is committed is on all of these. */
  #deciding: Peer[] = [];
  /** Drawn up in this turn. */
  #batch: LogRecord[] = [];
  /** Of the last record drawn up in this epoch. */
  #timeMs = 0;
  /** Index of this epoch's first record; Infinity: not primary. */
  #epochStart = Infinity;
  /** How far the own disk was, and since when it is no further though more is to be written. */
  #ownProgress = 0;
  #ownProgressMs = -Infinity;
  /** The bytes of the last message: mostly all replicas get the same ones. */
  #shared: { from: number; to: number; bytes: Uint8Array } = { from: 0, to: 0, bytes: nothing };

  constructor(replica: Replica) {
    this.#replica = replica;
    this.#encoder = new RecordEncoder(replica.crc32);
  }

  get promising(): readonly Peer[] {
    return this.#promising;
  }
  get epochStart(): number {
    return this.#epochStart;
  }
  /** Of the last record, also those of this turn. */
  get lastIndex(): number {
    return this.#replica.log.lastIndex + this.#batch.length;
  }
  /** `fsync` also where `replicated` is asked for, while one replica may be alone with a record. */
  get isFsync(): boolean {
    const { policy, configurations, inSync } = this.#replica;
    if (policy.durability === "fsync" || !configurations.isMarkedReplicated) return true;
    return configurations.mayBeAlone || inSync.leavesOne;
  }

  /** Its own disk takes nothing: another is to be primary. */
  get isStuck(): boolean {
    const { nowMs, timings, configurations } = this.#replica;
    return configurations.inSync.length > 1 && nowMs >= this.#ownProgressMs + timings.stuckMs;
  }

  peer(disk: DiskId): Peer | undefined {
    return this.peers.get(disk);
  }

  /** This replica is primary by the configuration: the log of all others is to become its own. */
  begin(): void {
    const { log } = this.#replica;
    this.peers.clear();
    this.#shared = { from: 0, to: 0, bytes: nothing };
    this.#ownProgressMs = this.#replica.nowMs;
    this.#epochStart = log.lastIndex + 1;
    this.membersChanged();
    this.append({
      kind: recordKinds.epochStart,
      client: "",
      sequence: 0,
      ackedBelow: 0,
      module: "",
      operation: nothing,
    });
    const { version, inSync } = this.#replica.configurations;
    for (const peer of this.peers.values()) {
      peer.startAt(this.#epochStart);
      if (inSync.includes(peer.disk)) peer.joinedVersion = version;
    }
  }

  end(): void {
    this.peers.clear();
    this.#promising = [];
    this.#deciding = [];
    this.#batch = [];
    this.#epochStart = Infinity;
  }

  /** Draws a record up; it goes out with this turn's. Its index. */
  append(fields: Omit<RecordFields, "epoch" | "index" | "timeMs" | "random">): LogRecord {
    const { sink, configurations, log } = this.#replica;
    this.#timeMs = Math.max(this.#timeMs, log.timeMs, Math.floor(sink.wallMs()));
    const record = this.#encoder.encode({
      ...fields,
      epoch: configurations.epoch,
      index: this.lastIndex + 1,
      timeMs: this.#timeMs,
      random: sink.random(),
    });
    this.#batch.push(record);
    this.#replica.wantFlush();
    return record;
  }

  /** Configuration, proposals, joining or holds have changed. */
  membersChanged(): void {
    const { isPrimary, configurations, self, leases, inSync } = this.#replica;
    if (!isPrimary) return;
    const required = new Set(configurations.required);
    if (inSync.joining !== null) required.add(inSync.joining);
    required.delete(self.disk);
    this.#promising = [...required].map((disk) => this.#peerOf(disk));
    const held = [...leases.holds.keys()].filter((disk) => !required.has(disk));
    this.#deciding = [...this.#promising, ...held.map((disk) => this.#peerOf(disk))];
    this.maybeCommit();
  }

  /** A replica that is not in sync, and is to become so. */
  addLearner(disk: DiskId): Peer {
    return this.#peerOf(disk);
  }

  /** Learners that nobody wants. */
  forgetUnwanted(): void {
    const { wanted } = this.#replica;
    for (const [disk, peer] of this.peers) {
      if (!wanted.includes(disk) && !this.#deciding.includes(peer)) this.peers.delete(disk);
    }
  }

  /** From a replica that has read the configuration, or has lost its link: sending begins where its log ends. */
  startFrom(peer: Peer, lastEpoch: number, lastIndex: number): void {
    const { log } = this.#replica;
    // Nothing is lost.
    if (peer.matched && lastIndex >= peer.next - 1) return;
    const common = log.lastNotAbove(lastEpoch, lastIndex);
    if (common.epoch > lastEpoch || lastIndex < log.base.index) return this.#sendSnapshot(peer);
    peer.lowerTo(common.index);
    peer.startAt(common.index + 1);
    this.#replica.wantFlush();
  }

  /** Which peer says something, in which life; null: nobody who counts. */
  heard(from: DiskId, incarnation: string): Peer | null {
    const peer = this.peers.get(from);
    if (!peer || peer.isOver(incarnation)) return null;
    if (peer.incarnation !== incarnation) {
      peer.restarted(incarnation);
      this.#replica.wantFlush();
    }
    return peer;
  }

  handleAppended(from: DiskId, [, incarnation, epoch, ...acknowledged]: ReplicaMessage<"appended">): void {
    const replica = this.#replica;
    if (!replica.isPrimary || !replica.configurations.accepts(epoch)) return;
    const peer = this.heard(from, incarnation);
    if (peer) this.acknowledged(peer, ...acknowledged);
  }

  acknowledged(peer: Peer, written: number, durable: number, memberVersion: number): void {
    const replica = this.#replica;
    if (written > peer.written || durable > peer.durable) peer.progressMs = replica.nowMs;
    peer.written = Math.max(peer.written, written);
    peer.durable = Math.max(peer.durable, durable);
    peer.memberVersion = memberVersion;
    peer.receivedTo(written);
    peer.matched = true;
    if (peer.next <= written) peer.next = written + 1;
    this.maybeCommit();
    replica.inSync.progressed(peer);
    replica.wantFlush();
  }

  handleMismatch(from: DiskId, message: ReplicaMessage<"mismatch">): void {
    const [, epoch, recordEpoch, recordIndex, committed] = message;
    const { isPrimary, configurations, log } = this.#replica;
    const peer = this.peers.get(from);
    if (!isPrimary || !configurations.accepts(epoch) || !peer) return;
    if (committed === 1 && log.epochAt(recordIndex) !== recordEpoch) return this.#sendSnapshot(peer);
    const common = log.lastNotAbove(recordEpoch, recordIndex);
    // What is before the log, only a snapshot has.
    if (common.epoch > recordEpoch || recordIndex < log.base.index) return this.#sendSnapshot(peer);
    peer.lowerTo(common.index);
    peer.startAt(common.index + 1);
    this.#replica.wantFlush();
  }

  /** What a beacon's answer says was received of what was sent before the beacon: the rest is lost. */
  handleReceived(peer: Peer, beaconMs: number, received: number): void {
    peer.receivedTo(received);
    if (received > 0) peer.matched = true;
    if (
      beaconMs === peer.beaconMs &&
      received < peer.beaconNext - 1 &&
      !peer.snapshotting &&
      !peer.fetching
    ) {
      peer.resend();
    }
    this.#replica.wantFlush();
  }

  /** Records of the log on disk, for a replica that lags. */
  fetched(peer: Peer, records: readonly LogRecord[]): void {
    const { log } = this.#replica;
    peer.fetching = false;
    const first = records[0];
    if (!first) peer.fetchFromMs = this.#replica.nowMs + this.#replica.timings.retryMs;
    // Truncated, or sent otherwise, meanwhile.
    if (!first || first.index !== peer.next || log.epochAt(records.at(-1)!.index) !== records.at(-1)!.epoch) {
      return this.#replica.wantFlush();
    }
    if (records.at(-1)!.index <= log.lastIndex) this.#send(peer, records);
    this.#replica.wantFlush();
  }

  snapshotSent(disk: DiskId): void {
    const peer = this.peers.get(disk);
    if (!peer) return;
    peer.snapshotting = false;
    // It says where it is when it has installed it.
    peer.fetchFromMs = this.#replica.nowMs + this.#replica.timings.aliveMs;
  }

  flush(): void {
    const { log, sink, isPrimary } = this.#replica;
    if (!isPrimary) return;
    if (this.#batch.length > 0) {
      const batch = this.#batch;
      this.#batch = [];
      log.append(batch);
      if (this.isFsync || batch.some(({ kind }) => kind === recordKinds.sync)) sink.wantDurable();
    }
    for (const peer of this.peers.values()) this.#pump(peer);
  }

  /** What every deciding replica has is committed, once this epoch's first record is. */
  maybeCommit(): void {
    const { log, applying, leases, isPrimary } = this.#replica;
    if (!isPrimary || !leases.mayCommit) return;
    const isFsync = this.isFsync;
    let index = isFsync ? log.durable : log.written;
    for (const peer of this.#deciding) index = Math.min(index, this.#has(peer, isFsync));
    if (index >= this.#epochStart) applying.commitTo(index);
  }

  /** Up to where a power cut of all machines takes nothing away. */
  get durable(): number {
    let index = this.#replica.log.durable;
    for (const peer of this.#deciding) index = Math.min(index, peer.durable);
    return index;
  }

  /** Up to where a replica has the log for good. */
  has(peer: Peer): number {
    return this.#has(peer, this.isFsync);
  }

  /** What is only written counts where its disk knows that it is in sync: after a power cut it is an amnesiac then. */
  #has({ written, durable, memberVersion, joinedVersion }: Peer, isFsync: boolean): number {
    return isFsync || memberVersion < joinedVersion ? durable : written;
  }

  tick(): void {
    const { nowMs, log } = this.#replica;
    for (const peer of this.peers.values()) if (peer.written >= log.lastIndex) peer.progressMs = nowMs;
    const own = this.isFsync ? log.durable : log.written;
    if (own !== this.#ownProgress || own === log.lastIndex) this.#ownProgressMs = nowMs;
    this.#ownProgress = own;
    this.maybeCommit();
  }

  #peerOf(disk: DiskId): Peer {
    let peer = this.peers.get(disk);
    if (!peer) {
      const { nowMs, log } = this.#replica;
      peer = new Peer(disk, nowMs);
      peer.startAt(log.lastIndex + 1);
      this.peers.set(disk, peer);
    }
    return peer;
  }

  #pump(peer: Peer): void {
    const { log, applying } = this.#replica;
    if (peer.fetching || peer.snapshotting) return;
    let sent = false;
    while (
      peer.next <= log.lastIndex &&
      (peer.matched ? peer.outstandingBytes < peerWindowBytes : peer.outstanding.length === 0)
    ) {
      if (peer.next <= log.base.index) return this.#sendSnapshot(peer);
      if (peer.next < log.recentFirst) return this.#fetch(peer);
      this.#send(peer, log.slice(peer.next, appendBytesMax));
      sent = true;
    }
    if (sent || peer.next <= log.lastIndex) return;
    // Nothing follows that would take it along: what was committed, or the question whether the log is the same.
    const isNews = peer.matched ? peer.commitSent < applying.commitIndex : peer.outstanding.length === 0;
    if (isNews) this.#send(peer, []);
  }

  #send(peer: Peer, records: readonly LogRecord[]): void {
    const { log, configurations, sink, applying } = this.#replica;
    const previous = peer.next - 1;
    const bytes = this.#bytesOf(records);
    const commitIndex = applying.commitIndex;
    peer.commitSent = commitIndex;
    if (records.length > 0 || !peer.matched) {
      const last = previous + records.length;
      peer.next = last + 1;
      peer.outstanding.push({ index: last, bytes: bytes.length });
      peer.outstandingBytes += bytes.length;
    }
    sink.send(peer.disk, [
      messageTable.append.number,
      configurations.epoch,
      log.epochAt(previous) ?? 0,
      previous,
      commitIndex,
      bytes,
    ]);
  }

  #bytesOf(records: readonly LogRecord[]): Uint8Array {
    const first = records[0];
    if (!first) return nothing;
    const to = records.at(-1)!.index;
    const shared = this.#shared;
    if (shared.from === first.index && shared.to === to && shared.bytes.length > 0) {
      // The same records: of this log in this epoch, in which nothing is cut off.
      return shared.bytes;
    }
    const bytes = joinRecords(records);
    this.#shared = { from: first.index, to, bytes };
    return bytes;
  }

  #fetch(peer: Peer): void {
    if (this.#replica.nowMs < peer.fetchFromMs) return;
    peer.fetching = true;
    this.#replica.sink.fetch(peer.disk, peer.next, appendBytesMax);
  }

  #sendSnapshot(peer: Peer): void {
    const { inSync, sink, log, nowMs } = this.#replica;
    if (peer.snapshotting || nowMs < peer.fetchFromMs) return;
    // A member that needs one has lost what it had acknowledged.
    if (inSync.isMember(peer.disk)) return inSync.leave(peer.disk, "its log has lost records");
    peer.snapshotting = true;
    sink.sendSnapshot(peer.disk, log.base.index);
  }
}
