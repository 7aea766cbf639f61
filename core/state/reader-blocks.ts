/** Blocks as a reader beside a replica gives them to modules: it changes nothing, so no module calls the rest. */
import { BlockReader } from "../blocks/block-reader.ts";
import type { ModuleBlocks } from "./module.ts";

export class ReaderBlocks extends BlockReader implements ModuleBlocks {
  readonly readBlob?: NonNullable<ModuleBlocks["readBlob"]>;

  constructor(dir: string, readBlob?: ModuleBlocks["readBlob"]) {
    super(dir);
    if (readBlob) this.readBlob = readBlob;
  }

  /** Replicas tell it each other. */
  bytesFree(): null {
    return null;
  }
  write(): never {
    throw new Error("a reader beside a replica writes no blocks");
  }
  discard(): never {
    throw new Error("a reader beside a replica discards no segments");
  }
}
