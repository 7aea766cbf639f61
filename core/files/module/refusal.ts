/**
 * A file operation that cannot be: its result is the errno. Thrown before anything is changed. One of each, made
 * beforehand: most are everyday answers (ENOENT, EEXIST), and a stack trace costs more than the operation.
 */
import { type Errno, errnos } from "../errno.ts";

export class FileRefusal extends Error {
  /** `changed`: a name has another inode than whoever asks believed, or there is more to do first; it looks again. */
  readonly code: Errno | "changed";

  constructor(code: Errno | "changed") {
    super(code);
    this.code = code;
  }
}

const refusals = new Map<string, FileRefusal>(
  [...(Object.keys(errnos) as Errno[]), "changed" as const].map((code) => [code, new FileRefusal(code)]),
);

export function refuse(code: Errno | "changed"): never {
  throw refusals.get(code)!;
}
