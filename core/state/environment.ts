/**
 * What the environment of a state process tells its runtime; whoever starts one passes it.
 *
 * Bun's memory allocator gives pages that its garbage collector has freed back to the system after some milliseconds, and
 * takes new ones in the next turn: 1 page fault a write of 256 bytes, 4 to 5 one of 4 KiB, a fifth of its processor time.
 * Kept, they are used again; what the process holds is then the most that it ever needed (0.2 to 0.3 GB at full load).
 */
export const stateEnvironment: Readonly<Record<string, string>> = { MIMALLOC_PURGE_DELAY: "-1" };
