/**
 * Brings a coordinator back whose store was lost, or set back: on the machine where it shall run, while none runs.
 *
 * - from a backup, into an empty store;
 * - from what is left of a store that the coordinators ran themselves: the data of one member, made a cluster of one;
 * - after somebody put an old store.db or a snapshot of etcd in place: nothing is moved then.
 *
 * In each case the store's generation rises, above every one that anybody may have seen: nodes take the older
 * revisions for news then, and whoever still goes by the store that was is refused. What was acknowledged after the
 * backup, or only by the members that are lost, is gone; containers that are not wanted any more are stopped.
 */
import { existsSync, mkdirSync } from "node:fs";
import { DvsError, parseOrThrow } from "../errors.ts";
import { lockDirectory } from "../lock.ts";
import { keys } from "../records.ts";
import { toDvsError } from "../store/errors.ts";
import { settleTxn } from "../store/settle.ts";
import type { Store } from "../store/store.ts";
import { raiseGeneration, restoreStore } from "../store/transfer.ts";
import { ClusterRecord } from "../records.ts";
import { openIdentity } from "./bootstrap.ts";
import { haDirOf } from "./ha/ha-files.ts";
import { recoverMember } from "./ha/recover-member.ts";
import { openHaStore } from "./ha/ha-store.ts";
import { keepStoreAuthority, readStoreAuthority } from "./ha/store-authority.ts";
import type { Log } from "./log.ts";
import { CoordinatorOptions } from "./options.ts";
import { haOptionsOf, placeOf } from "./place.ts";
import { openNamedStore } from "./store-access.ts";

export interface Recovery {
  options: CoordinatorOptions;
  /** Lines of a backup; absent: the store is as it shall be, but for its generation. */
  backup?: AsyncIterable<string>;
  /** Also when other members of the store answer: what they have is given up. */
  force: boolean;
  signal: AbortSignal;
  log: Log;
}

export interface Recovered {
  clusterId: string;
  generation: number;
  /** Of the backup; null without one. */
  keys: number | null;
}

/**
 * Rejects with CONFLICT while a coordinator runs on the directory, INVALID for a damaged backup or a store that is not
 * empty, NOT_FOUND where there is nothing to recover, FAILED when other members of the store answer, UNAVAILABLE when
 * the store does not.
 */
export async function recoverCoordinator(recovery: Recovery): Promise<Recovered> {
  const options = parseOrThrow(CoordinatorOptions, recovery.options, "coordinator options");
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 });
  const lock = lockDirectory(options.dataDir, "coordinator");
  try {
    const { store, close } = await open(recovery, options);
    try {
      return await recover(recovery, store);
    } catch (e) {
      throw toDvsError(e);
    } finally {
      await store.close();
      await close();
    }
  } finally {
    lock.release();
  }
}

type Parsed = ReturnType<typeof CoordinatorOptions.parse>;

async function open(
  { backup, force, signal, log }: Recovery,
  options: Parsed,
): Promise<{ store: Store; close: () => Promise<void> }> {
  const kept = existsSync(haDirOf(options.dataDir).member);
  if (kept && !backup) return recoverMember({ dataDir: options.dataDir, force, signal, log });
  if (options.ha || kept) {
    if (kept) {
      throw new DvsError(
        "INVALID",
        `Cannot recover from a backup: ${haDirOf(options.dataDir).root} has a store. Without --from that one is made to ` +
          "work; to give it up, move it away.",
      );
    }
    const identity = await openIdentity(options.dataDir);
    const ha = await openHaStore(
      await haOptionsOf({ options, identity, place: placeOf(options, identity, log), signal, log }),
    );
    if (!ha) throw signal.reason;
    return { store: ha.store, close: () => ha.close() };
  }
  return { store: await openNamedStore(options), close: () => Promise.resolve() };
}

async function recover({ backup }: Recovery, store: Store): Promise<Recovered> {
  let restored: number | null = null;
  if (backup) {
    // The authority of a store's members is this store's own; everything else comes from the backup.
    const authority = await readStoreAuthority(store);
    if (authority) await forget(store, [keys.storeAuthority]);
    restored = (await restoreStore(store, backup)).keys;
    await forget(store, [keys.storeAuthority]);
    if (authority) await keepStoreAuthority(store, authority);
  }
  const meta = await store.get(keys.cluster);
  if (!meta) {
    throw new DvsError(
      "NOT_FOUND",
      "There is nothing to recover: the store has no cluster. Give a backup (--from FILE), or start a coordinator.",
    );
  }
  const { clusterId } = ClusterRecord.parse(JSON.parse(meta.value));
  // Coordinators say themselves where they are when they start.
  const { kvs } = await store.range(keys.coordinators);
  await forget(store, [keys.leader, ...kvs.map((kv) => kv.key)]);
  // Two recoveries from one backup must not have the same generation.
  const generation = await raiseGeneration(store, Math.floor(Date.now() / 1000));
  return { clusterId, generation, keys: restored };
}

async function forget(store: Store, gone: string[]): Promise<void> {
  for (const key of gone) await settleTxn(store, { if: [], then: [{ type: "delete", key }] });
}
