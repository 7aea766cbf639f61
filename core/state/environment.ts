/**
 * What the environment of a state process tells its runtime; whoever starts one passes it.
 *
 * Bun's memory allocator gives pages that its garbage collector has freed back to the system after some milliseconds, and
 * takes new ones in the next turn: 1 page fault a write of 256 bytes, 4 to 5 one of 4 KiB, a fifth of its processor time.
 * Kept, they are used again; what the process holds is then the most that it ever needed (0.2 to 0.3 GB at full load).
 *
 * Since nothing is given back, what it ever needs must be little: garbage of large writes, a megabyte for each 256 KiB, is
 * collected when the heap has doubled, and under load it doubled to 0.4 GB, in a volume of 20 GB to 0.7. Told that the
 * machine has 512 MiB the collector lets the heap grow by half only, once it has 128 MiB: 0.25 to 0.3 GB, for a tenth
 * more of processor time while large writes come without a pause (interleaved, loaded machine).
 */
import { MiB } from "../limits.ts";

export const stateEnvironment: Readonly<Record<string, string>> = {
  MIMALLOC_PURGE_DELAY: "-1",
  BUN_JSC_forceRAMSize: String(512 * MiB),
};
