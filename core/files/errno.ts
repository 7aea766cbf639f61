/** What a file operation is refused with: names and numbers of Linux. It changes nothing then. */
export const errnos = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EMLINK: 31,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EDQUOT: 122,
} as const;
export type Errno = keyof typeof errnos;

/** Thrown by a FileSystem: what the operation was, and on what, is in the message. */
export class FileError extends Error {
  readonly code: Errno;
  /** As Linux returns it, positive. */
  readonly errno: number;

  constructor(code: Errno, message: string) {
    super(`${code}: ${message}`);
    this.code = code;
    this.errno = errnos[code];
  }
}

/** For `catch`: null where nothing has the name. Throws what else it is. */
export function nullWhereNone(e: unknown): null {
  if (e instanceof FileError && e.code === "ENOENT") return null;
  throw e;
}
