/** Lookups and listings of a directory of a thousand, on a backup's node, while nobody writes. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type FileSystem, rootIno } from "../../core/files/file-system.ts";
import { FilesWorkers } from "../files-workers.ts";
import { measure, perSecond, type Rounds } from "./rows.ts";

const listed = 1_000;
const ours = { looks: 100_000, lists: 1_000 };
const theirs = { looks: 1_000, lists: 30 };

export async function reads(rounds: Rounds, fs: FileSystem, peerDir: string | null): Promise<void> {
  const { ino } = await fs.makeDirectory(rootIno, "listed", 0o755);
  for (let i = 0; i < listed; i++) {
    const { file } = await fs.create(ino, `f${i}`, 0o644, { write: true });
    await file.close();
  }
  let workers: FilesWorkers | null = null;
  if (peerDir !== null) {
    const dir = join(peerDir, "listed");
    mkdirSync(dir);
    workers = new FilesWorkers(dir, 1);
    await workers.perSecond(() => ({ job: "create", prefix: "f", n: listed }));
  }
  const list = async () => {
    let after = 0;
    let found = 0;
    for (;;) {
      const some = await fs.entries(ino, after, 512);
      if (some.length === 0) break;
      found += some.length;
      after = some.at(-1)!.cookie;
    }
    if (found !== listed) throw new Error(`${found} names of ${listed}`);
  };
  const peer = "GlusterFS, replica 3, nothing cached by the mount";
  const peerOf = (job: "stat" | "list", n: number) =>
    workers ? [{ peer, run: () => workers.perSecond(() => ({ job, prefix: "f", n })) }] : [];
  const common = { unit: "operations/s", goal: ">= 50", durability: "replicated" };
  await measure(rounds, [
    {
      ...{ name: "stat", ...common, n: ours.looks },
      ours: () => perSecond(ours.looks, 1, (i) => fs.lookup(ino, `f${i % listed}`)),
      peers: peerOf("stat", theirs.looks),
    },
    {
      ...{ name: "readdir", ...common, n: ours.lists },
      ours: () => perSecond(ours.lists, 1, list),
      peers: peerOf("list", theirs.lists),
    },
  ]);
  await workers?.close();
}
