/** What a writing method is answered with, and what the volume's refusals mean in HTTP. */
import { type Errno, FileError } from "../../../core/files/errno.ts";

export interface DavAnswer {
  status: number;
  headers?: Record<string, string>;
  /** Missing with a status from 300 on: a line for people. */
  body?: string | ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** Thrown where a request ends before its time. */
export class Refusal extends Error {
  readonly answer: DavAnswer;

  constructor(status: number, rest: Omit<DavAnswer, "status"> = {}) {
    super(`refused with ${status}`);
    this.answer = { status, ...rest };
  }
}

/** A condition of RFC 4918 section 16 that was not met, as the body of its status. */
export function unmet(status: number, condition: string): Refusal {
  return new Refusal(status, {
    headers: { "content-type": 'application/xml; charset="utf-8"' },
    body: `<?xml version="1.0" encoding="utf-8"?>\n<D:error xmlns:D="DAV:"><D:${condition}/></D:error>\n`,
  });
}

const statuses: Partial<Record<Errno, number>> = {
  ENOENT: 409, // A parent; what is asked for itself was looked at before.
  ENOTDIR: 409,
  EISDIR: 409,
  EEXIST: 412,
  ENOTEMPTY: 409,
  EBUSY: 503,
  EMLINK: 507,
  EDQUOT: 507,
  ENOSPC: 507,
  EFBIG: 413,
  ENAMETOOLONG: 403,
  EILSEQ: 403,
  EINVAL: 403,
  ELOOP: 403,
  EACCES: 403,
  EPERM: 403,
  EROFS: 403,
  ESTALE: 409, // It was removed meanwhile.
};

/** Null: it is no refusal, and somebody's defect or a replica's silence. */
export function refusalOf(e: unknown): DavAnswer | null {
  if (e instanceof Refusal) return e.answer;
  const status = e instanceof FileError ? statuses[e.code] : undefined;
  return status === undefined ? null : { status };
}
