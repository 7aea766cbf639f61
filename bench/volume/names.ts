/** Making, renaming and removing empty files: each operation waits for the one before, of one client or of many. */
import { type FileSystem, rootIno } from "../../core/files/file-system.ts";
import type { FilesWorkers } from "../files-workers.ts";
import { newRun, perSecond, type Row } from "./rows.ts";

export interface NameRows {
  fs: FileSystem;
  /** Programs on the peer's mount, as many as there are clients at the most; null where there is none. */
  workers: FilesWorkers | null;
  peer: string;
  durability: "replicated" | "fsync";
  goal: string;
  /** Clients. */
  at: number;
  /** Behind the names of rows. */
  suffix: string;
  ours: number;
  theirs: number;
}

export function nameRows({ fs, workers, peer, durability, at, ours, theirs, ...row }: NameRows): Row[] {
  const sync = durability === "fsync";
  let run = "";
  const rowOf = (job: "create" | "rename" | "unlink", act: (i: number) => Promise<unknown>): Row => ({
    ...{ name: `${job}${row.suffix}`, unit: "operations/s", goal: row.goal, durability, n: ours },
    ours: () => {
      if (job === "create") run = newRun();
      return perSecond(ours, at, act);
    },
    peers: workers
      ? [
          {
            peer: sync ? `${peer}, fsync after each` : peer,
            run: () =>
              workers.perSecond(
                (i) => ({ job, prefix: `${run}-w${i}-`, n: Math.ceil(theirs / at), sync }),
                at,
              ),
          },
        ]
      : [],
  });
  return [
    rowOf("create", async (i) => {
      const { file } = await fs.create(rootIno, `${run}-${i}`, 0o644, { write: true });
      if (sync) await file.sync();
      await file.close();
    }),
    rowOf("rename", async (i) => {
      await fs.rename(rootIno, `${run}-${i}`, rootIno, `renamed-${run}-${i}`);
      if (sync) await fs.sync();
    }),
    rowOf("unlink", async (i) => {
      await fs.unlink(rootIno, `renamed-${run}-${i}`);
      if (sync) await fs.sync();
    }),
  ];
}
