/** Sizes and times of the log, with their reasons. */
import { KiB, MiB } from "../limits.ts";

/** One record with its body; also what a reader takes into memory for one. */
export const recordBytesMax = 4 * MiB;
/** Segments end above this. Smaller: the log is cut off behind snapshots in finer pieces; larger: fewer new files. */
export const segmentBytes = 16 * MiB;
/** Records that are written at once: bounds one write, and what waits behind it. */
export const groupBytesMax = 4 * MiB;
/**
 * Zeros that are written behind a small group, so that those after it do not change the size of the file, which would
 * make each fdatasync also a commit of the file system's journal (ext4, 64 × 288 B: 0.11 ms against 0.20–0.28 ms).
 */
export const aheadBytes = 1 * MiB;
/** A larger group pays for its journal commit by itself; zeros would only double what is written. */
export const aheadGroupBytesMax = 128 * KiB;
/** The newest records, kept in memory for replicas that lag a little. */
export const tailBytes = 8 * MiB;
/** Bodies up to this are copied beside their heads; larger ones are written from where they are. */
export const copiedBytesMax = 8 * KiB;
/** A quiet log says so after this, by a mark, so that damage of its last records is told from a torn tail. */
export const sealMs = 200;
/** How long a written record may stay unsynced when nobody waits for it: `replicated` promises 100 ms. */
export const lazySyncMs = 40;
/** A disk that was full is tried again. */
export const fullRetryMs = 250;
/** Scrubbing reads this much a second: a log of 1 GiB in three and a half minutes, not felt by the writer. */
export const scrubBytesPerSecond = 5 * MiB;
