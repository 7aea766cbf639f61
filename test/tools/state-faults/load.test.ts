/** What judges the faults of replicas is judged: a key-value that errs is found out, in each way in which it may err. */
import { expect, test } from "bun:test";
import { DvsError } from "../../../core/errors.ts";
import type { KvOptions } from "../../../core/state/client/key-value.ts";
import type { KvEntry, KvEvent, KvResult } from "../../../core/state/modules/kv-messages.ts";
import { Random } from "../../sim/harness/random.ts";
import { Load, type LoadClient } from "./load.ts";

/** In memory, for several clients. `err` is asked at each put whether this one goes wrong. */
class FakeKv {
  revision = 0;
  readonly entries = new Map<string, KvEntry>();
  readonly events: KvEvent[] = [];
  /** What reads of a stale client see. */
  stale: Map<string, KvEntry> | null = null;
  lose = () => false;
  twice = () => false;
  refuseAndDo = () => false;
  untold = () => false;

  client(name: string, isStale = false): LoadClient {
    return {
      name,
      kv: {
        get: async (key) => {
          await tick();
          return ((isStale && this.stale) || this.entries).get(key) ?? null;
        },
        put: async (key, value, options) => {
          await tick();
          return this.#put(key, value, options);
        },
        delete: async (key) => {
          await tick();
          const done = this.entries.delete(key);
          if (done) this.#tell([{ key, value: null }]);
          return { done, revision: this.revision };
        },
        watch: (_prefix, after, signal) => this.#watch(after ?? 0, signal),
      },
    };
  }

  #put(key: string, value: Uint8Array, { ifRevision }: KvOptions = {}): KvResult {
    const present = this.entries.get(key)?.revision ?? 0;
    if (ifRevision !== undefined && ifRevision !== present) return { done: false, revision: present };
    if (this.lose()) return { done: true, revision: ++this.revision };
    this.#set(key, value);
    if (this.twice()) this.#set(key, value);
    if (this.refuseAndDo()) throw new DvsError("UNAVAILABLE", "refused");
    return { done: true, revision: this.revision };
  }

  #set(key: string, value: Uint8Array): void {
    this.#tell([{ key, value }]);
    this.entries.set(key, { key, value, revision: this.revision });
  }

  #tell(changes: KvEvent["changes"]): void {
    this.revision++;
    if (!this.untold()) this.events.push({ revision: this.revision, changes });
  }

  async *#watch(after: number, signal: AbortSignal): AsyncGenerator<KvEvent> {
    for (let i = 0; !signal.aborted; await tick()) {
      for (; i < this.events.length; i++) if (this.events[i]!.revision > after) yield this.events[i]!;
    }
  }
}

async function mistakesOf(kv: FakeKv, go: () => void = () => undefined): Promise<string> {
  const random = new Random(1);
  const clients = [kv.client("a"), kv.client("b"), kv.client("stale", true)];
  const load = new Load(clients, [kv.client("watcher")], () => random.float());
  const mistakes: string[] = [];
  for (let round = 0; round < 2; round++) {
    load.begin();
    await load.acknowledged(20);
    go();
    await load.acknowledged(40);
    mistakes.push(...(await load.end()));
  }
  load.close();
  return mistakes.join("\n");
}

/** The tenth time it is asked. */
function once(): () => boolean {
  let asked = 0;
  return () => ++asked === 10;
}

const tick = () => new Promise<void>((resolve) => setTimeout(resolve, 1));

test("a key-value that does what it says is not blamed", async () => {
  expect(await mistakesOf(new FakeKv())).toBe("");
});

test("an acknowledged write that was lost is found", async () => {
  const kv = new FakeKv();
  kv.lose = once();
  expect(await mistakesOf(kv)).toContain("was never told of");
});

test("a write that was carried out twice is found", async () => {
  const kv = new FakeKv();
  kv.twice = once();
  expect(await mistakesOf(kv)).toContain("was written twice");
});

test("a write that was refused and carried out all the same is found", async () => {
  const kv = new FakeKv();
  kv.refuseAndDo = once();
  expect(await mistakesOf(kv)).toContain("was refused, and carried out");
});

test("a change that a watcher was not told of is found", async () => {
  const kv = new FakeKv();
  kv.untold = once();
  expect(await mistakesOf(kv)).toContain("watcher was never told of");
});

test("reads of what was there before are found", async () => {
  const kv = new FakeKv();
  expect(await mistakesOf(kv, () => (kv.stale ??= new Map(kv.entries)))).toContain("is not linearizable");
});

test("what is forgotten between two rounds is found", async () => {
  const kv = new FakeKv();
  let round = 0;
  const forget = () => {
    if (round++ === 1) kv.entries.delete([...kv.entries.keys()].find((key) => key.startsWith("r/1/"))!);
  };
  expect(await mistakesOf(kv, forget)).toMatch(/^r\/1\/\d was /m);
});
