/** What files beside a replica are read by, as core/state/client/local-reader.ts has it. */
import type { ModuleBlocks, OpenModule } from "../../state/module.ts";

export interface NearReader {
  /** Null: there is nothing to read by. Another one is another database. */
  state(): NearState | null;
}

export interface NearState {
  readonly guard: { readonly isVoid: boolean };
  readonly blocks: Pick<ModuleBlocks, "read" | "readNow" | "readBlob">;
  module(name: string): OpenModule | undefined;
  /** Of one key: the last record that may have changed it, or `notClean`. */
  last(bucket: number): number;
}
