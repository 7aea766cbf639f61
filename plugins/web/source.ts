/** Where a site's files come from: the image, or the volume. */
import type { Coding } from "./encodings.ts";
import type { Found, Looking, ServedFile } from "./served.ts";

export interface Source {
  /** What is there stays as it is: answers may be kept by their URLs. */
  readonly immutable: boolean;
  look<Answer>(question: Looking<Answer>): Answer | Promise<Answer>;
  find(path: string): Found | Promise<Found>;
  /** Forms of a file beside it that say the same, compressed. */
  neighbours(file: ServedFile): Neighbours | Promise<Neighbours>;
}

export type Neighbours = ReadonlyMap<Coding, ServedFile>;
export const noNeighbours: Neighbours = new Map();
