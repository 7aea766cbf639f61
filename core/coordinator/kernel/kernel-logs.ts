/**
 * The records of all instances' kernels: RecordLog (core/kernel/view.ts) as agents reach it. A log is read from the
 * store when somebody first asks for it, and follows the store's watch from then on; nothing is lost with the
 * coordinator that keeps it.
 */
import type { RecordsFollow } from "../../agent-protocol.ts";
import { DvsError } from "../../errors.ts";
import type { RecordBatch } from "../../kernel/record-schema.ts";
import type { ViewMachine } from "../../kernel/view-machine.ts";
import type { KernelRecord } from "../../kernel/view.ts";
import { recordsPerBatch, txnOperationsMax } from "../../limits.ts";
import { keys } from "../../records.ts";
import { type Compare, type Store, StoreError, type WatchBatch } from "../../store/store.ts";
import { kernelKey } from "../driver.ts";
import type { Log } from "../log.ts";
import { KernelLog } from "./kernel-log.ts";
import { checkProposer } from "./record-rules.ts";

export interface KernelLogsOptions {
  store: Store;
  leader: Compare;
  /** Of the store: what agents and kernels have of another one is not in it. */
  generation: number;
  /** Null for an instance that is gone. */
  instanceOf(uid: string): { tenant: string } | null;
  /** Whether the node is meant to have a container of the instance; null: a new leader does not know yet. */
  isPlaced(uid: string, node: string): boolean | null;
  /** The node follows the instance, and there is something for it. */
  onNews(node: string, uid: string): void;
  log: Log;
}

/** A node that follows and is no member holds records back for this long: its container joins, or never will. */
const joinMs = 60_000;

interface Follower {
  /** Its containers have applied all up to here. */
  read: number;
  sinceMs: number;
}

interface Entry {
  log: Promise<KernelLog>;
  /** What the watch has shown while it was being read. */
  backlog: WatchBatch[];
  ready: KernelLog | null;
}

export class KernelLogs {
  readonly #options: KernelLogsOptions;
  readonly #entries = new Map<string, Entry>();
  /** By uid and node. */
  readonly #followers = new Map<string, Map<string, Follower>>();

  constructor(options: KernelLogsOptions) {
    this.#options = options;
  }

