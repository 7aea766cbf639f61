/**
 * A client of a large volume in a host process of its own, beside a replica, as a container is: what it takes is its own,
 * and what it waits for is not what the benchmark does meanwhile. `bun scale-worker.ts OUTSIDER.json`: takes one job a
 * line, and answers each with one line.
 */
import { createInterface } from "node:readline";
import { kinds } from "../core/files/attributes.ts";
import { rootIno } from "../core/files/file-system.ts";
import { writeBytesMax } from "../core/limits.ts";
import { openOutsideFiles } from "../test/tools/outside-files.ts";
import { directoriesOf, largeFiles, type Shape, treeFiles, type TreeFile } from "./scale-tree.ts";

export type ScaleJob =
  | { job: "directories" | "files" | "large"; shape: Shape }
  | { job: "list"; path: string }
  | { job: "walk" }
  | { job: "usage"; n: number }
  | { job: "write"; name: string; bytes: number }
  | { job: "probe" };
export interface ScaleDone {
  seconds: number;
  n: number;
  bytes: number;
  /** Of a probe: the longest answer since the last one, and how late this process itself was. */
  longestMs: number;
  lateMs: number;
}

/** Files, and pieces of large ones, that are under way. */
const filesAhead = 64;
const piecesAhead = 8;
const pieceBytes = 1_048_576;
const probeMs = 5;
const pageEntries = 1_000;

const files = openOutsideFiles(process.argv[2]!, `scale-${process.pid}`);
const { fs, state } = files;
const data = new Uint8Array(2 * pieceBytes).map((_, i) => (i * 2_654_435_761) >>> 13);
const inos = new Map<string, number>([["", rootIno]]);

async function inoOf(path: string): Promise<number> {
  const known = inos.get(path);
  if (known !== undefined) return known;
  const at = path.lastIndexOf("/");
  const { ino } = await fs.lookup(await inoOf(path.slice(0, Math.max(0, at))), path.slice(at + 1));
  inos.set(path, ino);
  return ino;
}

/** So many of them at a time. */
async function each<T>(items: Iterable<T>, ahead: number, act: (item: T) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const one = async () => {
    for (let next = iterator.next(); !next.done; next = iterator.next()) await act(next.value);
  };
  await Promise.all(Array.from({ length: ahead }, one));
}

let made = 0;

/** Every other small file as uploads make it, the rest as programs do. */
async function make({ directory, name: called, bytes }: TreeFile, ahead = 1): Promise<void> {
  const parent = await inoOf(directory);
  if (bytes <= writeBytesMax && made++ % 2 === 1) {
    const put = await fs.put(parent, called, data.subarray(made, made + bytes), { mode: 0o644 }, 0);
    if (put) return;
  }
  const { file } = await fs.create(parent, called, 0o644, { write: true });
  const pieces = Array.from({ length: Math.ceil(bytes / pieceBytes) }, (_, i) => i * pieceBytes);
  await each(pieces, ahead, async (at) => {
    const from = at % 4_093;
    await file.write(at, data.subarray(from, from + Math.min(pieceBytes, bytes - at)));
  });
  await file.close();
}

async function list(ino: number, withAttributes: boolean, found: (ino: number) => void): Promise<number> {
  let n = 0;
  for (let after = 0; ;) {
    const entries = await fs.entries(ino, after, pageEntries, withAttributes);
    if (entries.length === 0) return n;
    n += entries.length;
    for (const entry of entries) if (entry.kind === kinds.directory) found(entry.ino);
    after = entries.at(-1)!.cookie;
  }
}

let longestMs = 0;
let lateMs = 0;
let probing: ReturnType<typeof setInterval> | null = null;

function probe(): void {
  let expected = performance.now() + probeMs;
  probing = setInterval(() => {
    const began = performance.now();
    lateMs = Math.max(lateMs, began - expected);
    expected = began + probeMs;
    const answered = () => (longestMs = Math.max(longestMs, performance.now() - began));
    // What a reader beside the process cannot answer.
    state.read("files", ["usage"]).then(answered, answered);
  }, probeMs);
}

/** Returns what it did, and how many bytes. */
async function run(job: ScaleJob): Promise<[n: number, bytes: number]> {
  switch (job.job) {
    case "directories": {
      const directories = directoriesOf(job.shape);
      // One level after the other.
      for (const depth of [0, 1, 2]) {
        const level = directories.filter(
          ({ parent }) => parent.split("/").filter((part) => part !== "").length === depth,
        );
        await each(level, filesAhead, async ({ parent, name: called }) => {
          const { ino } = await fs.makeDirectory(await inoOf(parent), called, 0o755);
          inos.set(parent === "" ? called : `${parent}/${called}`, ino);
        });
      }
      return [directories.length, 0];
    }
    case "files": {
      let bytes = 0;
      await each(treeFiles(job.shape), filesAhead, (file) => {
        bytes += file.bytes;
        return make(file);
      });
      return [job.shape.files, bytes];
    }
    case "large": {
      const files = largeFiles(job.shape);
      for (const file of files) await make(file, piecesAhead);
      return [files.length, files.reduce((sum, { bytes }) => sum + bytes, 0)];
    }
    case "write":
      await make({ directory: "large", name: job.name, bytes: job.bytes }, piecesAhead);
      return [1, job.bytes];
    case "list":
      return [await list(await inoOf(job.path), false, () => undefined), 0];
    case "walk": {
      const directories = [rootIno];
      let n = 0;
      for (let ino = directories.pop(); ino !== undefined; ino = directories.pop())
        n += await list(ino, true, (child) => directories.push(child));
      return [n, 0];
    }
    case "usage":
      for (let i = 0; i < job.n; i++) await fs.usage();
      return [job.n, 0];
    case "probe":
      if (!probing) probe();
      return [1, 0];
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = JSON.parse(line) as ScaleJob;
  const began = performance.now();
  const [n, bytes] = await run(job);
  const seconds = (performance.now() - began) / 1_000;
  console.log(JSON.stringify({ seconds, n, bytes, longestMs, lateMs } satisfies ScaleDone));
  longestMs = lateMs = 0;
}
if (probing) clearInterval(probing);
await files.close();
process.exit(0);
