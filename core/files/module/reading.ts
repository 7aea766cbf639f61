/**
 * Bytes of files. What is read is decided at once; then come the bytes, which may have to come from the disk, and are
 * checked page by page. Bytes that the disk has damaged are fetched from another replica, or the read is an EIO.
 */
import type { ModuleBlocks } from "../../state/module.ts";
import { isDirectory, kindOf, kinds } from "../attributes.ts";
import type { FileQuery, FileResult } from "../operations.ts";
import { firstDamaged } from "./checksums.ts";
import { endOf, type Extent, partOf } from "./extents.ts";
import { type Inode } from "./inodes.ts";
import { refuse } from "./refusal.ts";
import type { Volume } from "./volume.ts";

type Query<Name extends FileQuery[0]> = Extract<FileQuery, readonly [Name, ...unknown[]]>;

export function extents(volume: Volume, [, ino, offset, length]: Query<"extents">): FileResult {
  const inode = regularFile(volume, ino);
  const parts = partsOf(volume, inode, offset, Math.min(inode.size, offset + length));
  return [
    "",
    parts.map(({ start, length: bytes, ...at }) => [
      ...[start, bytes, at.segment, at.position, at.lead, at.bytes, at.checksums],
    ]),
  ];
}

export function blob(volume: Volume, [, row]: Query<"blob">): FileResult {
  return ["", volume.blobs.digestOf(row) ?? refuse("ENOENT")];
}

/** A promise where bytes are not at hand. */
export function read(
  volume: Volume,
  blocks: ModuleBlocks | undefined,
  query: Query<"read">,
  tries = triesMax,
): FileResult | Promise<FileResult> {
  const [, ino, offset, length] = query;
  const inode = regularFile(volume, ino);
  const end = Math.min(inode.size, offset + length);
  if (end <= offset) return ["", new Uint8Array(0)];
  const parts = partsOf(volume, inode, offset, end);
  const waiting: Promise<void>[] = [];
  const only = parts.length === 1 && parts[0]!.start === offset && endOf(parts[0]!) === end;
  // Holes are zeros.
  const result = only ? null : new Uint8Array(end - offset);
  let whole: Uint8Array | null = null;
  const put = (part: Extent, bytes: Uint8Array): void => {
    if (result) result.set(bytes, part.start - offset);
    else whole = bytes.slice();
  };
  for (const part of parts) {
    const bytes = readPart(volume, blocks, part);
    if (bytes instanceof Uint8Array) put(part, bytes);
    else waiting.push(bytes.then((late) => put(part, late)));
  }
  const answer = (): FileResult => ["", result ?? whole];
  if (waiting.length === 0) return answer();
  return Promise.all(waiting).then(answer, (e: unknown) => {
    // They may have been moved, and the segment given back meanwhile.
    if (tries > 1) return read(volume, blocks, query, tries - 1);
    // Beside a replica: that one is asked, which repairs them.
    if (!blocks?.repair) throw e;
    return ["EIO"];
  });
}

const triesMax = 3;

/** The bytes of a part of an extent, checked. Rejects where they cannot be had. */
export function readPart(
  volume: Volume,
  blocks: ModuleBlocks | undefined,
  part: Extent,
): Uint8Array | Promise<Uint8Array> {
  const { segment, position, lead, bytes, length, checksums } = part;
  if (!blocks) return Promise.reject(new Error("no bytes here"));
  const cut = (pages: Uint8Array): Uint8Array => pages.subarray(lead, lead + length);
  if (segment < 0) {
    const digest = volume.blobs.digestOf(-segment);
    if (digest === undefined || !blocks.readBlob) return Promise.reject(new Error("no image here"));
    return blocks.readBlob(digest, position + lead, length);
  }
  const isGood = (pages: Uint8Array): boolean => pages.length === bytes && firstDamaged(pages, checksums) < 0;
  const now = blocks.readNow?.(segment, position, bytes);
  if (now && isGood(now)) return cut(now);
  return bytesAt(blocks, segment, position, bytes, isGood).then(cut);
}

/** As they were written: by another replica where the disk has damaged or lost them. */
async function bytesAt(
  blocks: ModuleBlocks,
  segment: number,
  position: number,
  length: number,
  isGood: (pages: Uint8Array) => boolean,
): Promise<Uint8Array> {
  try {
    const pages = await blocks.read(segment, position, length);
    if (isGood(pages)) return pages;
  } catch (e) {
    if (!blocks.repair) throw e;
  }
  if (blocks.repair) return blocks.repair(segment, position, length, isGood);
  throw new Error(`segment ${segment} is damaged at ${position}`);
}

/** What [offset, end) has of each extent, in their order. */
function partsOf({ extents: rows }: Volume, inode: Inode, offset: number, end: number): Extent[] {
  if (end <= offset || inode.allocated === 0) return [];
  return rows
    .overlapping(inode.content, offset, end)
    .filter((extent) => endOf(extent) > offset)
    .map((extent) => partOf(extent, Math.max(offset, extent.start), Math.min(end, endOf(extent))));
}

function regularFile({ inodes }: Volume, ino: number): Inode {
  const inode = inodes.get(ino);
  if (kindOf(inode) === kinds.file) return inode;
  return refuse(isDirectory(inode) ? "EISDIR" : "EINVAL");
}
