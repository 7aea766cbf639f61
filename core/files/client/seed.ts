/**
 * Fills an instance's file system with the files of its image, once in its life: names and sizes go into the log, the
 * bytes stay in the nodes' blob stores. Every container does it as it starts; whoever is behind waits for who is ahead,
 * and goes on where that one has died.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../../errors.ts";
import { seedEntriesMax } from "../../limits.ts";
import type { ImageEntry, ImageReader } from "../../vos.ts";
import { kinds } from "../attributes.ts";
import { FileError } from "../errno.ts";
import type { SeedEntry } from "../operations.ts";
import { numberIn } from "./results.ts";
import type { Volume } from "./volume.ts";

/** Whoever seeds is looked at so often, and is given up when it has not gone on for so long. */
const lookMs = 100;
const stuckMs = 1_000;
/** Between tries where no replica answers. */
const againMs = 500;

const kindOf = { file: kinds.file, directory: kinds.directory, symlink: kinds.symlink } as const;

/** Resolves when the file system has them all, also where it had begun with another image before. Waits for replicas. */
export async function seedVolume(volume: Volume, image: ImageReader): Promise<void> {
  const digest = hexOf(image.digest);
  const entries = [...image.paths()].map((path) => entryOf(image.entry(path)!));
  let known = await step(volume, digest, 0, [], 0);
  while (known && !known.done) {
    const from = known.entries;
    const some = entries.slice(from, from + seedEntriesMax);
    const end = from + some.length;
    known = await step(volume, digest, from, some, end === entries.length ? 1 : 0);
    if (known && !known.done && known.entries !== end) known = await othersEnd(volume, digest, known);
  }
}

interface Seeded {
  entries: number;
  done: boolean;
}

/** Somebody else is at it: what comes of that, or how far it has come when it does not go on. */
async function othersEnd(volume: Volume, digest: string, begun: Seeded): Promise<Seeded | null> {
  let last: Seeded | null = begun;
  for (let movedMs = performance.now(); last && !last.done;) {
    await sleep(lookMs);
    const now: Seeded | null = await step(volume, digest, 0, [], 0);
    if (now && now.entries !== last.entries) movedMs = performance.now();
    last = now;
    if (performance.now() - movedMs > stuckMs) break;
  }
  return last;
}

/** Null: it has begun with another image, and stays what it is. */
async function step(
  volume: Volume,
  digest: string,
  from: number,
  entries: readonly SeedEntry[],
  last: 0 | 1,
): Promise<Seeded | null> {
  const what = () => "begin with the files of the image";
  for (;;) {
    try {
      const [count, done] = await volume.operate([19, digest, from, entries, last], what);
      return { entries: numberIn(count, what), done: done === 1 };
    } catch (e) {
      if (e instanceof FileError) return refused(e);
      // Done twice it is as done once.
      const again = e instanceof DvsError && (e.code === "UNAVAILABLE" || e.code === "OUTCOME_UNKNOWN");
      if (!again || volume.closed.aborted) throw e;
      await sleep(againMs);
    }
  }
}

function refused(e: FileError): null {
  if (e.code === "EEXIST") return null;
  throw new DvsError("INVALID", `Cannot begin with the files of the image: ${e.message}`, { cause: e });
}

function entryOf({ path, type, mode, size, digest, target }: ImageEntry): SeedEntry {
  return [path, kindOf[type] | mode, size, type === "file" ? hexOf(digest) : target];
}

function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(":") + 1);
}
