/** Whether the rows of a backed-up volume are one tree: each name leads somewhere, each file has its names, no circles. */
import type { StateTables } from "../../state/module.ts";
import { kinds } from "../attributes.ts";
import { rootIno } from "../file-system.ts";

const isDirectory = `(mode & 61440) = ${kinds.directory}`;

const questions: readonly [sql: string, problem: string][] = [
  [
    `SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM files_inode
       WHERE ino = ${rootIno} AND ${isDirectory} AND content = ${rootIno} AND nlink > 0)
     OR EXISTS (SELECT 1 FROM files_entry WHERE ino = ${rootIno})`,
    "there is no root directory",
  ],
  ["SELECT 1 WHERE (SELECT count(*) FROM files_counter) <> 1", "nothing is counted"],
  [
    `SELECT 1 FROM files_entry e LEFT JOIN files_inode i ON i.ino = e.ino LEFT JOIN files_inode p ON p.ino = e.parent
     WHERE i.ino IS NULL OR i.nlink <= 0 OR (i.mode & 61440) <> e.kind
       OR p.ino IS NULL OR p.nlink <= 0 OR (p.mode & 61440) <> ${kinds.directory} LIMIT 1`,
    "a name leads nowhere",
  ],
  [
    `SELECT 1 FROM files_inode i LEFT JOIN (SELECT ino, count(*) AS names FROM files_entry GROUP BY ino) e ON e.ino = i.ino
     WHERE i.nlink > 0 AND i.ino <> ${rootIno} AND ifnull(e.names, 0) <> iif(${isDirectory}, 1, i.nlink) LIMIT 1`,
    "a file has not the names that it should have",
  ],
  [
    `SELECT 1 FROM files_entry e JOIN files_inode i ON i.ino = e.ino
     WHERE e.kind = ${kinds.directory} AND i.content <> e.parent LIMIT 1`,
    "a directory is not where its parent is",
  ],
  [
    `SELECT 1 FROM files_inode i
     LEFT JOIN (SELECT parent, count(*) AS below FROM files_entry WHERE kind = ${kinds.directory} GROUP BY parent) e
       ON e.parent = i.ino
     WHERE i.nlink > 0 AND ${isDirectory} AND i.nlink <> 2 + ifnull(e.below, 0) LIMIT 1`,
    "a directory has not the directories that it should have",
  ],
  [
    `WITH RECURSIVE tree (ino) AS (
       SELECT ${rootIno} UNION SELECT e.ino FROM tree JOIN files_entry e ON e.parent = tree.ino
       WHERE e.kind = ${kinds.directory}
     ) SELECT 1 WHERE (SELECT count(*) FROM tree) <>
       (SELECT count(*) FROM files_inode WHERE nlink > 0 AND ${isDirectory})`,
    "a directory is below itself",
  ],
];

export function volumeProblem(backup: StateTables): string | null {
  for (const [sql, problem] of questions) if (backup.prepare(sql).get()) return problem;
  return null;
}
