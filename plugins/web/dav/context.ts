/** What the writing methods work with. */
import type { FileSystem } from "../../../core/files/file-system.ts";
import type { TagOf } from "../volume/tag.ts";
import type { WorkArea } from "./work-area.ts";

export interface DavContext {
  fs: FileSystem;
  work: WorkArea;
  tagOf: TagOf;
  /** Bytes of one file. */
  fileBytesMax: number;
  contentType: (path: string) => string;
  /** Whether the path of a request may be written: null where not. */
  target: (path: string) => Target | null;
  /** Whether a name may be told. */
  isShown: (path: string) => boolean;
}

/** A path that may be written. */
export interface Target {
  names: readonly string[];
  /** It was written with a slash at its end. */
  isCollection: boolean;
  /** All below it may be written too. */
  isWhole: boolean;
}
