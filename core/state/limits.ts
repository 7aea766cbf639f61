/** Sizes and times of a replica's database and its snapshots, with their reasons. */
import { KiB, MiB } from "../limits.ts";

/** An operation that has its own COMMIT costs 86 µs, one of 64 in a COMMIT 8 µs. */
export const commitRecords = 64;
export const commitMs = 2;
/** Large operations are committed sooner: their pages stay in memory until then. */
export const commitBytes = 1 * MiB;
/** No more is applied while a COMMIT waits for blocks of so many bytes of operations: what waits in memory, too. */
export const heldBytesMax = 16 * MiB;
/** A COMMIT that found no room is tried again after this. */
export const fullRetryMs = 250;
/** Changes that wait in memory for room; more come only from a primary that does not know of a full disk. */
export const redoMax = 100_000;
/**
 * The helper moves the database's write-ahead log into the database when it has grown by this. A write is 2 KiB of it:
 * at 20,000 a second every other second, which costs 0.08 s of a processor, most of it the helper's start.
 */
export const walBytesMax = 64 * MiB;
/**
 * A snapshot is made when the log has grown by this since the last one, or by this many times the database where that is
 * more: what is read again after a power cut, at most. So snapshots cost no more writing than half of the log does.
 */
export const snapshotLogBytes = 256 * MiB;
export const snapshotPerDatabase = 2;
/**
 * While one is being sent, or read for a backup, the log grows by so much before the next: what follows it is there for
 * whoever takes it, and snapshots that cannot be removed yet do not pile up.
 */
export const snapshotHeldLogBytes = 4 * 1_024 * MiB;
/** Pieces in which a snapshot goes to another replica. */
export const snapshotPieceBytes = 256 * KiB;
/** Sent ahead of what the learner has written; beacons wait behind it on the same link. */
export const snapshotWindowBytes = 1 * MiB;
/** Bytes of segments go from replica to replica in such pieces, each with its checksum, so many of them on their way. */
export const blockPieceBytes = 256 * KiB;
export const blockFetchesAhead = 4;
/** Questions of one replica that are answered at a time. */
export const blockAsksMax = 16;
/** Checksums of so much are asked for at once: reading it takes some 20 ms. */
export const summedBytesMax = 16 * MiB;
/** A replica that does not answer for this long is asked no more. */
export const blockAnswerMs = 15_000;
/** Scrubbing of blocks: 20 GiB in little more than half an hour, and a million small files in less than two. */
export const blockScrubBytesPerSecond = 10 * MiB;
/** What a range costs at least, as bytes: looking a small one up takes as long as reading so many. */
export const blockScrubRangeBytes = 64 * KiB;
/** It pauses after so much at a time. */
export const blockScrubStepBytes = 512 * KiB;
/** From the start of a replica to its first round, and between two. */
export const blockScrubFirstMs = 60_000;
export const blockScrubRestMs = 60 * 60_000;
/** Ranges of a module in one step. */
export const scrubbedAtOnce = 64;
/** A learner that writes nothing for this long is given up. Longer than installing takes: a copy of the snapshot. */
export const snapshotStallMs = 60_000;
/** The helper is killed after this: a snapshot of 10 GiB at 40 MB/s has ended before. */
export const helperMsMax = 5 * 60_000;
/** One that looks through a backup: 20 GiB at 20 MB/s. */
export const unpackMsMax = 20 * 60_000;
/** The keeper looks this often at what there is to do, and leaves it for a while when it could not be done. */
export const keeperMs = 500;
export const spaceMs = 100;
export const keeperRetryMs = 30_000;
/** The newest snapshot is read again this often, at the pace of scrubbing: it is what a power cut leaves of old records. */
export const snapshotCheckMs = 60 * 60_000;
/** Room that is kept free on the disk for what is under way, but no more than this share of a small one. */
export const reserveBytes = 64 * MiB;
export const reserveShare = 0.2;
/** Sweeping what a restore has put aside: a step of some milliseconds every so often. */
export const sweepMs = 20;
/** Rows and bytes of a backup in one record: some milliseconds to apply. A row alone may be larger. */
export const restorePieceRows = 512;
export const restorePieceBytes = 128 * KiB;
/** Bytes of segments in one record: few records, and each well below the most that one can have. */
export const restoreBlockBytes = 512 * KiB;
/** A backup is looked through in steps of so long, between which others have their turn. */
export const backupStepMs = 5;
/** Whoever restores gives up when nothing has been taken for so long, */
export const restoreStallMs = 30_000;
export const restoreRetryMs = 200;
/** and what it has left is cleared away after this: longer, also with clocks that differ. */
export const restoreAbandonedMs = 5 * 60_000;
/** Of the size of a backup, what has to be free: the backup, its pieces, their records, the tables beside, a snapshot. */
export const restoreRoom = 5;
/** Of the bytes of its segments: as they came, and where they go; they are in the log no longer than to a snapshot. */
export const restoreBlocksRoom = 2.2;
export const restoreLogBytes = 512 * MiB;
