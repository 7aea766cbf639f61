/** A state process's side of backups: a snapshot of the database as it is now, on the primary alone. */
import { DvsError } from "../../errors.ts";
import type { StateBoot } from "../boot.ts";
import type { Keeper } from "../keeper.ts";
import type { SnapshotInfo } from "../snapshots.ts";
import type { BackupHeader } from "./format.ts";
import type { NeededBlobs } from "./needed-blobs.ts";
import { type BackedUp, backupStreams, readBackupStreams } from "./read-backup-streams.ts";
import type { TransferHandlers } from "./transfer.ts";

export interface BackupSource extends Pick<BackedUp, "modules" | "repair" | "readBlob"> {
  /** What was acknowledged is applied on the primary; elsewhere it may be on its way. */
  isPrimary(): boolean;
  /** A snapshot of all that is applied now, or of a moment later. */
  snapshotNow(): Promise<SnapshotInfo>;
  keeper: Pick<Keeper, "hold">;
  /** Files of images that the snapshot of this record names. */
  neededBlobs(record: number): Promise<NeededBlobs>;
}

/** Rejects with UNAVAILABLE where this is not the primary. */
export async function giveBackup(
  source: BackupSource,
  { tenant, instance, uid, os, dataDir }: Pick<StateBoot, "tenant" | "instance" | "uid" | "os" | "dataDir">,
): ReturnType<TransferHandlers["backup"]> {
  if (!source.isPrimary()) {
    throw new DvsError("UNAVAILABLE", "This replica is not the primary any more: ask again.");
  }
  const release = source.keeper.hold();
  try {
    const info = await source.snapshotNow();
    const { blobs } = await source.neededBlobs(info.index);
    const header: BackupHeader = {
      ...{ format: "dvs-state-backup", version: 2, tenant, instance, uid, os },
      streams: backupStreams({ info, blobs }),
      ...{ epoch: info.epoch, index: info.index, madeAt: new Date().toISOString() },
    };
    const { modules, repair, readBlob } = source;
    return {
      header,
      chunks: readBackupStreams({ dataDir, info, blobs, modules, repair, readBlob }),
      release,
    };
  } catch (e) {
    release();
    throw e;
  }
}
