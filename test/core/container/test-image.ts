/** An image in a blob directory, from a literal: contents by path, `{ link }` for symbolic links. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { blobPath } from "../../../core/image/blob-file.ts";
import { digestOf } from "../../../core/image/digest.ts";
import { encodeManifest } from "../../../core/image/manifest.ts";
import type { ImageEntry } from "../../../core/vos.ts";

export type Tree = Record<string, string | Uint8Array | { link: string }>;

const encoder = new TextEncoder();

/** Gives the image's digest. */
export async function writeImage(blobDir: string, tree: Tree): Promise<string> {
  const entries = new Map<string, ImageEntry>();
  const add = (type: ImageEntry["type"], path: string, rest: Partial<ImageEntry> = {}): void => {
    const mode = type === "directory" ? 0o755 : type === "file" ? 0o644 : 0o777;
    entries.set(path, { path, type, size: 0, digest: "", mode, target: "", ...rest });
  };
  for (const [path, content] of Object.entries(tree)) {
    for (let dir = dirname(path); ; dir = dirname(dir)) {
      add("directory", dir);
      if (dir === "/") break;
    }
    if (typeof content === "object" && "link" in content) add("symlink", path, { target: content.link });
    else {
      const bytes = typeof content === "string" ? encoder.encode(content) : content;
      add("file", path, { size: bytes.length, digest: put(blobDir, bytes) });
    }
  }
  return put(blobDir, await encodeManifest(entries.values()));
}

function put(blobDir: string, bytes: Uint8Array): string {
  const digest = digestOf(bytes);
  const path = blobPath(blobDir, digest);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return digest;
}
