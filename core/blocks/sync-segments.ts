/** What a snapshot names has to be on the disk before it counts. For a helper host process: it takes its time. */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { DvsError } from "../errors.ts";
import { segmentName } from "./segment-name.ts";

type Segments = readonly (readonly [segment: number, length: number])[];

/**
 * `before` is on the disk already, by an older snapshot: what grew since is synced. Rejects with FAILED where a segment
 * is not there, or is shorter.
 */
export async function syncSegments(dir: string, segments: Segments, before: Segments): Promise<void> {
  const known = new Map(before);
  const grown = segments.filter(([segment, length]) => length > (known.get(segment) ?? 0));
  for (const [segment, length] of grown) {
    const path = join(dir, segmentName(segment));
    // fdatasync(2) wants no more than a file that can be read.
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      if (size < length)
        throw new DvsError("FAILED", `Cannot sync ${path}: it has ${size} bytes of ${length}.`);
      await file.datasync();
    } finally {
      await file.close();
    }
  }
  if (grown.length === 0) return;
  const directory = await open(dir, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
