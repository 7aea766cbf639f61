/**
 * A counter that the containers share. Whoever has bound the name `counter` serves it, and keeps it in the instance's
 * replicated state: when its kernel is removed another takes the name and goes on from there, and nothing is lost that
 * anybody was told.
 */
import { CallError } from "../../core/kernel/call-error.ts";
import type { Process } from "../../core/kernel/process.ts";
import type { DvsError } from "../../core/errors.ts";
import type { VosKernel, VosState } from "../../core/vos.ts";

/** `outcome` and `reason` instead where it was not counted, or nobody knows. */
export type Counted = { count: number; holder: number } | { outcome: string; reason: string };

export class Counter {
  #client: Process | undefined;
  readonly #kernel: VosKernel;
  readonly #kv: VosState["kv"];

  constructor(kernel: VosKernel, { kv }: VosState) {
    this.#kernel = kernel;
    this.#kv = kv;
    void this.#run().catch((e: unknown) => e instanceof CallError || Promise.reject(e));
  }

  /** Adds `n`, wherever the counter is. Rejects with a CallError: not counted, or OUTCOME_UNKNOWN. */
  async add(n: number, timeoutMs = 3_000): Promise<Counted> {
    if (!this.#client) throw new CallError("call", "counter", "NOT_BOUND");
    const to = await this.#client.waitForName("counter", { timeoutMs });
    const { body } = await this.#client.sendrec(to, { type: 1, body: n }, { timeoutMs });
    return body as Counted;
  }

  async #run(): Promise<void> {
    this.#client = await this.#kernel.bind({});
    for (;;) {
      const holder = await this.#kernel.bind({ name: "counter" }).catch((e: CallError) => e);
      if (!(holder instanceof Error)) await this.#serve(holder);
      else if (holder.outcome !== "NAME_TAKEN") throw holder;
      else await this.#client.waitForUnbind(this.#client.lookup("counter") ?? this.#client.endpoint);
    }
  }

  async #serve(process: Process): Promise<never> {
    for (;;) {
      const request = await process.receiveRequest();
      const body = await this.#count(request.body as number).then(
        (count): Counted => ({ count, holder: this.#kernel.id }),
        (e: DvsError): Counted => ({ outcome: e.code, reason: e.message }),
      );
      process.reply(request, { type: 1, body });
    }
  }

  async #count(n: number): Promise<number> {
    for (;;) {
      const entry = await this.#kv.get("count", 2_000);
      const count = (entry ? Number(new TextDecoder().decode(entry.value)) : 0) + n;
      const value = new TextEncoder().encode(String(count));
      const options = { ifRevision: entry?.revision ?? 0, timeoutMs: 2_000 };
      if (n === 0 || (await this.#kv.put("count", value, options)).done) return count;
    }
  }
}
