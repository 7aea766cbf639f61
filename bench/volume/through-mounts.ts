/**
 * The same programs on three mounts: ours, GlusterFS's and sshfs's, in the same rounds. None of them answers from what its
 * mount kept of names and attributes: each call sees what any node has done before.
 */
import { FilesWorkers } from "../files-workers.ts";
import { GitWork } from "./git-work.ts";
import { measure, newRun, type Rounds, type RowPeer } from "./rows.ts";

export interface MountedDir {
  /** With what it promises. */
  name: string;
  dir: string;
}

const created = 400;

export async function throughMounts(
  rounds: Rounds,
  { bytes, ours, peers }: { bytes: number; ours: string; peers: MountedDir[] },
): Promise<void> {
  const dirs = [ours, ...peers.map(({ dir }) => dir)];
  const workers = dirs.map((dir) => new FilesWorkers(dir, 1));
  const git = await GitWork.prepare();
  const rowOf = (run: (at: number) => Promise<number>) => ({
    ours: () => run(0),
    peers: peers.map(({ name }, i): RowPeer => ({ peer: name, run: () => run(i + 1) })),
  });
  const durability = "replicated";
  const detail = { mount: "cache none: nothing is answered from what the kernel kept" };
  try {
    await measure(rounds, [
      {
        ...{ name: "fuse-create", unit: "operations/s", goal: ">= 5", durability, detail, n: created },
        ...rowOf(async (at) => {
          const prefix = `${newRun()}-`;
          const rate = await workers[at]!.perSecond(() => ({ job: "create", prefix, n: created }));
          await workers[at]!.perSecond(() => ({ job: "remove", prefix, n: created }));
          return rate;
        }),
      },
    ]);
    if (rounds.wants("fuse-seq-read")) {
      for (const each of workers) await each.perSecond(() => ({ job: "seqWrite", prefix: "", bytes }));
    }
    await measure(rounds, [
      {
        ...{ name: "fuse-seq-read", unit: "MB/s", goal: ">= 1.0", n: Math.ceil(bytes / 2 ** 20) },
        ...{ durability: "replicated, synced when it was written", detail, scale: 1e6 },
        ...rowOf((at) => workers[at]!.perSecond(() => ({ job: "seqRead", prefix: "", bytes }))),
      },
    ]);
    await measure(rounds, [
      {
        ...{ name: "fuse-git", unit: "runs/s", goal: "> 1.0", durability, n: 1 },
        detail: { ...detail, work: git.what },
        ...rowOf((at) => git.perSecond(dirs[at]!)),
      },
    ]);
  } finally {
    await git.close();
    for (const each of workers) await each.close();
  }
}
