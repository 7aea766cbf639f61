/**
 * A disk with a write cache: what was not synced may be lost, in part or in another order, when the power fails. It
 * survives the death of the host process, as the page cache does.
 *
 * - Each write since the last `sync` of its file is kept, dropped, or torn at a sector, independently.
 * - Creations, renames and deletions are kept up to some point since the last `syncDirectory`, in order.
 */
import type { Random } from "./random.ts";

const sectorBytes = 512;

/** One atomic change: names and what they mean from then on. */
type DirectoryChange = [name: string, file: DiskFile | null][];

/** What was done to a file and may not be on the platter yet; without bytes: it was cut to `offset`. */
interface Pending {
  offset: number;
  bytes: Uint8Array | null;
}

export class DiskFull extends Error {}

export class Disk {
  readonly #random: Random;
  #current = new Map<string, DiskFile>();
  #durable = new Map<string, DiskFile>();
  #pending: DirectoryChange[] = [];
  #synced = 0;
  /** Writes beyond it throw DiskFull. */
  bytesMax = Infinity;
  readonly #directories = new Map<string, Disk>();

  readonly #parent: Disk | null;

  constructor(random: Random, parent: Disk | null = null) {
    this.#random = random;
    this.#parent = parent;
  }

  /** Names of its own, in the same room. */
  directory(name: string): Disk {
    let directory = this.#directories.get(name);
    if (!directory) {
      directory = new Disk(this.#random, this);
      this.#directories.set(name, directory);
    }
    return directory;
  }

  /** Bytes of all files. */
  get used(): number {
    let used = 0;
    for (const file of new Set(this.#current.values())) used += file.size;
    for (const directory of this.#directories.values()) used += directory.used;
    return used;
  }

  names(): string[] {
    return [...this.#current.keys()].sort();
  }

  /** As an open file: it stays the same one when its name goes to another. */
  file(name: string): DiskFile | undefined {
    return this.#current.get(name);
  }

  /** Null when there is no such file. */
  read(name: string): Uint8Array | null {
    return this.#current.get(name)?.read(0, Infinity) ?? null;
  }

  size(name: string): number {
    return this.#current.get(name)?.size ?? 0;
  }

  /** Creates the file if need be; a gap is filled with zeros. */
  write(name: string, offset: number, bytes: Uint8Array): void {
    (this.#current.get(name) ?? this.create(name)).write(offset, bytes);
  }

  append(name: string, bytes: Uint8Array): void {
    this.write(name, this.size(name), bytes);
  }

  /** An empty file under this name, whatever had it before. */
  create(name: string): DiskFile {
    const file = new DiskFile(this);
    this.#change([[name, file]]);
    return file;
  }

  truncate(name: string): void {
    this.create(name);
  }

  rename(from: string, to: string): void {
    const file = this.#current.get(from);
    if (!file) throw new Error(`no file ${from}`);
    this.#change([
      [to, file],
      [from, null],
    ]);
  }

  remove(name: string): void {
    this.#change([[name, null]]);
  }

  sync(name: string): void {
    this.#current.get(name)?.sync();
  }

  /** All changes of names until now. */
  get changes(): number {
    return this.#synced + this.#pending.length;
  }

  /** Names are as they were when the `changes` were so many, also after a power cut. */
  syncDirectory(changes = this.changes): void {
    const count = Math.max(0, changes - this.#synced);
    for (const change of this.#pending.splice(0, count)) apply(this.#durable, change);
    this.#synced = Math.max(this.#synced, changes);
  }

  /** The power fails: only the platter counts, and what the cache happened to have written to it. */
  powerCut(): void {
    const kept = this.#random.integer(0, this.#pending.length);
    for (const change of this.#pending.slice(0, kept)) apply(this.#durable, change);
    this.#synced += this.#pending.length;
    this.#pending = [];
    this.#current = new Map(this.#durable);
    for (const file of new Set(this.#durable.values())) file.powerCut(this.#random);
    for (const directory of this.#directories.values()) directory.powerCut();
  }

  /** Throws where it does not fit. */
  claim(bytes: number): void {
    if (this.#parent) return this.#parent.claim(bytes);
    if (this.bytesMax === Infinity || bytes <= 0) return;
    if (this.used + bytes > this.bytesMax) throw new DiskFull(`no space for ${bytes} bytes`);
  }

  #change(change: DirectoryChange): void {
    apply(this.#current, change);
    this.#pending.push(change);
  }
}

export class DiskFile {
  readonly #disk: Disk;
  /** What is on the platter. */
  readonly #durable = new Content();
  /** What programs read. */
  readonly #current = new Content();
  #pending: Pending[] = [];
  /** Writes and cuts that have been synced. */
  #synced = 0;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  get size(): number {
    return this.#current.size;
  }

  /** All writes and cuts until now. */
  get changes(): number {
    return this.#synced + this.#pending.length;
  }

  /** All of it is on the platter. */
  get isSynced(): boolean {
    return this.#pending.length === 0;
  }

  /** A copy; fewer bytes at the end. */
  read(offset: number, bytes: number): Uint8Array {
    return this.#current.read(offset, bytes);
  }

  /** A gap is filled with zeros. Throws DiskFull, and is as before then. */
  write(offset: number, bytes: Uint8Array): void {
    this.#disk.claim(offset + bytes.length - this.size);
    this.#do({ offset, bytes: bytes.slice() });
  }

  cut(bytes: number): void {
    this.#do({ offset: bytes, bytes: null });
  }

  /** What was done before the `changes` were so many survives a power cut. */
  sync(changes = this.changes): void {
    const count = Math.max(0, changes - this.#synced);
    for (const pending of this.#pending.splice(0, count)) this.#durable.do(pending);
    this.#synced = Math.max(this.#synced, changes);
  }

  powerCut(random: Random): void {
    for (const { offset, bytes } of this.#pending) {
      const fate = random.integer(0, 2);
      if (fate === 0) continue;
      const sectors = Math.ceil((bytes?.length ?? 0) / sectorBytes);
      const end = fate === 1 || !bytes ? Infinity : random.integer(0, sectors) * sectorBytes;
      this.#durable.do({ offset, bytes: bytes && bytes.subarray(0, end) });
    }
    this.#synced += this.#pending.length;
    this.#pending = [];
    this.#current.become(this.#durable);
  }

  /** The disk gives back something else than was written to it. */
  flip(offset: number, bits: number): void {
    const byte = this.#durable.read(offset, 1);
    if (byte.length === 0) return;
    byte[0]! ^= bits;
    this.#durable.do({ offset, bytes: byte });
    this.#current.do({ offset, bytes: byte });
  }

  #do(pending: Pending): void {
    this.#current.do(pending);
    this.#pending.push(pending);
  }
}

/** Bytes that grow in place. */
class Content {
  #bytes: Uint8Array = new Uint8Array(0);
  size = 0;

  read(offset: number, bytes: number): Uint8Array {
    return this.#bytes.slice(Math.min(offset, this.size), Math.min(this.size, offset + bytes));
  }

  do({ offset, bytes }: Pending): void {
    if (!bytes) {
      this.#grow(offset);
      if (offset < this.size) this.#bytes.fill(0, offset, this.size);
      this.size = offset;
    } else if (bytes.length > 0) {
      this.#grow(offset + bytes.length);
      this.#bytes.set(bytes, offset);
      this.size = Math.max(this.size, offset + bytes.length);
    }
  }

  become(other: Content): void {
    this.#bytes = other.read(0, other.size);
    this.size = this.#bytes.length;
  }

  /** Beyond `size` all is zero. */
  #grow(size: number): void {
    if (size <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(size, 2 * this.#bytes.length));
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }
}

function apply(directory: Map<string, DiskFile>, change: DirectoryChange): void {
  for (const [name, file] of change) {
    if (file) directory.set(name, file);
    else directory.delete(name);
  }
}
