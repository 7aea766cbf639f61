/**
 * Which coordinator acts. Leadership is the key /c/leader, taken by compare-and-set; its create revision is the
 * fencing token that every controller transaction compares. Clocks decide nothing but when to *try*: a rival calls
 * the key stale when its `beat` stayed the same for leaderStaleMs on the rival's own clock, deletes it by its
 * revision and takes it; whoever was deposed finds its next transaction refused.
 *
 * With a store that only one coordinator can open (sqlite, memory) nobody else can be alive, so the key is taken
 * at once and needs no beats.
 */
import { leaderRenewMs, leaderStaleMs } from "../limits.ts";
import { keys, type LeaderRecord } from "../records.ts";
import { settleTxn } from "../store/settle.ts";
import { StoreError, type Compare, type Store } from "../store/store.ts";

export interface Leadership {
  /** Holds in every transaction of this leader, and in none after it was deposed. */
  compare: Compare;
  /** Gives the key back so that a rival need not wait. */
  resign(): Promise<void>;
}

export interface Candidate {
  store: Store;
  holder: string;
  address: string;
  /** Called once when leadership is lost. */
  onLost(reason: string): void;
  signal: AbortSignal;
}

/** Waits until this coordinator leads. Null when the signal aborts first. */
export async function campaign(candidate: Candidate): Promise<Leadership | null> {
  const { store, signal } = candidate;
  const sole = (await store.status()).driver !== "etcd";
  let seen = { beat: "", sinceMs: 0 };
  while (!signal.aborted) {
    try {
      const current = await store.get(keys.leader);
      if (!current) {
        const taken = await take(candidate);
        if (taken) return lead(candidate, taken, sole);
        continue;
      }
      const beat = `${current.createRevision}/${current.modRevision}`;
      const nowMs = performance.now();
      if (seen.beat !== beat) seen = { beat, sinceMs: nowMs };
      if (sole || nowMs - seen.sinceMs >= leaderStaleMs) {
        // Only this very state of the key is removed: a beat in between makes the compare fail.
        await store.txn({
          if: [{ key: keys.leader, target: "mod", op: "=", value: current.modRevision }],
          then: [{ type: "delete", key: keys.leader }],
        });
        continue;
      }
    } catch (e) {
      if (!(e instanceof StoreError)) throw e;
    }
    await pause(leaderRenewMs, signal);
  }
  return null;
}

async function take(candidate: Candidate): Promise<number | null> {
  const { store, holder, address } = candidate;
  const record: LeaderRecord = { holder, address, beat: 0 };
  const result = await settleTxn(store, {
    if: [{ key: keys.leader, target: "create", op: "=", value: 0 }],
    then: [{ type: "put", key: keys.leader, value: JSON.stringify(record) }],
  });
  return result.succeeded ? result.revision : null;
}

function lead(candidate: Candidate, createRevision: number, sole: boolean): Leadership {
  const { store, holder, address, signal } = candidate;
  const compare: Compare = { key: keys.leader, target: "create", op: "=", value: createRevision };
  let beat = 0;
  let resigned = false;
  const lost = (reason: string) => {
    if (resigned) return;
    resigned = true;
    clearInterval(timer);
    candidate.onLost(reason);
  };
  const renew = async () => {
    beat += 1;
    const record: LeaderRecord = { holder, address, beat };
    try {
      const result = await store.txn({
        if: [compare],
        then: [{ type: "put", key: keys.leader, value: JSON.stringify(record) }],
      });
      if (!result.succeeded) lost("another coordinator has taken over");
    } catch (e) {
      // No answer is no loss: only the store's word is.
      if (!(e instanceof StoreError)) throw e;
    }
  };
  const timer = sole ? undefined : setInterval(() => void renew(), leaderRenewMs);
  signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  return {
    compare,
    async resign() {
      resigned = true;
      clearInterval(timer);
      await store.txn({ if: [compare], then: [{ type: "delete", key: keys.leader }] }).catch(() => undefined);
    },
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
