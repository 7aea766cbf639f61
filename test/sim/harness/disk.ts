/**
 * A disk with a write cache: what was not synced may be lost, in part or in another order, when the power fails. It
 * survives the death of the host process, as the page cache does.
 *
 * - Each write since the last `sync` of its file is kept, dropped, or torn at a sector, independently.
 * - Creations, renames and deletions are kept up to some point since the last `syncDirectory`, in order.
 */
import type { Random } from "./random.ts";

const sectorBytes = 512;

interface Inode {
  /** What is on the platter. */
  durable: Uint8Array;
  /** What programs read. */
  current: Uint8Array;
  pending: { offset: number; bytes: Uint8Array }[];
}

/** One atomic change: names and what they mean from then on. */
type DirectoryChange = [name: string, inode: Inode | null][];

export class DiskFull extends Error {}

export class Disk {
  readonly #random: Random;
  #current = new Map<string, Inode>();
  #durable = new Map<string, Inode>();
  #pending: DirectoryChange[] = [];
  /** Writes beyond it throw DiskFull. */
  bytesMax = Infinity;

  constructor(random: Random) {
    this.#random = random;
  }

  names(): string[] {
    return [...this.#current.keys()].sort();
  }

  /** Null when there is no such file. */
  read(name: string): Uint8Array | null {
    return this.#current.get(name)?.current.slice() ?? null;
  }

  size(name: string): number {
    return this.#current.get(name)?.current.length ?? 0;
  }

  /** Creates the file if need be; a gap is filled with zeros. */
  write(name: string, offset: number, bytes: Uint8Array): void {
    const inode = this.#current.get(name) ?? this.#create(name);
    const grows = Math.max(0, offset + bytes.length - inode.current.length);
    if (this.#used() + grows > this.bytesMax) throw new DiskFull(`no space for ${grows} bytes of ${name}`);
    inode.current = patched(inode.current, offset, bytes);
    inode.pending.push({ offset, bytes: bytes.slice() });
  }

  append(name: string, bytes: Uint8Array): void {
    this.write(name, this.size(name), bytes);
  }

  truncate(name: string): void {
    this.#change([[name, { durable: new Uint8Array(), current: new Uint8Array(), pending: [] }]]);
  }

  rename(from: string, to: string): void {
    const inode = this.#current.get(from);
    if (!inode) throw new Error(`no file ${from}`);
    this.#change([
      [to, inode],
      [from, null],
    ]);
  }

  remove(name: string): void {
    this.#change([[name, null]]);
  }

  sync(name: string): void {
    const inode = this.#current.get(name);
    if (!inode) return;
    inode.durable = inode.current.slice();
    inode.pending = [];
  }

  syncDirectory(): void {
    this.#durable = new Map(this.#current);
    this.#pending = [];
  }

  /** The power fails: only the platter counts, and what the cache happened to have written to it. */
  powerCut(): void {
    const kept = this.#random.integer(0, this.#pending.length);
    for (const change of this.#pending.slice(0, kept)) apply(this.#durable, change);
    this.#pending = [];
    this.#current = new Map(this.#durable);
    for (const inode of new Set(this.#durable.values())) this.#settle(inode);
  }

  #settle(inode: Inode): void {
    for (const { offset, bytes } of inode.pending) {
      const fate = this.#random.integer(0, 2);
      if (fate === 0) continue;
      const sectors = Math.ceil(bytes.length / sectorBytes);
      const end = fate === 1 ? bytes.length : this.#random.integer(0, sectors) * sectorBytes;
      inode.durable = patched(inode.durable, offset, bytes.subarray(0, end));
    }
    inode.pending = [];
    inode.current = inode.durable.slice();
  }

  #create(name: string): Inode {
    const inode: Inode = { durable: new Uint8Array(), current: new Uint8Array(), pending: [] };
    this.#change([[name, inode]]);
    return inode;
  }

  #change(change: DirectoryChange): void {
    apply(this.#current, change);
    this.#pending.push(change);
  }

  #used(): number {
    let used = 0;
    for (const inode of new Set(this.#current.values())) used += inode.current.length;
    return used;
  }
}

function apply(directory: Map<string, Inode>, change: DirectoryChange): void {
  for (const [name, inode] of change) {
    if (inode) directory.set(name, inode);
    else directory.delete(name);
  }
}

function patched(old: Uint8Array, offset: number, bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) return old;
  const next = new Uint8Array(Math.max(old.length, offset + bytes.length));
  next.set(old);
  next.set(bytes, offset);
  return next;
}
