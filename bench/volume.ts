/**
 * An instance's files, the whole path: a container's client on a replica's node, three replicas in host processes of their
 * own with mutual TLS between them. In the same rounds: GlusterFS with three bricks and sshfs, by their mounts, and this
 * machine's own file system. `fuse-…` are the same programs on all mounts, ours too.
 * The rows `scale-…` are about a large volume (volume-scale.ts), and are measured only when asked for.
 *
 *   npm run -s bench:volume [-- --rounds 3] [--only create,stat] [--megabytes 1024]
 *   npm run -s bench:volume -- --only scale [--files 1000000] [--gigabytes 20] [--replicas 1]
 *
 * `--only` names rows by how they begin. The durability of each row is in its detail: `replicated` is what GlusterFS
 * promises when it does not sync (in the memory of three host processes), `fsync` what it promises after an fsync.
 * A signal takes everything away that was begun.
 */
import { parseArgs } from "node:util";
import { Mounts, whyNoMounts } from "../test/tools/mounts.ts";
import { StateCluster } from "../test/tools/state-cluster.ts";
import { atEnd, checkBeginning, endAll, opened, unlessEnding } from "./endings.ts";
import { FilesWorkers } from "./files-workers.ts";
import { say } from "./lib.ts";
import { openGlusterPeer } from "./peers/gluster-peer.ts";
import { openSshfsPeer } from "./peers/sshfs-peer.ts";
import { largeVolume } from "./volume-scale.ts";
import { large } from "./volume/large.ts";
import { nameRows } from "./volume/names.ts";
import { reads } from "./volume/reads.ts";
import { measure, type Rounds } from "./volume/rows.ts";
import { throughMounts } from "./volume/through-mounts.ts";

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
const only = given.only.split(",");
const rounds: Rounds = {
  rounds: Number(given.rounds),
  wants: (name) => only.some((prefix) => name.startsWith(prefix)),
};
const bytes = Number(given.megabytes) * 2 ** 20;
if (!Number.isInteger(rounds.rounds) || rounds.rounds < 1 || !Number.isInteger(bytes) || bytes < 2 ** 20)
  throw new Error("--rounds N and --megabytes N are at least 1");

/** Clients at a time. */
const many = 16;
const gluster = "GlusterFS, replica 3";

/** What is acknowledged when it is in the memory of all replicas. */
async function replicated(): Promise<void> {
  const { it: cluster, close } = await opened(() =>
    StateCluster.open({ replicas: 3, durability: "replicated" }),
  );
  const peer = await peerOrSaid("GlusterFS", openGlusterPeer);
  const workers = peer && new FilesWorkers(peer.dir, many);
  try {
    const fs = cluster.files(cluster.primary);
    const beside = cluster.files(cluster.backup);
    const common = { ...{ fs, workers, peer: gluster }, durability: "replicated" as const };
    const one = { ...{ at: 1, suffix: "", goal: ">= 10" }, ours: 4_000, theirs: 200 };
    const several = { ...{ at: many, suffix: `-${many}`, goal: ">= 20" }, ours: 24_000, theirs: 480 };
    await measure(rounds, nameRows({ ...common, ...one }));
    await measure(rounds, nameRows({ ...common, ...several }));
    if (rounds.wants("stat") || rounds.wants("readdir")) await reads(rounds, beside, peer?.dir ?? null);
    if (["seq-write", "seq-read", "seq-read-local", "read-4k"].some((name) => rounds.wants(name)))
      await large(rounds, { bytes, fs, beside, gluster: workers });
  } finally {
    await workers?.close();
    await peer?.close();
    await close();
  }
}

/** A million files and 20 GB: only where it is asked for. */
async function scale(): Promise<void> {
  const [files, gigabytes, replicas] = [Number(given.files), Number(given.gigabytes), Number(given.replicas)];
  await largeVolume({ files, bytes: gigabytes * 1e9 }, replicas);
}

/** With everything on three disks before it is acknowledged. */
async function synced(): Promise<void> {
  const { it: cluster, close } = await opened(() => StateCluster.open({ replicas: 3, durability: "fsync" }));
  const peer = await peerOrSaid("GlusterFS", openGlusterPeer);
  const workers = peer && new FilesWorkers(peer.dir, 1);
  try {
    const fs = cluster.files(cluster.primary);
    const common = { ...{ fs, workers, peer: gluster }, durability: "fsync" as const };
    const one = { ...{ at: 1, suffix: "-fsync", goal: ">= 4" }, ours: 2_000, theirs: 200 };
    await measure(rounds, nameRows({ ...common, ...one }));
  } finally {
    await workers?.close();
    await peer?.close();
    await close();
  }
}

async function mounted(): Promise<void> {
  const why = whyNoMounts();
  if (why !== null) return say(`skipped: ${why}`);
  const { it: cluster, close } = await opened(() =>
    StateCluster.open({ replicas: 3, durability: "replicated" }),
  );
  checkBeginning();
  const mounts = new Mounts(cluster);
  const closeMounts = atEnd(() => mounts.close());
  const glusterPeer = await peerOrSaid("GlusterFS", openGlusterPeer);
  const sshfsPeer = await peerOrSaid("sshfs", openSshfsPeer);
  try {
    const ours = await mounts.open(cluster.primary);
    const peers = [
      ...(glusterPeer ? [{ name: `${gluster}, its mount`, dir: glusterPeer.dir }] : []),
      ...(sshfsPeer ? [{ name: "sshfs, one copy, its mount", dir: sshfsPeer.dir }] : []),
    ];
    await throughMounts(rounds, { bytes, ours, peers });
  } finally {
    await sshfsPeer?.close();
    await glusterPeer?.close();
    await closeMounts();
    await close();
  }
}

async function peerOrSaid<T>(name: string, open: () => Promise<T | null>): Promise<T | null> {
  const peer = await open();
  if (!peer) say(`skipped, since not installed, or not for this user: ${name}`);
  return peer;
}

const parts: [names: string[], run: () => Promise<void>][] = [
  [
    [
      ...["create", "rename", "unlink", "create-16", "rename-16", "unlink-16"],
      ...["stat", "readdir", "seq-write", "seq-read", "seq-read-local", "read-4k"],
    ],
    replicated,
  ],
  [["create-fsync", "rename-fsync", "unlink-fsync"], synced],
  [["fuse-create", "fuse-seq-read", "fuse-git"], mounted],
  [["scale"], scale],
];
let failed = false;
for (const [covered, run] of parts) {
  if (covered.includes("scale") && given.only === "") continue;
  if (!covered.some((name) => rounds.wants(name))) continue;
  try {
    await run();
  } catch (e) {
    await unlessEnding();
    failed = true;
    say(`${covered.join(", ")}: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`);
    await endAll();
  }
}
process.exit(failed ? 1 : 0);
