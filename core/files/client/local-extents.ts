/** Where the bytes of a stretch of a file are in segments beside this process, and which of their pages are known to be good. */
import { crc32 } from "../../checksum.ts";
import { filePageBytes, MiB } from "../../limits.ts";
import type { ModuleBlocks } from "../../state/module.ts";
import { bytesIn, numberIn } from "./results.ts";

/** Extents are looked for by stretches of this length. */
export const windowBytes = 4 * MiB;
/** Of one extent, beside its checksums. */
const extentOverheadBytes = 200;
const checksumBytes = 4;
const what = () => "read where the bytes of a file are";

interface Extent {
  readonly start: number;
  readonly end: number;
  readonly segment: number;
  /** Of its first page in the segment; `lead` bytes of that are not its own. */
  readonly position: number;
  readonly lead: number;
  /** From there on, covered by checksums. */
  readonly bytes: number;
  readonly checksums: DataView;
  /** By page: 1 where it was checked. */
  checked: Uint8Array | null;
}

type Blocks = Pick<ModuleBlocks, "read" | "readNow" | "readBlob">;

export class LocalExtents {
  readonly #extents: Extent[];
  /** Memory that it takes. */
  readonly bytes: number;

  constructor(rows: readonly (readonly unknown[])[]) {
    this.#extents = rows.map(extentIn);
    this.bytes = this.#extents.reduce(
      (bytes, { checksums }) => bytes + checksums.byteLength + extentOverheadBytes,
      extentOverheadBytes,
    );
  }

  /** Bytes [start, end) of the file; holes are zeros. Null: they cannot be had here. */
  read(blocks: Blocks, start: number, end: number): Uint8Array | Promise<Uint8Array | null> | null {
    const extents = this.#extents;
    let i = this.#firstEndingAfter(start);
    const first = extents[i];
    if (first && first.start <= start && first.end >= end) return readOf(blocks, first, start, end);
    const all = new Uint8Array(end - start);
    const late: Promise<boolean>[] = [];
    for (; i < extents.length && extents[i]!.start < end; i++) {
      const extent = extents[i]!;
      const from = Math.max(start, extent.start);
      const bytes = readOf(blocks, extent, from, Math.min(end, extent.end));
      if (!bytes) return null;
      const put = (part: Uint8Array | null): boolean => {
        if (part) all.set(part, from - start);
        return part !== null;
      };
      if (bytes instanceof Uint8Array) put(bytes);
      else late.push(bytes.then(put));
    }
    if (late.length === 0) return all;
    return Promise.all(late).then((done) => (done.every(Boolean) ? all : null));
  }

  /** They do not overlap, and are in their order. */
  #firstEndingAfter(offset: number): number {
    let [low, high] = [0, this.#extents.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#extents[middle]!.end > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Bytes [start, end) of the file, all of which the extent has. */
function readOf(
  blocks: Blocks,
  extent: Extent,
  start: number,
  end: number,
): Uint8Array | Promise<Uint8Array | null> | null {
  const from = extent.lead + start - extent.start;
  const length = end - start;
  if (extent.segment < 0) return null;
  const firstPage = Math.floor(from / filePageBytes);
  const endPage = Math.ceil((from + length) / filePageBytes);
  if (isChecked(extent, firstPage, endPage)) {
    return blockOf(blocks, extent.segment, extent.position + from, length);
  }
  const pagesFrom = firstPage * filePageBytes;
  const pagesLength = Math.min(extent.bytes, endPage * filePageBytes) - pagesFrom;
  const check = (pages: Uint8Array | null): Uint8Array | null =>
    pages && checkPages(extent, firstPage, pages)
      ? pages.subarray(from - pagesFrom, from - pagesFrom + length)
      : null;
  const pages = blockOf(blocks, extent.segment, extent.position + pagesFrom, pagesLength);
  return pages instanceof Uint8Array ? check(pages) : pages.then(check);
}

/** At once where that is quick. Resolves with null where it is not there. */
function blockOf(
  blocks: Blocks,
  segment: number,
  position: number,
  length: number,
): Uint8Array | Promise<Uint8Array | null> {
  return (
    blocks.readNow?.(segment, position, length) ?? blocks.read(segment, position, length).catch(() => null)
  );
}

function isChecked({ checked }: Extent, from: number, to: number): boolean {
  if (!checked) return false;
  for (let page = from; page < to; page++) if (checked[page] !== 1) return false;
  return true;
}

function checkPages(extent: Extent, firstPage: number, pages: Uint8Array): boolean {
  const checked = (extent.checked ??= new Uint8Array(Math.ceil(extent.bytes / filePageBytes)));
  for (let at = 0, page = firstPage; at < pages.length; at += filePageBytes, page++) {
    if (checked[page] === 1) continue;
    const sum = crc32(pages.subarray(at, at + filePageBytes));
    if (sum !== extent.checksums.getUint32(page * checksumBytes, true)) return false;
    checked[page] = 1;
  }
  return true;
}

function extentIn(row: readonly unknown[]): Extent {
  const [start, length, segment, position, lead, bytes] = row
    .slice(0, 6)
    .map((field) => numberIn(field, what));
  const sums = bytesIn(row[6], what);
  return {
    start: start!,
    end: start! + length!,
    segment: segment!,
    position: position!,
    lead: lead!,
    bytes: bytes!,
    checksums: new DataView(sums.buffer, sums.byteOffset, sums.byteLength),
    checked: null,
  };
}
