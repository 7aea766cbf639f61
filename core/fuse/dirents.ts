/**
 * Entries of a directory, packed into one answer of a given size. An offset is where reading goes on behind an entry:
 * 1 behind ".", 2 behind "..", and above that the cookies of the rest.
 */
import { type Attributes, kinds } from "../files/attributes.ts";
import type { DirectoryEntry } from "../files/file-system.ts";
import { entryBytes } from "./abi.ts";
import { Answer, direntType, type Validity } from "./answer.ts";

const direntBytes = 24;
const encoder = new TextEncoder();
const dots = 2;

/** What `entries` is asked to go on behind. */
export function cookieOf(offset: number): number {
  return Math.max(0, offset - dots);
}

export class Dirents {
  readonly #answer: Answer;
  readonly #sizeMax: number;
  readonly #plus: Validity | null;
  #length = 0;

  /** `plus`: each with its attributes (READDIRPLUS), valid for so long. */
  constructor(sizeMax: number, plus: Validity | null) {
    this.#sizeMax = sizeMax;
    this.#plus = plus;
    this.#answer = new Answer(sizeMax);
  }

  /** False where it is full: the entry comes with the next request. */
  add(entry: Pick<DirectoryEntry, "name" | "ino" | "kind" | "attributes">, offset: number): boolean {
    const name = encoder.encode(entry.name);
    const head = this.#plus ? entryBytes : 0;
    const length = head + ((direntBytes + name.length + 7) & ~7);
    if (this.#length + length > this.#sizeMax) return false;
    const at = this.#length;
    // Without attributes the node id stays 0: the kernel looks it up when it needs it.
    if (this.#plus && entry.attributes) this.#answer.entry(at, entry.attributes, this.#plus);
    this.#answer
      .u64(at + head, entry.ino)
      .u64(at + head + 8, offset)
      .u32(at + head + 16, name.length)
      .u32(at + head + 20, direntType(entry.kind))
      .put(at + head + direntBytes, name);
    this.#length += length;
    return true;
  }

  /** "." and "..", as far as they come behind this offset. */
  addDots(offset: number, ino: number, parent: Pick<Attributes, "ino">): void {
    const kind = kinds.directory;
    if (offset < 1) this.add({ name: ".", ino, kind }, 1);
    if (offset < 2) this.add({ name: "..", ino: parent.ino, kind }, 2);
  }

  /** False where it is full. */
  addEntry(entry: DirectoryEntry): boolean {
    return this.add(entry, entry.cookie + dots);
  }

  finish(unique: number): Uint8Array {
    return this.#answer.finish(unique, 0, 16 + this.#length);
  }
}

/** How many entries are worth asking for, for an answer of this size. */
export function entriesFor(size: number, plus: boolean): number {
  const usual = direntBytes + 24 + (plus ? entryBytes : 0);
  return Math.max(16, Math.ceil(size / usual));
}
