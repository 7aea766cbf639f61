/**
 * An instance's files, the whole path: a container's client on a replica's node, three replicas in host processes of their
 * own with mutual TLS between them. In the same rounds: GlusterFS with three bricks and sshfs, by their mounts, and this
 * machine's own file system.
 *
 *   npm run -s bench:volume [-- --rounds 3] [--only create,stat] [--megabytes 1024]
 *
 * The durability of each row is in its detail: `replicated` is what GlusterFS promises when it does not sync (in the
 * memory of three host processes), `fsync` what it promises after an fsync.
 *
 * Only where it is asked for, since it takes minutes and as much of the disk: a large volume, its start and its memory
 * (volume-scale.ts).
 *
 *   npm run -s bench:volume -- --only scale [--files 1000000] [--gigabytes 20] [--replicas 1]
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type FileSystem, rootIno } from "../core/files/file-system.ts";
import { StateCluster } from "../test/tools/state-cluster.ts";
import { FilesWorkers } from "./files-workers.ts";
import { emit, median, say } from "./lib.ts";
import { largeVolume } from "./volume-scale.ts";
import { type MountedPeer, openGlusterPeer } from "./peers/gluster-peer.ts";

const { values: given } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: "" },
    megabytes: { type: "string", default: "1024" },
    files: { type: "string", default: "1000000" },
    gigabytes: { type: "string", default: "20" },
    replicas: { type: "string", default: "1" },
  },
});
const rounds = Number(given.rounds);
const largeBytes = Number(given.megabytes) * 2 ** 20;
if (!Number.isInteger(rounds) || rounds < 1 || !(largeBytes > 0))
  throw new Error("--rounds N and --megabytes N are at least 1");
const only = given.only.split(",");
const wants = (name: string) => only.some((prefix) => name.startsWith(prefix));

const many = 16;
/** Per round: a second or so of each. */
const mine = { one: 4_000, many: 24_000, reads: 100_000, lists: 300 };
const theirs = { one: 200, many: 480, reads: 1_500, lists: 30 };
const pieceBytes = 2 ** 20;
/** Writes of a large file that are under way. */
const ahead = 4;
const listed = 1_000;

/** Operations a second of so many that each wait for the answer. */
async function perSecond(n: number, at: number, act: (i: number) => Promise<unknown>): Promise<number> {
  let next = 0;
  const one = async () => {
    for (let i = next++; i < n; i = next++) await act(i);
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: at }, one));
  return (n / (performance.now() - began)) * 1_000;
}

interface Row {
  name: string;
  unit: string;
  goal: string;
  durability: string;
  n: number;
  ours: () => Promise<number>;
  theirs?: { peer: string; run: () => Promise<number> } | null;
  scale?: number;
}

async function measure(rows: Row[]): Promise<void> {
  const kept = rows.filter(({ name }) => wants(name));
  const values = kept.map((): number[] => []);
  const ratios = kept.map((): number[] => []);
  const began = performance.now();
  // Rows of one round belong together: what one makes, the next renames, and the last removes.
  for (let round = 0; round <= rounds; round++) {
    for (const row of rows) {
      const i = kept.indexOf(row);
      const value = await row.ours();
      const other = row.theirs ? await row.theirs.run() : Number.NaN;
      // The first round compiles.
      if (i < 0 || round === 0) continue;
      values[i]!.push(value);
      if (row.theirs) ratios[i]!.push(value / other);
    }
  }
  const seconds = (performance.now() - began) / 1_000;
  for (const [i, { name, unit, goal, durability, n, theirs: peer, scale = 1 }] of kept.entries()) {
    emit({
      ...{ name, value: median(values[i]!) / scale, unit, n, rounds, seconds },
      ...(peer && { peer: peer.peer, ratio: median(ratios[i]!) }),
      ...{ goal, detail: { durability } },
    });
  }
}

let made = 0;

