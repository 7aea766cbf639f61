/**
 * Runs a transaction until it is known what became of it.
 *
 * When the answer is lost, the first copy of the transaction may have been applied, or be applied later (a hung
 * member wakes up). Reading alone can tell that it was, never that it will not be. So the same transaction is run
 * again. Its compares make that safe if one of them names the create, mod or version of a key that the transaction
 * itself changes: then at most one copy is ever applied. If the new copy is applied, all is known. If its compares
 * fail, somebody changed the key: the history of what was put tells whether it was the first copy.
 *
 * To be told from anybody else's write, a put should hold something random (a uid, a change id). A transaction
 * without such a compare may be applied twice: use one only where that makes no difference.
 */
import { sleep, systemClock, type Clock } from "./clock.ts";
import { StoreError, type KeyValue, type Operation, type Store, type Txn, type TxnResult } from "./store.ts";

export interface SettleOptions {
  clock?: Clock;
  /** Gives up after this long, with UNKNOWN_OUTCOME. Longer than an election of etcd. */
  timeoutMs?: number;
}

const pauseMinMs = 50;
const pauseMaxMs = 1_000;
/** How far a key's history is followed back; more changes within one settling are not to be expected. */
const versionsMax = 100;

/** Throws StoreError; UNKNOWN_OUTCOME only when the store did not tell for `timeoutMs`. */
export async function settleTxn(store: Store, txn: Txn, options: SettleOptions = {}): Promise<TxnResult> {
  const { clock = systemClock, timeoutMs = 10_000 } = options;
  const deadline = clock.now() + timeoutMs;
  let lost: StoreError | null = null;
  for (let pauseMs = pauseMinMs; ; pauseMs = Math.min(pauseMs * 2, pauseMaxMs)) {
    try {
      const result = await store.txn(txn);
      if (result.succeeded || !lost) return result;
      return (await findApplied(store, txn)) ?? result;
    } catch (e) {
      if (!(e instanceof StoreError)) throw e;
      if (e.code === "UNKNOWN_OUTCOME") lost = e;
      // Before any answer was lost, every other error says that nothing was done.
      else if (!lost) throw e;
      if (clock.now() + pauseMs > deadline) {
        throw new StoreError(
          "UNKNOWN_OUTCOME",
          `It is not known whether a change was carried out; the store did not tell for ${timeoutMs} ms. Look before you try again. (${e.message})`,
          lost,
        );
      }
    }
    await sleep(clock, pauseMs);
  }
}

/** The result of the copy that was applied before, or null when none was. */
async function findApplied(store: Store, txn: Txn): Promise<TxnResult | null> {
  const put = txn.then.find((operation) => operation.type === "put");
  const revision = put ? await findPut(store, put) : await findDeletions(store, txn);
  if (revision === null) return null;
  const results: (KeyValue | null)[] = [];
  for (const operation of txn.then) {
    const kv = await getAt(store, operation.key, revision);
    if (operation.type === "put" && !(kv?.modRevision === revision && kv.value === operation.value))
      return null;
    if (operation.type === "delete" && kv !== null) return null;
    results.push(operation.type === "get" ? kv : null);
  }
  return { succeeded: true, revision, results };
}

/** The last revision that put this value, found from the newest version backwards. */
async function findPut(store: Store, put: Operation & { type: "put" }): Promise<number | null> {
  let kv = await store.get(put.key);
  for (let i = 0; kv !== null && i < versionsMax; i += 1) {
    if (kv.value === put.value) return kv.modRevision;
    if (kv.version === 1) return null;
    kv = await getAt(store, put.key, kv.modRevision - 1);
  }
  return null;
}

/** Deletions leave no trace of who made them: when all is gone, what was wanted has come about. */
async function findDeletions(store: Store, txn: Txn): Promise<number | null> {
  const deleted = txn.then.find((operation) => operation.type === "delete");
  if (!deleted) return null;
  const { revision } = await store.range(deleted.key, { limit: 1 });
  return revision;
}

/** A key as of a revision; those that have it as a prefix sort behind it. */
async function getAt(store: Store, key: string, revision: number): Promise<KeyValue | null> {
  const { kvs } = await store.range(key, { limit: 1, revision });
  return kvs[0]?.key === key ? kvs[0] : null;
}
