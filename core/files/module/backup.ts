/** What a backup of a volume has beside its tables: segments, looked through, and the files of its image. */
import type { BackupRules, StateTables } from "../../state/module.ts";
import { kinds } from "../attributes.ts";
import { type PlacedRow, rangeOf } from "./scrubbing.ts";

/** Files with a name: what others have dies with those who have them open. */
export const namedFiles = `nlink > 0 AND (mode & 61440) = ${kinds.file}`;

export interface NeededBlob {
  row: number;
  digest: string;
  length: number;
}

/** Files of images that named files still have something of, in the order in which backups have them. */
export function neededBlobs(tables: StateTables): NeededBlob[] {
  const rows = tables
    .prepare(
      `SELECT b.row, b.digest, needed.length FROM files_blob b JOIN (
         SELECT e.segment, max(e.position + e.lead + e.length) AS length
         FROM files_inode i JOIN files_extent e ON e.content = i.content
         WHERE ${namedFiles} AND e.start < i.size AND e.segment < 0 GROUP BY e.segment
       ) needed ON b.row = -needed.segment ORDER BY b.row`,
    )
    .all();
  return rows as unknown as NeededBlob[];
}

export const filesBackup: BackupRules = {
  *ranges(tables, segment) {
    const rows = tables
      .prepare(
        "SELECT segment, position, bytes, checksums FROM files_extent WHERE segment = ? AND segment > 0",
      )
      .iterate(segment);
    for (const row of rows) yield rangeOf(row as unknown as PlacedRow);
  },
  blobs: neededBlobs,
};