function nameRows(
  fs: FileSystem,
  gluster: MountedPeer | null,
  workers: FilesWorkers | null,
  at: number,
): Row[] {
  const suffix = at === 1 ? "" : `-${at}`;
  const goal = at === 1 ? ">= 10" : ">= 20";
  const ours = at === 1 ? mine.one : mine.many;
  const each = at === 1 ? theirs.one : theirs.many / at;
  const peer = gluster && workers;
  let run = 0;
  const row = (name: "create" | "rename" | "unlink", act: (i: number) => Promise<unknown>): Row => ({
    ...{ name: `${name}${suffix}`, unit: "operations/s", goal, durability: "replicated", n: ours },
    ours: () => {
      if (name === "create") run = ++made;
      return perSecond(ours, at, act);
    },
    theirs: peer && {
      peer: "GlusterFS, replica 3",
      run: () => workers.perSecond((i) => ({ job: name, prefix: `r${run}-w${i}-`, n: each }), at),
    },
  });
  return [
    row("create", async (i) => {
      const { file } = await fs.create(rootIno, `r${run}-${i}`, 0o644, { write: true });
      await file.close();
    }),
    row("rename", (i) => fs.rename(rootIno, `r${run}-${i}`, rootIno, `renamed-r${run}-${i}`)),
    row("unlink", (i) => fs.unlink(rootIno, `renamed-r${run}-${i}`)),
  ];
}

async function names(): Promise<void> {
  const cluster = await StateCluster.open({ replicas: 3, durability: "replicated" });
  const gluster = await openGlusterPeer();
  if (!gluster) say("skipped, since not installed: GlusterFS");
  const workers = gluster && new FilesWorkers(gluster.dir, many);
  try {
    const fs = cluster.files(cluster.primary);
    await measure(nameRows(fs, gluster, workers, 1));
    await measure(nameRows(fs, gluster, workers, many));
    if (wants("stat") || wants("readdir")) await reads(cluster, gluster);
    if (wants("seq") || wants("read-4k")) await large(cluster, workers);
  } finally {
    await workers?.close();
    await gluster?.close();
    await cluster.close();
  }
}

/** Lookups and listings of a directory of a thousand, on a backup's node, while nobody writes. */
async function reads(cluster: StateCluster, gluster: MountedPeer | null): Promise<void> {
  const fs = cluster.files(cluster.backup);
  const { ino } = await fs.makeDirectory(rootIno, "listed", 0o755);
  for (let i = 0; i < listed; i++) {
    const { file } = await fs.create(ino, `f${i}`, 0o644, { write: true });
    await file.close();
  }
  let workers: FilesWorkers | null = null;
  if (gluster) {
    const dir = join(gluster.dir, "listed");
    mkdirSync(dir);
    workers = new FilesWorkers(dir, 1);
    await workers.perSecond(() => ({ job: "create", prefix: "f", n: listed }));
  }
  const list = async () => {
    let after = 0;
    for (;;) {
      const some = await fs.entries(ino, after, 512);
      if (some.length === 0) return;
      after = some.at(-1)!.cookie;
    }
  };
  const peer = "GlusterFS, replica 3, nothing cached by the mount";
  const common = { unit: "operations/s", goal: ">= 50", durability: "replicated" };
  await measure([
    {
      ...{ name: "stat", ...common, n: mine.reads },
      ours: () => perSecond(mine.reads, 1, (i) => fs.lookup(ino, `f${i % listed}`)),
      theirs: workers && {
        peer,
        run: () => workers.perSecond(() => ({ job: "stat", prefix: "f", n: Math.min(listed, theirs.reads) })),
      },
    },
    {
      ...{ name: "readdir", ...common, n: mine.lists },
      ours: () => perSecond(mine.lists, 1, list),
      theirs: workers && {
        peer,
        run: () => workers.perSecond(() => ({ job: "list", prefix: "", n: theirs.lists })),
      },
    },
  ]);
  await workers?.close();
}

