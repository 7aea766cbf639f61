/** Bytes of files: written, cut, grown. Each step is bounded; what is too much for one is left to the reaper. */
import { extentsPerStep, fileSizeMax, reapedPerStep } from "../../limits.ts";
import type { StateTables } from "../../state/module.ts";
import type { Counters } from "./counters.ts";
import { endOf, type Extent, type Extents, partOf } from "./extents.ts";
import type { Inode } from "./inodes.ts";
import { refuse } from "./refusal.ts";
import type { Segments } from "./segments.ts";
import { prepareAll } from "./statements.ts";

const statements = {
  leave: "INSERT OR REPLACE INTO files_reap VALUES (?, ?)",
};

/** More than these a write takes away in one statement. */
const extentsOneByOne = 8;

/** Sizes and bytes in `inode` are changed; whoever calls saves it, and counts what `allocated` has changed by. */
export class Contents {
  readonly #sql;
  readonly #counters: Counters;
  readonly #extents: Extents;
  readonly #segments: Segments;

  constructor(tables: StateTables, counters: Counters, extents: Extents, segments: Segments) {
    this.#sql = prepareAll(tables, statements);
    this.#counters = counters;
    this.#extents = extents;
    this.#segments = segments;
  }

  /** What `write` would add to what is allocated, at most. EFBIG. */
  growth(inode: Inode, offset: number, length: number): number {
    const end = offset + length;
    if (end > fileSizeMax) refuse("EFBIG");
    if (inode.allocated === 0) return length;
    return length - this.#extents.covered(inode.content, offset, end);
  }

  write(inode: Inode, offset: number, data: Uint8Array): void {
    const end = offset + data.length;
    const { content } = inode;
    let before: Extent | undefined;
    for (const extent of this.#replaced(inode, offset, end)) {
      if (endOf(extent) < offset) continue;
      if (endOf(extent) === offset) before = extent;
      else this.#carve(inode, extent, offset, end);
    }
    this.#extents.put(content, this.#segments.append(offset, data, before));
    inode.allocated += data.length;
    if (end > inode.size) inode.size = end;
  }

  /** Extents that a write meets, and one that may end where it begins; without those that are all of them taken away. */
  #replaced(inode: Inode, offset: number, end: number): Extent[] {
    // An empty file has nothing to look for.
    if (inode.allocated === 0) return [];
    const { content } = inode;
    const from = Math.max(0, offset - 1);
    const found = this.#extents.overlapping(content, from, end, extentsOneByOne + 1);
    if (found.length <= extentsOneByOne) return found;
    for (const { segment, bytes } of this.#extents.removeWithin(content, offset, end)) {
      this.#segments.free(segment, bytes);
      inode.allocated -= bytes;
    }
    return this.#extents.overlapping(content, from, end);
  }

  /** Cuts it, or makes it longer by a hole. */
  resize(inode: Inode, size: number): void {
    if (size < inode.size && inode.allocated > 0) this.#cut(inode, size);
    inode.size = size;
  }

  /**
   * Before a file grows up to `end`: what is left of a longer one behind its end must not come to light. False: there
   * is more of it than one step can take away.
   */
  clearBehind(inode: Inode, end: number): boolean {
    if (inode.tail === 0 || end <= inode.size) return true;
    const found = this.#extents.overlapping(inode.content, inode.size, end, reapedPerStep + 1);
    for (const extent of found) if (endOf(extent) > inode.size) this.#carve(inode, extent, inode.size, end);
    return found.length <= reapedPerStep;
  }

  /** Nobody has the file any more. */
  leave({ content, allocated, tail }: Inode): void {
    if (allocated > 0 || tail === 1) this.#sql.leave.run(content, 0);
  }

  #cut(inode: Inode, size: number): void {
    const behind = this.#extents.last(inode.content, size, extentsPerStep + 1);
    if (behind.length <= extentsPerStep) {
      for (const extent of behind) this.#segments.free(extent.segment, extent.length);
      if (behind.length > 0) this.#extents.removeFrom(inode.content, size);
      for (const { length } of behind) inode.allocated -= length;
    } else {
      const kept = size > 0 ? this.#extents.overlapping(inode.content, 0, size, extentsPerStep + 1) : [];
      if (kept.length <= extentsPerStep) return this.#beginAnew(inode, size, kept);
      this.#sql.leave.run(inode.content, inode.ino);
      inode.tail = 1;
    }
    // The one that the new end is in.
    const [last] = size > 0 ? this.#extents.overlapping(inode.content, size - 1, size) : [];
    if (last && endOf(last) > size) this.#carve(inode, last, size, endOf(last));
  }

  /** What is kept of it is little: that gets a content of its own, and the old one goes as a whole. */
  #beginAnew(inode: Inode, size: number, kept: readonly Extent[]): void {
    const old = inode.content;
    this.leave(inode);
    inode.content = this.#counters.nextId();
    inode.allocated = 0;
    inode.tail = 0;
    for (const extent of kept) {
      const end = Math.min(size, endOf(extent));
      this.#extents.remove(old, extent.start);
      this.#extents.put(inode.content, partOf(extent, extent.start, end));
      this.#segments.free(extent.segment, endOf(extent) - end);
      inode.allocated += end - extent.start;
    }
  }

  /** Takes [from, end) out of an extent. */
  #carve(inode: Inode, extent: Extent, from: number, end: number): void {
    const { content } = inode;
    const extentEnd = endOf(extent);
    const first = Math.max(from, extent.start);
    const last = Math.min(end, extentEnd);
    const right = last < extentEnd ? partOf(extent, last, extentEnd) : null;
    if (first > extent.start) this.#extents.put(content, partOf(extent, extent.start, first));
    else this.#extents.remove(content, extent.start);
    if (right) this.#extents.put(content, right);
    this.#segments.free(extent.segment, last - first);
    inode.allocated -= last - first;
  }
}
