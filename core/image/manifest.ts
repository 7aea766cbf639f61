/**
 * An image's manifest: the list of its entries, in the one way of writing it, so that equal trees have equal digests.
 *
 *   ["dvs-image",1,4]                        version, number of entries
 *   ["d","/",493]                            directory: path, mode
 *   ["f","/a.txt",420,12,"9f86d0…"]          file: path, mode, size, SHA-256 of its content in hex
 *   ["l","/b","a.txt"]                       symbolic link: path, target
 *   ["d","/c",493]
 *
 * One JSON array a line, as JSON.stringify writes it, each line ended by LF; entries ascend by path (code units), the
 * root first, each after its directory. The image's digest is the SHA-256 of these bytes, and they are a blob too.
 * A manifest comes from other machines: parsing refuses everything that building would not write.
 */
import { z } from "zod";
import { DvsError } from "../errors.ts";
import { blobBytesMax, imageFilesMax, manifestBytesMax } from "../limits.ts";
import type { ImageEntry } from "../vos.ts";
import { digestFromHex, digestOfLarge, hexOf, nextTurn } from "./digest.ts";
import { parentOf, pathIssue, targetIssue } from "./path.ts";

export const manifestVersion = 1;

export interface Manifest {
  /** The image's. */
  digest: string;
  entries: ImageEntry[];
  files: number;
  /** Sum of the files' sizes. */
  bytes: number;
  /** Each blob that the files need, once, with its size. Without the manifest itself. */
  blobs: Map<string, number>;
}

const Path = z.string().superRefine((path, context) => {
  const issue = pathIssue(path);
  if (issue) context.addIssue({ code: "custom", message: `path ${quote(path)} ${issue}` });
});
const Mode = z.number().int().min(0).max(0o777);
const Header = z.tuple([
  z.literal("dvs-image"),
  z.literal(manifestVersion),
  z.number().int().min(1).max(imageFilesMax),
]);
const lines = {
  d: z.tuple([z.literal("d"), Path, Mode]),
  f: z.tuple([
    z.literal("f"),
    Path,
    Mode,
    z.number().int().min(0).max(blobBytesMax),
    z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hex digits"),
  ]),
  l: z.tuple([z.literal("l"), Path, z.string()]),
};

/** Longer than any line can be: two paths, each character escaped. */
const lineBytesMax = 64 * 1024;
/** Lines between two looks at the event loop: about a millisecond. */
const linesPerTurn = 256;

/** The bytes of a manifest with these entries, in any order. INVALID when they are not a tree. */
export async function encodeManifest(entries: Iterable<ImageEntry>): Promise<Uint8Array> {
  const sorted = [...entries].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const text = [JSON.stringify(["dvs-image", manifestVersion, sorted.length])];
  for (const entry of sorted) text.push(encodeLine(entry));
  const bytes = new TextEncoder().encode(`${text.join("\n")}\n`);
  // The writer is held to what the reader accepts.
  await parseManifest(bytes);
  return bytes;
}

function encodeLine(entry: ImageEntry): string {
  if (entry.type === "directory") return JSON.stringify(["d", entry.path, entry.mode]);
  if (entry.type === "symlink") return JSON.stringify(["l", entry.path, entry.target]);
  return JSON.stringify(["f", entry.path, entry.mode, entry.size, hexOf(entry.digest)]);
}

/** Checks and reads a manifest; INVALID names the line and what is wrong with it. Gives way to the event loop. */
export async function parseManifest(bytes: Uint8Array): Promise<Manifest> {
  if (bytes.length > manifestBytesMax) {
    throw invalid(0, `it has ${bytes.length} bytes, more than the limit of ${manifestBytesMax}`);
  }
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const directories = new Set<string>();
  const blobs = new Map<string, number>();
  const entries: ImageEntry[] = [];
  let count = -1;
  let files = 0;
  let total = 0;
  let line = 0;
  for (let at = 0; at < bytes.length; line++) {
    const end = bytes.indexOf(10, at);
    if (end < 0) throw invalid(line, "it does not end with LF: the manifest is cut off");
    if (end - at > lineBytesMax) throw invalid(line, `it is longer than ${lineBytesMax} bytes`);
    const value = parseJson(decoder, bytes.subarray(at, end), line);
    at = end + 1;
    if (line === 0) {
      count = check(Header, value, 0)[2];
      continue;
    }
    const entry = parseEntry(value, line);
    const before = entries.at(-1);
    if (!before && (entry.path !== "/" || entry.type !== "directory")) {
      throw invalid(line, "the first entry must be the directory /");
    }
    if (before && before.path >= entry.path) {
      throw invalid(line, `path ${quote(entry.path)} is a duplicate or out of order`);
    }
    if (before && !directories.has(parentOf(entry.path))) {
      throw invalid(line, `path ${quote(entry.path)} is in no directory of the image`);
    }
    if (entries.length === count) throw invalid(line, `there are more than the ${count} entries announced`);
    if (entry.type === "directory") directories.add(entry.path);
    if (entry.type === "file") {
      if ((blobs.get(entry.digest) ?? entry.size) !== entry.size) {
        throw invalid(line, `blob ${entry.digest} has another size at another path`);
      }
      blobs.set(entry.digest, entry.size);
      files++;
    }
    total += entry.size;
    entries.push(entry);
    if (line % linesPerTurn === 0) await nextTurn();
  }
  if (entries.length !== count) {
    throw invalid(line, `${count < 0 ? "no" : count} entries are announced, there are ${entries.length}`);
  }
  return { digest: await digestOfLarge(bytes), entries, files, bytes: total, blobs };
}

function parseJson(decoder: TextDecoder, bytes: Uint8Array, line: number): unknown {
  let text: string;
  let value: unknown;
  try {
    text = decoder.decode(bytes);
    value = JSON.parse(text);
  } catch (e) {
    throw invalid(line, `it is not JSON in UTF-8: ${e instanceof Error ? e.message : String(e)}`);
  }
  if (JSON.stringify(value) !== text) throw invalid(line, "it is not written in the canonical way");
  return value;
}

function parseEntry(value: unknown, line: number): ImageEntry {
  const kind: unknown = Array.isArray(value) ? value[0] : undefined;
  if (kind === "d") {
    const [, path, mode] = check(lines.d, value, line);
    return { path, type: "directory", size: 0, digest: "", mode, target: "" };
  }
  if (kind === "f") {
    const [, path, mode, size, hex] = check(lines.f, value, line);
    return { path, type: "file", size, digest: digestFromHex(hex), mode, target: "" };
  }
  if (kind === "l") {
    const [, path, target] = check(lines.l, value, line);
    const issue = targetIssue(path, target);
    if (issue) throw invalid(line, `target ${quote(target)} of link ${quote(path)} ${issue}`);
    return { path, type: "symlink", size: 0, digest: "", mode: 0o777, target };
  }
  throw invalid(line, `its kind is ${quote(String(kind))}, not "d", "f" or "l"`);
}

function check<T>(schema: z.ZodType<T>, value: unknown, line: number): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw invalid(line, `${issue?.path.length ? `item ${issue.path.join(".")}: ` : ""}${issue?.message}`);
}

/** For messages: a hostile manifest does not decide how long they are. */
function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

function invalid(line: number, message: string): DvsError {
  return new DvsError("INVALID", `Invalid image manifest, line ${line + 1}: ${message.slice(0, 500)}`, {
    issues: [{ path: String(line + 1), message: message.slice(0, 500) }],
  });
}
