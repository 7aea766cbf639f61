/** An image in memory, through the real reader, on blobs in a temporary directory. */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openImage } from "../../core/image/reader.ts";
import type { ImageReader } from "../../core/vos.ts";
import { writeImage, type Tree } from "../core/container/test-image.ts";

export async function imageOf(tree: Tree): Promise<ImageReader> {
  const blobDir = mkdtempSync(join(tmpdir(), "dvs-"));
  const digest = await writeImage(blobDir, tree);
  return openImage({ blobDir, digest, onBadBlob: (bad) => Promise.reject(new Error(`bad blob ${bad}`)) });
}
