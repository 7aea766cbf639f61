/** Sizes of the block store, with their reasons. */
import { KiB, MiB } from "../limits.ts";

/** Of one replica: 64 TiB, where each has 64 MiB. */
export const segmentsMax = 1_048_576;
export const segmentLengthMax = 1_024 * MiB;
/** Written at once; what comes meanwhile is the next batch. */
export const batchBytesMax = 4 * MiB;
export const batchWritesMax = 256;
/** Files of segments that are kept open: reads of 16 GiB at random open none anew. */
export const segmentsOpenMax = 256;
/** A disk that was full is tried again. */
export const fullRetryMs = 250;
/** Read at once by a container's own process: some 10 µs where the page cache has it. */
export const readNowBytesMax = 64 * KiB;
