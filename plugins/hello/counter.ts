/**
 * A counter that the containers share: whoever has bound the name `counter` holds it. When its kernel is removed another
 * takes the name, and goes on from the highest count that any container was told: lost is what was told only to those
 * who died with it, as long as an instance's state is not replicated.
 */
import { CallError } from "../../core/kernel/call-error.ts";
import type { Process } from "../../core/kernel/process.ts";
import type { VosKernel } from "../../core/vos.ts";

export class Counter {
  #client: Process | undefined;
  #known = 0;
  readonly #kernel: VosKernel;
  constructor(kernel: VosKernel) {
    this.#kernel = kernel;
    void this.#run().catch((e: unknown) => e instanceof CallError || Promise.reject(e));
  }

  /** Adds `n` to the holder's count. Rejects with a CallError: not counted, or OUTCOME_UNKNOWN. */
  async add(n: number, name = "counter", timeoutMs = 3_000): Promise<{ count: number; holder: number }> {
    if (!this.#client) throw new CallError("call", name, "NOT_BOUND");
    const to = await this.#client.waitForName(name, { timeoutMs });
    const { body } = await this.#client.sendrec(to, { type: 1, body: n }, { timeoutMs });
    const answer = body as { count: number; holder: number };
    this.#known = Math.max(this.#known, answer.count);
    return answer;
  }

  async #run(): Promise<void> {
    const kernel = this.#kernel;
    this.#client = await kernel.bind({});
    void this.#serve(await kernel.bind({ name: `counter-${kernel.id}` }));
    for (;;) {
      const holder = await kernel.bind({ name: "counter" }).catch((e: CallError) => e);
      if (!(holder instanceof Error)) {
        await Promise.allSettled(kernel.members().map((m) => this.add(0, `counter-${m.kernel}`, 500)));
        await this.#serve(holder);
      } else if (holder.outcome !== "NAME_TAKEN") throw holder;
      else await this.#client.waitForUnbind(this.#client.lookup("counter") ?? this.#client.endpoint);
    }
  }

  async #serve(process: Process): Promise<never> {
    for (;;) {
      const request = await process.receiveRequest();
      this.#known += request.body as number;
      process.reply(request, { type: 1, body: { count: this.#known, holder: this.#kernel.id } });
    }
  }
}
