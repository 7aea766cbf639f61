/**
 * Blocks in which small frames are put together, shared by all links of a host process. Some are kept for reuse:
 * a fresh one costs more than filling it.
 */
import { frameBlockBytes, frameBlocksKept } from "../../limits.ts";

export interface Block {
  readonly bytes: Uint8Array;
  /** Segments that lie in it, and whether one may still be put there. */
  users: number;
}

const kept: Block[] = [];

export function takeBlock(): Block {
  const block = kept.pop() ?? { bytes: new Uint8Array(frameBlockBytes), users: 0 };
  block.users = 1;
  return block;
}

/** One user fewer. */
export function releaseBlock(block: Block): void {
  block.users--;
  if (block.users === 0 && kept.length < frameBlocksKept) kept.push(block);
}
