/** A large file: written and read from end to end, then read here and there. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FileSystem, rootIno } from "../../core/files/file-system.ts";
import { atEnd, checkBeginning } from "../endings.ts";
import { FilesWorkers } from "../files-workers.ts";
import { measure, perSecond, type Rounds } from "./rows.ts";

const pieceBytes = 2 ** 20;
/** Pieces that are under way. */
const ahead = 4;
const randomReads = 200_000;

export interface Large {
  bytes: number;
  /** On the primary's node. */
  fs: FileSystem;
  /** On a backup's. */
  beside: FileSystem;
  gluster: FilesWorkers | null;
}

export async function large(rounds: Rounds, { bytes, fs, beside, gluster }: Large): Promise<void> {
  checkBeginning();
  const local = mkdtempSync(join(tmpdir(), "dvs-local-"));
  const close = atEnd(() => rmSync(local, { recursive: true, force: true }));
  const workers = new FilesWorkers(local, 1);
  const piece = new Uint8Array(pieceBytes).map((_, i) => i * 31);
  const pieces = Math.ceil(bytes / pieceBytes);
  const write = async () => {
    const { file } = await fs.create(rootIno, "large", 0o644, { write: true, truncate: true });
    const rate = await perSecond(pieces, ahead, (i) => file.write(i * pieceBytes, piece));
    const began = performance.now();
    await file.sync();
    const seconds = pieces / rate + (performance.now() - began) / 1_000;
    await file.close();
    return bytes / seconds;
  };
  const readAll = async () => {
    const { ino } = await fs.lookup(rootIno, "large");
    const file = await fs.open(ino, { read: true });
    const rate = await perSecond(pieces, ahead, async (i) => {
      if ((await file.read(i * pieceBytes, pieceBytes)).length === 0) throw new Error("a hole");
    });
    await file.close();
    return rate * pieceBytes;
  };
  const job = (kind: "seqWrite" | "seqRead") => ({ job: kind, prefix: "", bytes }) as const;
  const common = { unit: "MB/s", durability: "replicated, then synced", n: pieces, scale: 1e6 };
  const glusterPeers = (kind: "seqWrite" | "seqRead") =>
    gluster ? [{ peer: "GlusterFS, replica 3", run: () => gluster.perSecond(() => job(kind), 1) }] : [];
  try {
    await workers.perSecond(() => job("seqWrite"));
    await measure(rounds, [
      { name: "seq-write", ...common, goal: ">= 1.0", ours: write, peers: glusterPeers("seqWrite") },
      { name: "seq-read", ...common, goal: ">= 1.0", ours: readAll, peers: glusterPeers("seqRead") },
      {
        ...{ name: "seq-read-local", ...common, goal: ">= 0.5", ours: readAll },
        peers: [
          {
            peer: "this machine's file system, one copy",
            run: () => workers.perSecond(() => job("seqRead")),
          },
        ],
      },
    ]);
    if (rounds.wants("read-4k")) await readPages(rounds, beside, bytes);
  } finally {
    await workers.close();
    await close();
  }
}

async function readPages(rounds: Rounds, fs: FileSystem, bytes: number): Promise<void> {
  const pageBytes = 4_096;
  const { ino } = await fs.lookup(rootIno, "large");
  const file = await fs.open(ino, { read: true });
  const pages = Math.floor(bytes / pageBytes);
  const read = () => file.read(Math.floor(Math.random() * pages) * pageBytes, pageBytes);
  await measure(rounds, [
    {
      ...{ name: "read-4k", unit: "reads/s", goal: ">= 200,000", durability: "replicated", n: randomReads },
      ours: () => perSecond(randomReads, 1, read),
    },
  ]);
  await file.close();
}
