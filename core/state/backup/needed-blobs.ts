/** Files of images that a snapshot names: what a backup has of them. In the helper, since it looks at all rows. */
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import type { StateModule } from "../module.ts";
import { snapshotPath } from "../snapshots.ts";

/** How much of each, from its beginning, in the order in which backups have them. */
export const NeededBlobs = z.object({
  blobs: z.array(z.tuple([z.string().regex(/^[0-9a-f]{64}$/), z.number().int().min(1)])),
});
export type NeededBlobs = z.infer<typeof NeededBlobs>;

/** Async as each job of the helper is. */
export async function listNeededBlobs(
  dataDir: string,
  record: number,
  modules: readonly StateModule[],
): Promise<NeededBlobs> {
  const db = new DatabaseSync(snapshotPath(dataDir, record), { readOnly: true });
  try {
    const needed = modules.flatMap(({ backup }) => backup?.blobs(db) ?? []);
    return { blobs: needed.map(({ digest, length }) => [digest, length]) };
  } finally {
    db.close();
  }
}
