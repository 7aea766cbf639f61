/**
 * Which coordinator acts. Leadership is the key /c/leader, taken by compare-and-set; its create revision is the
 * fencing token that every controller transaction compares. Clocks decide nothing but when to *try*: a rival calls
 * the key stale when its `beat` stayed the same for leaderStaleMs on the rival's own clock, deletes it by its
 * revision and takes it; whoever was deposed finds its next transaction refused. Time in which the rival itself got
 * no answer from the store does not count: the leader may not have got one either.
 *
 * What is no transaction cannot be refused by the store: `isFresh` holds back orders to agents while the last beat
 * that the store confirmed is so old that a rival may have taken over. It counts from before that beat was sent, so it
 * ends before any rival's patience does. All clocks here count suspend.
 *
 * With a store that only one coordinator can open (sqlite, memory) nobody else can be alive, so the key is taken
 * at once and needs no beats.
 */
import { leaderRenewMs, leaderStaleMs } from "../limits.ts";
import { uptimeMs } from "../platform/uptime.ts";
import { keys, LeaderRecord } from "../records.ts";
import { settleTxn } from "../store/settle.ts";
import { StoreError, type Compare, type KeyValue, type Store } from "../store/store.ts";
import { pause } from "./pause.ts";

export interface Leadership {
  /** Holds in every transaction of this leader, and in none after it was deposed. */
  compare: Compare;
  /** False while a rival may be acting without our knowing. */
  isFresh: () => boolean;
  /** Gives the key back so that a rival need not wait. Never rejects. */
  resign(): Promise<void>;
}

/** A rival that has not looked for this long does not know whether the beat stood still meanwhile. */
const lookGapMs = 3 * leaderRenewMs;

export interface Candidate {
  store: Store;
  holder: string;
  /** Of its API, for people who look. */
  address: string;
  /** Called once when leadership is lost. */
  onLost: (reason: string) => void;
  /** The store does not answer; once until it does again. */
  onTrouble: (message: string) => void;
  /** Who leads, at each look: "" for nobody. */
  onLeader?: (holder: string) => void;
  signal: AbortSignal;
}

/** Waits until this coordinator leads. Null when the signal aborts first. */
export async function campaign(candidate: Candidate): Promise<Leadership | null> {
  const { store, signal, onTrouble, onLeader } = candidate;
  let sole: boolean | undefined;
  let seen = { beat: "", sinceMs: 0 };
  let lookedMs = -Infinity;
  let troubled = false;
  while (!signal.aborted) {
    try {
      sole ??= (await store.status()).driver !== "etcd";
      const current = await store.get(keys.leader);
      troubled = false;
      onLeader?.(current ? holderOf(current) : "");
      if (!current) {
        const leadership = await take(candidate, sole);
        if (leadership) return leadership;
        continue;
      }
      const beat = `${current.createRevision}/${current.modRevision}`;
      const nowMs = uptimeMs();
      if (seen.beat !== beat || nowMs - lookedMs > lookGapMs) seen = { beat, sinceMs: nowMs };
      lookedMs = nowMs;
      // The lock on its data directory says that whoever took the key under this name before has gone.
      const own = holderOf(current) === candidate.holder;
      if (sole || own || nowMs - seen.sinceMs >= leaderStaleMs) {
        // Only this very state of the key is removed: a beat in between makes the compare fail.
        await store.txn({
          if: [{ key: keys.leader, target: "mod", op: "=", value: current.modRevision }],
          then: [{ type: "delete", key: keys.leader }],
        });
        continue;
      }
    } catch (e) {
      if (!(e instanceof StoreError)) throw e;
      if (!troubled) onTrouble(e.message);
      troubled = true;
    }
    await pause(leaderRenewMs, signal);
  }
  return null;
}

function holderOf(kv: KeyValue): string {
  const record = LeaderRecord.safeParse(JSON.parse(kv.value));
  return record.success ? record.data.holder : "";
}

async function take(candidate: Candidate, sole: boolean): Promise<Leadership | null> {
  const { store, holder, address } = candidate;
  const record: LeaderRecord = { holder, address, beat: 0 };
  const sentMs = uptimeMs();
  const result = await settleTxn(store, {
    if: [{ key: keys.leader, target: "create", op: "=", value: 0 }],
    then: [{ type: "put", key: keys.leader, value: JSON.stringify(record) }],
  });
  return result.succeeded ? lead(candidate, result.revision, sole, sentMs) : null;
}

function lead(candidate: Candidate, createRevision: number, sole: boolean, sentMs: number): Leadership {
  const { store, holder, address, signal } = candidate;
  const compare: Compare = { key: keys.leader, target: "create", op: "=", value: createRevision };
  const over = new AbortController();
  const stop = () => over.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  let confirmedMs = sentMs;

  /** One beat at a time: a slow store is not asked ever more. */
  const renew = async () => {
    for (let beat = 1; ; beat++) {
      await pause(leaderRenewMs, over.signal);
      if (over.signal.aborted) return;
      const record: LeaderRecord = { holder, address, beat };
      const beatMs = uptimeMs();
      try {
        const result = await store.txn({
          if: [compare],
          then: [{ type: "put", key: keys.leader, value: JSON.stringify(record) }],
        });
        if (result.succeeded) confirmedMs = beatMs;
        else if (!over.signal.aborted) {
          stop();
          candidate.onLost("another coordinator has taken over");
        }
      } catch (e) {
        // No answer is no loss: only the store's word is.
        if (!(e instanceof StoreError)) throw e;
      }
    }
  };
  if (!sole) void renew();

  return {
    compare,
    isFresh: () => sole || uptimeMs() - confirmedMs < leaderStaleMs,
    async resign() {
      stop();
      await store.txn({ if: [compare], then: [{ type: "delete", key: keys.leader }] }).catch(() => undefined);
    },
  };
}
