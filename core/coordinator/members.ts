/**
 * The coordinators of a cluster and where they are reached. Each writes its addresses down when it listens, whether
 * it acts or stands by, so that tokens, agents and people's commands know all of them and find the one that acts.
 * A coordinator that has gone for good stays written until somebody says so (`dvs coordinator rm`).
 */
import { z } from "zod";
import { membersRefreshMs } from "../limits.ts";
import { keys } from "../records.ts";
import { settleTxn } from "../store/settle.ts";
import { StoreError, type Store } from "../store/store.ts";
import { pause } from "./pause.ts";

export const MemberRecord = z.object({
  /** `host:port` of the API. */
  api: z.string(),
  /** `host:port` of the agents' port, where other coordinators call too. */
  agents: z.string(),
  /** Boot id of its machine; absent in records of older versions. */
  machine: z.string().optional(),
  /** URLs of its own member of the store, with --ha. */
  etcd: z.object({ client: z.string(), peer: z.string() }).optional(),
});
export type MemberRecord = z.infer<typeof MemberRecord>;

export interface Member extends MemberRecord {
  id: string;
}

export async function registerMember(store: Store, id: string, record: MemberRecord): Promise<void> {
  const value = JSON.stringify(record);
  if ((await store.get(keys.coordinator(id)))?.value === value) return;
  await settleTxn(store, { if: [], then: [{ type: "put", key: keys.coordinator(id), value }] });
}

/** Sorted by id. */
export async function readMembers(store: Store): Promise<Member[]> {
  const { kvs } = await store.range(keys.coordinators);
  return kvs.flatMap((kv) => {
    const record = MemberRecord.safeParse(JSON.parse(kv.value));
    return record.success ? [{ id: kv.key.slice(keys.coordinators.length), ...record.data }] : [];
  });
}

/** As last read, at most membersRefreshMs old while the store answers: what is asked often must not wait for it. */
export class Members {
  readonly #store: Store;
  readonly #own: string;
  #all: Member[] = [];

  constructor(store: Store, own: string) {
    this.#store = store;
    this.#own = own;
  }

  /** This one first. */
  get all(): readonly Member[] {
    return this.#all;
  }

  get others(): readonly Member[] {
    return this.#all.filter((m) => m.id !== this.#own);
  }

  get(id: string): Member | undefined {
    return this.#all.find((m) => m.id === id);
  }

  addresses(of: "api" | "agents"): string[] {
    return [...new Set(this.#all.map((m) => m[of]))];
  }

  async refresh(): Promise<void> {
    const all = await readMembers(this.#store);
    this.#all = [...all.filter((m) => m.id === this.#own), ...all.filter((m) => m.id !== this.#own)];
  }

  /** Resolves when the signal aborts. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.refresh();
      } catch (e) {
        if (!(e instanceof StoreError)) throw e;
      }
      await pause(membersRefreshMs, signal);
    }
  }
}
