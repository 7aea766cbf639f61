/** Blocks on their way to their segments: in order, and read from here until they are there. */

export interface QueuedWrite {
  /** Counts from 1. */
  readonly sequence: number;
  readonly segment: number;
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** Blocks that follow one another in one segment: one write. */
export interface Run {
  readonly segment: number;
  readonly position: number;
  readonly blocks: Uint8Array[];
  end: number;
}

export class QueuedWrites {
  #queue: QueuedWrite[] = [];
  readonly #bySegment = new Map<number, QueuedWrite[]>();
  #bytes = 0;
  #last = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** Sequence of the newest, there or gone. */
  get last(): number {
    return this.#last;
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  add(segment: number, position: number, bytes: Uint8Array): void {
    const write = { sequence: ++this.#last, segment, position, bytes };
    this.#queue.push(write);
    this.#bytes += bytes.length;
    const known = this.#bySegment.get(segment);
    if (known) known.push(write);
    else this.#bySegment.set(segment, [write]);
  }

  /** The oldest, as runs that may be written in any order since they do not overlap; they stay until `remove`. */
  batch(bytesMax: number, writesMax: number): { runs: Run[]; count: number } {
    const runs: Run[] = [];
    let count = 0;
    let left = bytesMax;
    for (const { segment, position, bytes } of this.#queue) {
      if (count > 0 && (left < bytes.length || count === writesMax)) break;
      const end = position + bytes.length;
      const overlaps = (run: Run): boolean =>
        run.segment === segment && run.position < end && position < run.end;
      if (runs.some(overlaps)) break;
      const before = runs.find((run) => run.segment === segment && run.end === position);
      if (before) {
        before.blocks.push(bytes);
        before.end = end;
      } else runs.push({ segment, position, blocks: [bytes], end });
      left -= bytes.length;
      count++;
    }
    return { runs, count };
  }

  /** The oldest are in their files. */
  remove(count: number): void {
    const gone = this.#queue.slice(0, count);
    this.#queue = this.#queue.slice(count);
    for (const { segment, bytes } of gone) {
      this.#bytes -= bytes.length;
      const rest = this.#bySegment.get(segment)!;
      // In each segment they are in order, too.
      if (rest.length === 1) this.#bySegment.delete(segment);
      else rest.shift();
    }
  }

  /** Those that have some of it, in order: the later ones count. */
  within(segment: number, position: number, length: number): QueuedWrite[] {
    return (this.#bySegment.get(segment) ?? []).filter(
      (write) => write.position < position + length && position < write.position + write.bytes.length,
    );
  }
}

/** Puts what the writes have of a range that begins at `position` into its bytes. */
export function overlay(bytes: Uint8Array, position: number, writes: readonly QueuedWrite[]): void {
  for (const write of writes) {
    const from = Math.max(position, write.position);
    const to = Math.min(position + bytes.length, write.position + write.bytes.length);
    if (from < to)
      bytes.set(write.bytes.subarray(from - write.position, to - write.position), from - position);
  }
}

/** Whether one of them has all of the range. */
export function whole(writes: readonly QueuedWrite[], position: number, length: number): Uint8Array | null {
  const last = writes.at(-1);
  if (!last || last.position > position || last.position + last.bytes.length < position + length) return null;
  return last.bytes.slice(position - last.position, position - last.position + length);
}
