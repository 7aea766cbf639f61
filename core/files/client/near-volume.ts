/** Reads beside a replica, without asking it; null: it has to be asked. Throws FileError. */
import type { Attributes } from "../attributes.ts";
import type { DirectoryEntry } from "../file-system.ts";

export interface NearVolume {
  attributes(ino: number): Attributes | null;
  lookup(parent: number, name: string): Attributes | null;
  /** Without attributes. The array is the caller's, the entries are not. */
  entries(ino: number, after: number, limit: number): DirectoryEntry[] | null;
  /** A promise where bytes have to come from the disk. It resolves with null as well. */
  read(ino: number, offset: number, length: number): Uint8Array | Promise<Uint8Array | null> | null;
}
