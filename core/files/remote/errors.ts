/** What a file system refuses, in the words and with the code of everything else that dvs refuses. */
import { DvsError, type ErrorCode } from "../../errors.ts";
import { type Errno, FileError } from "../errno.ts";

const reasons: Partial<Record<Errno, readonly [ErrorCode, string]>> = {
  ENOENT: ["NOT_FOUND", "there is no such file or directory"],
  EEXIST: ["CONFLICT", "it exists already"],
  ENOTEMPTY: ["CONFLICT", "the directory is not empty"],
  EBUSY: ["CONFLICT", "it is in use"],
  EACCES: ["FORBIDDEN", "permission denied"],
  EPERM: ["FORBIDDEN", "that is not permitted"],
  EROFS: ["FORBIDDEN", "it is on a read-only file system"],
  ENOTDIR: ["INVALID", "what should be a directory is none"],
  EISDIR: ["INVALID", "it is a directory"],
  ELOOP: ["INVALID", "it leads over too many symbolic links"],
  ENAMETOOLONG: ["INVALID", "its name, or its path, is too long"],
  EILSEQ: ["INVALID", "its name is no valid Unicode"],
  EINVAL: ["INVALID", "that makes no sense for it"],
  EXDEV: ["INVALID", "it is on another file system"],
  EMLINK: ["EXHAUSTED", "there are too many links"],
  ENOSPC: ["EXHAUSTED", "there is no space left"],
  EDQUOT: ["EXHAUSTED", "the quota of the file system is used up"],
  EFBIG: ["TOO_LARGE", "it would be too large"],
  ESTALE: ["CONFLICT", "it was removed meanwhile"],
  EIO: ["FAILED", "its bytes cannot be read on any replica"],
};

/** `what`: `remove /etc/motd`. What is no FileError stays what it is. */
export function failureOf(e: unknown, what: string): DvsError {
  if (!(e instanceof FileError)) return DvsError.from(e);
  const [code, text] = reasons[e.code] ?? (["FAILED", `the file system says ${e.code}`] as const);
  return new DvsError(code, `Cannot ${what}: ${text}.`, { cause: e });
}
