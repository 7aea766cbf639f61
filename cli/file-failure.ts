/** What the file system refused, in words: no defect of dvs, but something that its user can put right. */
import { DvsError, type ErrorCode } from "../core/errors.ts";

const reasons: Record<string, [ErrorCode, string]> = {
  EACCES: ["FORBIDDEN", "permission denied"],
  EPERM: ["FORBIDDEN", "permission denied"],
  EROFS: ["FORBIDDEN", "it is on a read-only file system"],
  EEXIST: ["INVALID", "it exists already, and is no directory"],
  ENOTDIR: ["INVALID", "what should be a directory on the way to it is none"],
  EISDIR: ["INVALID", "it is a directory"],
  ENAMETOOLONG: ["INVALID", "its name is too long"],
  ELOOP: ["INVALID", "its symbolic links lead in a circle"],
  ENOSPC: ["EXHAUSTED", "the disk is full"],
  EDQUOT: ["EXHAUSTED", "the disk quota is used up"],
  EMFILE: ["EXHAUSTED", "too many files are open; raise `ulimit -n`"],
  ENFILE: ["EXHAUSTED", "too many files are open on this machine"],
};

/** Null for whatever else was thrown. */
export function fileFailure(thrown: unknown): DvsError | null {
  if (!(thrown instanceof Error) || thrown instanceof DvsError) return null;
  const { code = "", path } = thrown as NodeJS.ErrnoException;
  const reason = Object.hasOwn(reasons, code) ? reasons[code] : undefined;
  if (!reason || typeof path !== "string") return null;
  return new DvsError(reason[0], `Cannot use ${path}: ${reason[1]}.`, { cause: thrown });
}