/** A large file: written and read from end to end, then read here and there. */
async function large(cluster: StateCluster, gluster: FilesWorkers | null): Promise<void> {
  const fs = cluster.files(cluster.primary);
  const local = mkdtempSync(join(tmpdir(), "dvs-local-"));
  const workers = new FilesWorkers(local, 1);
  const piece = new Uint8Array(pieceBytes).map((_, i) => i * 31);
  const pieces = Math.ceil(largeBytes / pieceBytes);
  const write = async () => {
    const { file } = await fs.create(rootIno, "large", 0o644, { write: true, truncate: true });
    const rate = await perSecond(pieces, ahead, (i) => file.write(i * pieceBytes, piece));
    const began = performance.now();
    await file.sync();
    const seconds = pieces / rate + (performance.now() - began) / 1_000;
    await file.close();
    return largeBytes / seconds;
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
  const job = (kind: "seqWrite" | "seqRead") => ({ job: kind, prefix: "", bytes: largeBytes }) as const;
  const common = { unit: "MB/s", durability: "replicated, then synced", n: pieces, scale: 1e6 };
  const glusterPeer = (kind: "seqWrite" | "seqRead") =>
    gluster && { peer: "GlusterFS, replica 3", run: () => gluster.perSecond(() => job(kind), 1) };
  try {
    await workers.perSecond(() => job("seqWrite"));
    await measure([
      { name: "seq-write", ...common, goal: ">= 1.0", ours: write, theirs: glusterPeer("seqWrite") },
      { name: "seq-read", ...common, goal: ">= 1.0", ours: readAll, theirs: glusterPeer("seqRead") },
      {
        ...{ name: "seq-read-local", ...common, goal: ">= 0.5", ours: readAll },
        theirs: {
          peer: "this machine's file system, one copy",
          run: () => workers.perSecond(() => job("seqRead")),
        },
      },
    ]);
    if (!wants("read-4k")) return;
    const beside = cluster.files(cluster.backup);
    const { ino } = await beside.lookup(rootIno, "large");
    const file = await beside.open(ino, { read: true });
    const pages = largeBytes / 4_096;
    await measure([
      {
        ...{ name: "read-4k", unit: "reads/s", goal: ">= 200,000", durability: "replicated", n: 200_000 },
        ours: () => perSecond(200_000, 1, () => file.read(Math.floor(Math.random() * pages) * 4_096, 4_096)),
      },
    ]);
    await file.close();
  } finally {
    await workers.close();
    rmSync(local, { recursive: true, force: true });
  }
}

/** With everything on three disks before it is acknowledged. */
async function synced(): Promise<void> {
  const cluster = await StateCluster.open({ replicas: 3, durability: "fsync" });
  const gluster = await openGlusterPeer();
  const workers = gluster && new FilesWorkers(gluster.dir, 1);
  const fs = cluster.files(cluster.primary);
  const n = 2_000;
  try {
    let run = 0;
    await measure([
      {
        ...{ name: "create-fsync", unit: "operations/s", goal: ">= 4", durability: "fsync", n },
        ours: () => {
          run = ++made;
          return perSecond(n, 1, async (i) => {
            const { file } = await fs.create(rootIno, `s${run}-${i}`, 0o644, { write: true });
            await file.sync();
            await file.close();
          });
        },
        theirs: workers && {
          peer: "GlusterFS, replica 3, fsync of each",
          run: () =>
            workers.perSecond(() => ({ job: "create", prefix: `s${run}-`, n: theirs.one, sync: true })),
        },
      },
    ]);
  } finally {
    await workers?.close();
    await gluster?.close();
    await cluster.close();
  }
}

async function scale(): Promise<void> {
  const [files, gigabytes, replicas] = [Number(given.files), Number(given.gigabytes), Number(given.replicas)];
  await largeVolume({ files, bytes: gigabytes * 1e9 }, replicas);
}

const parts: [names: string[], run: () => Promise<void>][] = [
  [["create", "rename", "unlink", "stat", "readdir", "seq-write", "seq-read", "read-4k"], names],
  [["create-fsync"], synced],
  [["scale"], scale],
];
let failed = false;
for (const [covered, run] of parts) {
  if (!covered.some((name) => only.some((prefix) => name.startsWith(prefix) || prefix.startsWith(name))))
    continue;
  if (covered.includes("scale") && given.only === "") continue;
  try {
    await run();
  } catch (e) {
    failed = true;
    say(`${covered.join(", ")}: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`);
  }
}
process.exit(failed ? 1 : 0);
