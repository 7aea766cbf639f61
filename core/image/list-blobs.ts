/** Every blob in a directory, in no order. Blobs that come or go meanwhile may be told or not. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { digestFromHex, isDigest } from "./digest.ts";
import { codeOf } from "./disk.ts";

export async function* listBlobs(dir: string): AsyncGenerator<string> {
  for (const head of await readdir(dir)) {
    if (!/^[0-9a-f]{2}$/.test(head)) continue;
    for (const tail of await namesIn(join(dir, head))) {
      const digest = digestFromHex(head + tail);
      if (isDigest(digest)) yield digest;
    }
  }
}

async function namesIn(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (e) {
    if (codeOf(e) === "ENOENT" || codeOf(e) === "ENOTDIR") return [];
    throw e;
  }
}
