/** What a site serves: a file, wherever it is kept, and the looking up of paths, which takes a moment in a volume. */

export interface ServedFile {
  /** Its own, behind all links: what its type is known by. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** As long as it is the same, the bytes are: the entity tag without its quotes. At most 64 characters of a token. */
  readonly tag: string;
  /** Milliseconds, whole seconds; null where it has no date. */
  readonly modifiedMs: number | null;
  /** All of it. Rejects with Outdated where these bytes are no longer to be had. */
  read(): Promise<Uint8Array>;
  /** Bytes [start, end), for what is too large to hold. Errors where they are no longer to be had. */
  stream(start: number, end: number): ReadableStream<Uint8Array>;
  /** Path of a file of this machine that has the bytes; null: `stream` them. */
  local(): Promise<string | null>;
}

/** What is at a path. */
export type Found = ServedFile | "directory" | null;

/** It has changed since it was looked up: whoever has asked looks again. */
export class Outdated extends Error {}

/** A question that asks for paths, one after the other, until it knows the answer. */
export type Looking<Answer> = Generator<string, Answer, Found>;

/** Answers it where each path is known at once. */
export function lookNow<Answer>(question: Looking<Answer>, find: (path: string) => Found): Answer {
  let step = question.next();
  while (!step.done) step = question.next(find(step.value));
  return step.value;
}

export async function look<Answer>(
  question: Looking<Answer>,
  find: (path: string) => Promise<Found>,
): Promise<Answer> {
  let step = question.next();
  while (!step.done) step = question.next(await find(step.value));
  return step.value;
}
