/** What `stat` tells of a file, and how the volume's module says it: an array, since there are many of them. */

/** Bits of `mode` that say what kind of file it is. */
export const kindMask = 0o170000;
export const kinds = {
  socket: 0o140000,
  symlink: 0o120000,
  file: 0o100000,
  directory: 0o040000,
  fifo: 0o010000,
} as const;

/** Kind bits alone. */
export function kindOf({ mode }: { readonly mode: number }): number {
  return mode & kindMask;
}
export function isDirectory(of: { readonly mode: number }): boolean {
  return kindOf(of) === kinds.directory;
}
export function isSymlink(of: { readonly mode: number }): boolean {
  return kindOf(of) === kinds.symlink;
}

/** Seconds since 1970, may be negative, and nanoseconds from 0 to 999,999,999. */
export interface FileTime {
  seconds: number;
  nanos: number;
}

export interface Attributes {
  /** From 1 on, the root; never used again for another file. */
  ino: number;
  /** Kind and permission bits, as in `st_mode`. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** Bytes; of a symbolic link those of its target, of a directory 4096. */
  size: number;
  /** Bytes that it takes: holes take none. */
  allocated: number;
  atime: FileTime;
  mtime: FileTime;
  ctime: FileTime;
  /** Index of the record that last changed it or its content: rises with each change. */
  change: number;
}

/** `[ino, mode, nlink, uid, gid, size, allocated, atime s, ns, mtime s, ns, ctime s, ns, change]` */
export type AttributesRow = readonly [
  ino: number,
  mode: number,
  nlink: number,
  uid: number,
  gid: number,
  size: number,
  allocated: number,
  atimeSeconds: number,
  atimeNanos: number,
  mtimeSeconds: number,
  mtimeNanos: number,
  ctimeSeconds: number,
  ctimeNanos: number,
  change: number,
];

export function attributesOf(row: AttributesRow): Attributes {
  return {
    ino: row[0],
    mode: row[1],
    nlink: row[2],
    uid: row[3],
    gid: row[4],
    size: row[5],
    allocated: row[6],
    atime: { seconds: row[7], nanos: row[8] },
    mtime: { seconds: row[9], nanos: row[10] },
    ctime: { seconds: row[11], nanos: row[12] },
    change: row[13],
  };
}
