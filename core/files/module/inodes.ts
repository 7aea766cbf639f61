/** Inodes: what a file is, without its names and its bytes. */
import type { StateTables } from "../../state/module.ts";
import { type AttributesRow, isDirectory } from "../attributes.ts";
import type { Changes } from "./changes.ts";
import { refuse } from "./refusal.ts";
import { prepareAll } from "./statements.ts";
import type { Step } from "./step.ts";

export interface Inode {
  readonly ino: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  size: number;
  allocated: number;
  atime: number;
  atimeNanos: number;
  mtime: number;
  mtimeNanos: number;
  ctime: number;
  ctimeNanos: number;
  change: number;
  /** Of a directory its parent. */
  content: number;
  tail: number;
  readonly target: string | null;
}

/** What `stat` says of each directory. */
export const directorySize = 4_096;

const statements = {
  get: "SELECT * FROM files_inode WHERE ino = ?",
  insert: "INSERT INTO files_inode VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
  save: `UPDATE files_inode SET mode = ?, nlink = ?, uid = ?, gid = ?, size = ?, allocated = ?, atime = ?,
    atimeNanos = ?, mtime = ?, mtimeNanos = ?, ctime = ?, ctimeNanos = ?, change = ?, content = ?, tail = ?
    WHERE ino = ?`,
  remove: "DELETE FROM files_inode WHERE ino = ?",
  all: "SELECT * FROM files_inode ORDER BY ino",
};

export class Inodes {
  readonly #sql;

  readonly #changes: Changes;

  constructor(tables: StateTables, changes: Changes) {
    this.#sql = prepareAll(tables, statements);
    this.#changes = changes;
  }

  find(ino: number): Inode | undefined {
    return this.#sql.get.get(ino) as unknown as Inode | undefined;
  }

  /** ESTALE: it has gone. */
  get(ino: number): Inode {
    return this.find(ino) ?? refuse("ESTALE");
  }

  directory(ino: number): Inode {
    const inode = this.get(ino);
    return isDirectory(inode) ? inode : refuse("ENOTDIR");
  }

  insert(inode: Inode): void {
    const { ino, mode, nlink, uid, gid, size, allocated, atime, atimeNanos, mtime, mtimeNanos } = inode;
    const { ctime, ctimeNanos, change, content, target } = inode;
    this.#sql.insert.run(
      ...[ino, mode, nlink, uid, gid, size, allocated],
      ...[atime, atimeNanos, mtime, mtimeNanos, ctime, ctimeNanos],
      ...[change, content, target],
    );
  }

  save(inode: Inode): void {
    this.#changes.note(inode.ino, inode.change);
    this.#sql.save.run(
      inode.mode,
      inode.nlink,
      inode.uid,
      inode.gid,
      inode.size,
      inode.allocated,
      inode.atime,
      inode.atimeNanos,
      inode.mtime,
      inode.mtimeNanos,
      inode.ctime,
      inode.ctimeNanos,
      inode.change,
      inode.content,
      inode.tail,
      inode.ino,
    );
  }

  remove(ino: number): void {
    this.#sql.remove.run(ino);
  }

  rows(): Iterable<unknown> {
    return this.#sql.all.iterate();
  }
}

/** Something about it has changed. */
export function touch(inode: Inode, { seconds, nanos, index }: Step): void {
  inode.ctime = seconds;
  inode.ctimeNanos = nanos;
  inode.change = index;
}

/** Its content has changed. */
export function touchContent(inode: Inode, step: Step): void {
  inode.mtime = step.seconds;
  inode.mtimeNanos = step.nanos;
  touch(inode, step);
}

export function attributesRow(inode: Inode): AttributesRow {
  return [
    inode.ino,
    inode.mode,
    inode.nlink,
    inode.uid,
    inode.gid,
    inode.size,
    inode.allocated,
    inode.atime,
    inode.atimeNanos,
    inode.mtime,
    inode.mtimeNanos,
    inode.ctime,
    inode.ctimeNanos,
    inode.change,
  ];
}
