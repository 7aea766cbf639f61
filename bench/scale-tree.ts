/** The tree of the benchmark of large volumes: names and sizes by a generator that draws the same each time. */
import { MiB } from "../core/limits.ts";

export interface Shape {
  files: number;
  bytes: number;
}

export interface TreeFile {
  /** "" is the root. */
  directory: string;
  name: string;
  bytes: number;
}

/** Of all files: in one directory, flat. */
const flatShare = 0.1;
/** Files of a directory of the tree, and directories of one. */
const perDirectory = 100;
/** One file of so many is a hundred times as large as the others. */
const middling = 100;
/** Of the bytes: in small files, in middling ones; the rest is in large ones. */
const smallShare = 0.25;
const middlingShare = 0.2;
const largeBytes = 512 * MiB;

export const flatDirectory = "flat";

export function flatFiles({ files }: Shape): number {
  return Math.round(files * flatShare);
}

/** Every directory, each behind the one that it is in. */
export function directoriesOf({ files }: Shape): { parent: string; name: string }[] {
  const leaves = Math.ceil((files - flatFiles({ files, bytes: 0 })) / perDirectory);
  const found = [
    { parent: "", name: flatDirectory },
    { parent: "", name: "large" },
    { parent: "", name: "tree" },
  ];
  for (let i = 0; i < leaves; i += perDirectory) found.push({ parent: "tree", name: upper(i) });
  for (let i = 0; i < leaves; i++) found.push({ parent: `tree/${upper(i)}`, name: leaf(i) });
  return found;
}

/** Small and middling ones: as sizes of files are, most are small and few have most of the bytes. */
export function* treeFiles(shape: Shape): Generator<TreeFile> {
  const random = generator(1);
  const flat = flatFiles(shape);
  const smallMean = (shape.bytes * smallShare) / (shape.files * (1 - 1 / middling));
  const middlingMean = (shape.bytes * middlingShare) / (shape.files / middling);
  for (let i = 0; i < shape.files; i++) {
    const mean = i % middling === 0 ? middlingMean : smallMean;
    const bytes = Math.round(-Math.log(1 - random()) * mean);
    const at = Math.floor((i - flat) / perDirectory);
    const directory = i < flat ? flatDirectory : `tree/${upper(at)}/${leaf(at)}`;
    yield { directory, name: `document-${String(i).padStart(7, "0")}.html`, bytes };
  }
}

export function largeFiles({ bytes }: Shape): TreeFile[] {
  const left = Math.round(bytes * (1 - smallShare - middlingShare));
  const count = Math.ceil(left / largeBytes);
  return Array.from({ length: count }, (_, i) => ({
    ...{ directory: "large", name: `video-${i}.mp4` },
    bytes: Math.min(largeBytes, left - i * largeBytes),
  }));
}

function upper(leafAt: number): string {
  return `year-${String(Math.floor(leafAt / perDirectory)).padStart(3, "0")}`;
}

function leaf(at: number): string {
  return `chapter-${String(at).padStart(5, "0")}`;
}

/** In [0, 1): mulberry32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
