/** Exit codes, from the one table of errors, in words for the help; the README shows the same. */
import { ERRORS, type ErrorCode } from "../core/errors.ts";

const meanings: Record<ErrorCode, string> = {
  INVALID: "unknown flag, bad value or invalid configuration",
  TOO_LARGE: "what was sent is larger than a limit",
  NOT_FOUND: "no such instance, node, image, token or file",
  CONFLICT: "the name or port is taken, there is such a file, or the record changed meanwhile",
  UNAUTHENTICATED: "no token, or one that is not valid",
  FORBIDDEN: "the token's role does not allow it",
  UNAVAILABLE: "no coordinator, store or node answers; try again",
  TIMEOUT: "--timeout ended first; what was asked for goes on",
  FAILED: "the cluster refused it or rolled it back; the message says why",
  EXHAUSTED: "a disk, quota or limit is full",
  OUTCOME_UNKNOWN: "sent, but the answer was lost: it may or may not have happened",
  INTERNAL: "a defect of dvs",
};

/** [code, meaning], ascending. */
export function exitCodes(): [number, string][] {
  const byExit = new Map<number, string[]>([
    [0, ["done"]],
    [130, ["interrupted (128 + the signal's number)"]],
  ]);
  for (const [code, kind] of Object.entries(ERRORS)) {
    const texts = byExit.get(kind.exit) ?? [];
    texts.push(meanings[code as ErrorCode]);
    byExit.set(kind.exit, texts);
  }
  return [...byExit].sort((a, b) => a[0] - b[0]).map(([code, texts]) => [code, texts.join("; ")]);
}
