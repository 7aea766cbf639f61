/**
 * Numbers of the FUSE protocol, as Linux speaks it over /dev/fuse: `linux/fuse.h`, version 7.31 and later. All of it is
 * in the byte order of the machine; those that dvs runs on are little-endian.
 */

/** The version that this server speaks: later kernels speak it, too. */
export const fuseMajor = 7;
export const fuseMinor = 38;
/** Linux 5.4: with all that is asked for here, except what INIT negotiates. */
export const fuseMinorMin = 31;

export const opcodes = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;
export type OpcodeName = keyof typeof opcodes;

export const opcodeNames: ReadonlyMap<number, OpcodeName> = new Map(
  Object.entries(opcodes).map(([name, number]) => [number, name as OpcodeName]),
);

/** What INIT negotiates; those from bit 32 on go in `flags2`. */
export const initFlags = {
  asyncRead: 2 ** 0,
  posixLocks: 2 ** 1,
  atomicTruncate: 2 ** 3,
  bigWrites: 2 ** 5,
  flockLocks: 2 ** 10,
  autoInvalData: 2 ** 12,
  readdirPlus: 2 ** 13,
  readdirPlusAuto: 2 ** 14,
  asyncDio: 2 ** 15,
  parallelDirops: 2 ** 18,
  maxPages: 2 ** 22,
  handleKillprivV2: 2 ** 28,
  /** `flags2` is there. */
  initExt: 2 ** 30,
  directIoAllowMmap: 2 ** 36,
} as const;
export type InitFlag = keyof typeof initFlags;

/** `open_flags` of an answer to OPEN and CREATE. */
export const openAnswers = { directIo: 1, keepCache: 2, noFlush: 32, parallelDirectWrites: 64 } as const;

/** `valid` of SETATTR. */
export const setattrValid = {
  mode: 1,
  uid: 2,
  gid: 4,
  size: 8,
  atime: 16,
  mtime: 32,
  fh: 64,
  atimeNow: 128,
  mtimeNow: 256,
  killSuidGid: 2048,
} as const;

export const getattrHasHandle = 1;
export const openKillsSuidGid = 1;
export const writeKillsSuidGid = 4;
export const releaseUnlocksFlock = 2;
export const lockIsFlock = 1;

/** Of OPEN and CREATE: those of Linux's generic ABI, which all 64-bit machines that dvs runs on share. */
export const openFlags = {
  accessMode: 0o3,
  writeOnly: 0o1,
  readWrite: 0o2,
  exclusive: 0o200,
  truncate: 0o1000,
  append: 0o2000,
} as const;

export const renameFlags = { noReplace: 1, exchange: 2, whiteout: 4 } as const;
export const fallocateFlags = { keepSize: 1, punchHole: 2, zeroRange: 16 } as const;
export const whence = { data: 3, hole: 4 } as const;
export const lockKinds = { shared: 0, exclusive: 1, none: 2 } as const;

/** What the server says unasked: `unique` is 0, and this where an answer has its error. */
export const notifications = { invalInode: 2 } as const;

export const inHeaderBytes = 40;
export const outHeaderBytes = 16;
export const attrBytes = 88;
export const entryBytes = 128;
export const pageBytes = 4_096;
