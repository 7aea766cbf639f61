/**
 * Writers that raise a counter by compare-and-set, and a check of what they were told against the store's history:
 * every raise that was acknowledged is there once, and nothing else is.
 */
import { settleTxn } from "../../../core/store/settle.ts";
import { StoreError, type Store } from "../../../core/store/store.ts";
import { putOp } from "./store-suite.ts";

export interface Counter {
  /** Ids of raises that were acknowledged. */
  acknowledged: string[];
  /** Ids of those whose outcome stayed unknown. */
  unknown: string[];
  stop(): Promise<void>;
  /** Resolves when so many more were acknowledged. */
  more(count: number): Promise<void>;
}

interface Value {
  n: number;
  id: string;
}

export function startCounter(store: Store, key: string, writers: number): Counter {
  const acknowledged: string[] = [];
  const unknown: string[] = [];
  const stopping = new AbortController();
  const write = async (writer: number) => {
    for (let i = 0; !stopping.signal.aborted; i += 1) {
      const id = `${writer}-${i}`;
      try {
        const kv = await store.get(key);
        const { n } = kv ? (JSON.parse(kv.value) as Value) : { n: 0 };
        const result = await settleTxn(store, {
          if: [{ key, target: "mod", op: "=", value: kv?.modRevision ?? 0 }],
          then: [putOp(key, JSON.stringify({ n: n + 1, id } satisfies Value))],
        });
        if (result.succeeded) acknowledged.push(id);
      } catch (e) {
        if (!(e instanceof StoreError)) throw e;
        if (e.code === "UNKNOWN_OUTCOME") unknown.push(id);
      }
    }
  };
  const running = Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
  return {
    acknowledged,
    unknown,
    async stop() {
      stopping.abort();
      await running;
    },
    async more(count) {
      const enough = acknowledged.length + count;
      while (acknowledged.length < enough) await new Promise((resolve) => setTimeout(resolve, 10));
    },
  };
}

/** Every value that the counter ever had, from its history. */
export async function historyOf(store: Store, key: string, fromRevision: number): Promise<Value[]> {
  const values: Value[] = [];
  const last = await store.get(key);
  const controller = new AbortController();
  for await (const batch of store.watch(key, fromRevision, controller.signal)) {
    for (const event of batch.events) if (event.kv) values.push(JSON.parse(event.kv.value) as Value);
    if (batch.revision >= last!.modRevision) break;
  }
  return values;
}
