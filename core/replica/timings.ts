/** Times, in milliseconds, and sizes of replicas, one line each with the reason. DESIGN.md section 5, rule 2. */
import { KiB, MiB } from "../limits.ts";

/** All follow from L; an instance may be given another L (`tunedTimings`). */
export interface ReplicaTimings {
  /** L: the primary serves while every other member has acknowledged a beacon that was sent less than this ago. */
  aliveMs: number;
  /** G > L: nobody proposes itself, or serves as primary, before this after the last beacon that it acknowledged. */
  promiseMs: number;
  /** R = L/2: a backup answers reads for this after its own clock that the primary has echoed. */
  readLeaseMs: number;
  /** What a lease of R may last on a clock that runs 1 % slower, with a millisecond for rounding. */
  readLeaseEndedMs: number;
  /** Several in one L, so that a lost one costs nothing. */
  beaconMs: number;
  /** A change whose outcome is not known is sent again after this; also how often the configuration is asked for. */
  retryMs: number;
  /** A member that takes beacons, and no record for so long, is removed: its disk hangs. */
  stuckMs: number;
  /** Reads and writes that nobody can answer are refused after this. */
  waitMs: number;
  /** The same where no primary serves or is heard of: another replica may reach one, and clients ask there. Above G. */
  elsewhereMs: number;
}

const defaultAliveMs = 800;
/** Below this a step of the event loop (≤ L/8) would have to be shorter than a garbage collection. */
export const aliveMsMin = 200;

/** G and the beacons as they are for the default L: 1,100 and 100 of 800. */
export function tunedTimings(aliveMs: number): ReplicaTimings {
  const readLeaseMs = aliveMs / 2;
  return {
    aliveMs,
    promiseMs: Math.ceil(aliveMs * 1.375),
    readLeaseMs,
    readLeaseEndedMs: Math.ceil(readLeaseMs * 1.01) + 1,
    beaconMs: Math.max(20, Math.floor(aliveMs / 8)),
    retryMs: Math.ceil(aliveMs * 0.3),
    stuckMs: aliveMs * 3,
    waitMs: aliveMs * 5,
    elsewhereMs: aliveMs * 2,
  };
}

export const defaultTimings: ReplicaTimings = tunedTimings(defaultAliveMs);

/** One operation; bytes of files go ahead in blocks (DESIGN.md section 5), so that this is ample. */
export const operationBytesMax = 1 * MiB;
export const clientBytesMax = 255;
export const moduleBytesMax = 64;
/** Results that are kept until their client acknowledges them; what answers more is a read. */
export const resultBytesMax = 4 * KiB;
/** Sequence numbers of one client from its lowest unacknowledged on: bounds the results that are kept for it. */
export const clientWindowMax = 4_096;
/** Clients whose removal is remembered, so that a copy of an old request that comes late begins no new session. */
export const removedClientsKept = 16_384;
/** Damaged records that are fetched from other replicas; of more a snapshot is taken. They are in memory at once. */
export const repairBytesMax = 16 * MiB;
/** Records of one message; it is one frame of a link. */
export const appendBytesMax = 256 * KiB;
/** Sent to one replica and not yet received by it. */
export const peerWindowBytes = 4 * MiB;
/** Records without a commit: above, writes are refused until some are committed. */
export const uncommittedBytesMax = 16 * MiB;
/** The newest records that are kept in memory for replicas that lag a little; older ones are read from the log. */
export const recentBytes = 8 * MiB;
/** Records applied in one step: at some 20 µs each a tenth of L/8. */
export const applyBatch = 512;
/** … and after so many bytes none follows: large operations take as long by their bytes. */
export const applyBatchBytes = 512 * KiB;
/** A learner that lags by no more than this is taken in: writes wait until it has caught up. */
export const joinLagBytes = 256 * KiB;
/** Reads of one replica that wait for a commit or a primary. */
export const readsWaitingMax = 16_384;
export const writesWaitingMax = 16_384;
/** Exit certificates remembered: one may come before the configuration that it is about. */
export const certificatesKept = 64;
/** Keys of reads and writes are hashed to so many buckets: what is told apart when a read asks whether it is clean. */
export const keyBuckets = 4_096;