  /**
   * `generation` is that of the records which the proposer goes by. Rejects with FORBIDDEN (record-rules.ts), CONFLICT
   * (another generation), NOT_FOUND, UNAVAILABLE, OUTCOME_UNKNOWN.
   */
  async propose(
    node: string,
    uid: string,
    id: string,
    record: KernelRecord,
    generation?: number,
  ): Promise<number> {
    const log = await this.#open(uid);
    const current = this.#options.generation;
    // Whoever joins has read nothing yet.
    if ((generation ?? (record.type === "join" ? current : 1)) !== current) {
      throw new DvsError(
        "CONFLICT",
        `Cannot order a record that goes by generation ${generation ?? 1} of the store: it was restored and is generation ${current}.`,
      );
    }
    const index = log.indexOf(id);
    if (index !== undefined) return index;
    checkProposer(record, { node, placed: this.#isPlaced(uid, node, log) }, log.history.view);
    return log.put(id, record);
  }

  /**
   * The agent has reaped the process of that incarnation, or seen (pid, start time) gone from /proc: an exit
   * certificate. If it is a member it is removed. A `join` of it that is still under way in the store comes
   * afterwards, and its lease, which nobody renews, ends it.
   */
  async exited(node: string, uid: string, incarnation: string): Promise<void> {
    const log = await this.#open(uid);
    // A container whose kernel was removed and joined again has `<its own>-k2` in the View (core/container/kernel-host.ts).
    const ofProcess = (other: string) => other === incarnation || other.startsWith(`${incarnation}-k`);
    const members = [...log.history.view.members.values()].filter((m) => ofProcess(m.incarnation));
    for (const { kernel } of members) {
      const record = { type: "remove", kernel, reason: "exit-certificate" } as const;
      await this.propose(node, uid, `exit-${kernel}`, record, this.#options.generation);
    }
  }

  /**
   * The node wants to hear of the instance's records from now on, and has read all up to `read`. Resolves with where it
   * has to begin: after `after`, or with the first if what it has is of another generation. Rejects with CONFLICT when
   * it has more than there is: then an old store was put back, and nobody can tell what of it is true.
   */
  async follow(
    node: string,
    uid: string,
    { read, after = 0, generation = 1 }: RecordsFollow,
  ): Promise<number> {
    const log = await this.#open(uid);
    const isSame = generation === this.#options.generation;
    const { index } = log.history.view;
    if (isSame && Math.max(read, after) > index) {
      throw new DvsError(
        "CONFLICT",
        `Node ${node} has read records up to ${Math.max(read, after)}, and the store has them up to ${index}: ` +
          "an older store was put back without raising its generation.",
      );
    }
    if (!this.#isPlaced(uid, node, log) && !hasMember(log, node)) {
      throw new DvsError("FORBIDDEN", `Instance ${uid} has no container on node ${node}.`);
    }
    const followers = this.#followers.get(uid) ?? new Map<string, Follower>();
    this.#followers.set(uid, followers);
    const sinceMs = followers.get(node)?.sinceMs ?? performance.now();
    followers.set(node, { read: isSame ? read : 0, sinceMs });
    this.#fold(uid, log);
    return isSame ? after : 0;
  }

  /** What follows `after`; the View first where that was folded. */
  async batch(uid: string, after: number): Promise<RecordBatch> {
    const { generation } = this.#options;
    return { ...(await this.#open(uid)).history.after(after, recordsPerBatch), generation };
  }

  /** The View as it is now. */
  async view(uid: string): Promise<ViewMachine> {
    return (await this.#open(uid)).history.view;
  }

  /** What the store's watch has shown; null: something may be missing, so all is read again. */
  apply(batch: WatchBatch | null): void {
    if (!batch) {
      this.#entries.clear();
      for (const uid of this.#followers.keys()) this.#tell(uid);
      return;
    }
    const byUid = new Map<string, WatchBatch>();
    for (const event of batch.events) {
      const uid = kernelKey.exec(event.key)![1]!;
      const part = byUid.get(uid) ?? { revision: batch.revision, events: [] };
      part.events.push(event);
      byUid.set(uid, part);
    }
    for (const [uid, part] of byUid) {
      const entry = this.#entries.get(uid);
      if (!entry) continue;
      if (entry.ready) this.#grow(uid, entry.ready, part);
      else entry.backlog.push(part);
    }
  }

  /** The instance is gone: so is what its kernels had written. */
  async remove(tenant: string, uid: string): Promise<void> {
    this.#entries.delete(uid);
    this.#followers.delete(uid);
    const { store, leader } = this.#options;
    for (;;) {
      const { kvs } = await store.range(keys.kernel(tenant, uid), { limit: txnOperationsMax - 1 });
      if (kvs.length === 0) return;
      const { succeeded } = await store.txn({
        if: [leader],
        then: kvs.map(({ key }) => ({ type: "delete", key })),
      });
      if (!succeeded) return; // the next leader does it
    }
  }

  /** Removes what instances have left that went while nobody could do it. */
  async sweep(): Promise<void> {
    const { store } = this.#options;
    let after: string | undefined;
    const seen = new Set<string>();
    for (;;) {
      const page = await store.range(keys.tenants, { limit: 1_000, ...(after ? { after } : {}) });
      for (const { key } of page.kvs) {
        const uid = kernelKey.exec(key)?.[1];
        if (uid === undefined || seen.has(uid)) continue;
        seen.add(uid);
        if (!this.#options.instanceOf(uid)) await this.remove(key.split("/")[2]!, uid);
      }
      after = page.kvs.at(-1)?.key;
      if (!page.more) return;
    }
  }

  /** Throws UNAVAILABLE when that matters and is not known yet. */
  #isPlaced(uid: string, node: string, log: KernelLog): boolean {
    const placed = this.#options.isPlaced(uid, node);
    if (placed !== null) return placed;
    if (hasMember(log, node)) return false;
    throw new DvsError(
      "UNAVAILABLE",
      "This coordinator has just taken over and does not know the nodes yet.",
    );
  }

  async #open(uid: string): Promise<KernelLog> {
    const { store, leader, generation } = this.#options;
    const instance = this.#options.instanceOf(uid);
    if (!instance) throw new DvsError("NOT_FOUND", `There is no instance ${uid}.`);
    const known = this.#entries.get(uid);
    if (known) return known.log;
    const { tenant } = instance;
    const entry: Entry = {
      log: KernelLog.open({ store, leader, tenant, uid, generation }),
      backlog: [],
      ready: null,
    };
    this.#entries.set(uid, entry);
    try {
      const log = await entry.log;
      entry.ready = log;
      for (const batch of entry.backlog.splice(0)) this.#grow(uid, log, batch);
      return log;
    } catch (e) {
      if (this.#entries.get(uid) === entry) this.#entries.delete(uid);
      throw e;
    }
  }

  #grow(uid: string, log: KernelLog, batch: WatchBatch): void {
    if (!log.apply(batch)) return;
    this.#tell(uid);
    this.#fold(uid, log);
  }

  #tell(uid: string): void {
    for (const node of this.#followers.get(uid)?.keys() ?? []) this.#options.onNews(node, uid);
  }

  #fold(uid: string, log: KernelLog): void {
    const index = this.#readByAll(uid, log);
    if (index === 0) return;
    log.maybeFold(index).catch((e: unknown) => {
      // Nothing depends on it: the next record tries again.
      const level = e instanceof StoreError ? "warn" : "error";
      this.#options.log(level, `records of instance ${uid} cannot be folded: ${String(e)}`);
    });
  }

  /** The index up to which no follower needs the records one by one; 0 when some member's node has not said. */
  #readByAll(uid: string, log: KernelLog): number {
    const followers = this.#followers.get(uid) ?? new Map<string, Follower>();
    let index = log.history.view.index;
    const memberNodes = new Set([...log.history.view.members.values()].map((member) => member.node));
    for (const node of memberNodes) index = Math.min(index, followers.get(node)?.read ?? 0);
    for (const [node, { read, sinceMs }] of followers) {
      if (memberNodes.has(node)) continue;
      if (performance.now() - sinceMs < joinMs) index = Math.min(index, read);
      else if (this.#options.isPlaced(uid, node) === false) followers.delete(node);
    }
    return index;
  }
}

function hasMember(log: KernelLog, node: string): boolean {
  return [...log.history.view.members.values()].some((member) => member.node === node);
}
