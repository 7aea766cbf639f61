/**
 * How busy each container of the instance is, as this one has heard: once a second each tells the others by a message
 * between their kernels. Nothing of the site depends on it: without a kernel, or with a frozen one, it goes stale and
 * is left out.
 */
import type { Process } from "../../core/kernel/process.ts";
import type { VosKernel } from "../../core/vos.ts";

const tellMs = 1_000;
const staleMs = 5_000;
/** In a large instance each second these many others hear of it, in turn. */
const toldMax = 16;

interface Load {
  node: string;
  /** Requests that wait for something: a file, a blob. */
  underWay: number;
  /** How late the event loop was with its last round. */
  lagMs: number;
}

export class LoadExchange {
  readonly #kernel: VosKernel;
  readonly #heard = new Map<string, Load & { atMs: number }>();
  underWay = 0;
  #process: Process | null = null;
  #turn = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(kernel: VosKernel, node: string) {
    this.#kernel = kernel;
    let dueMs = performance.now() + tellMs;
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      this.#tell({ node, underWay: this.underWay, lagMs: Math.max(0, Math.round(nowMs - dueMs)) });
      dueMs = nowMs + tellMs;
    }, tellMs);
    // Another kernel after the first was removed: its processes went with it.
    kernel.onState((state) => state === "joining" && this.#begin());
    this.#begin();
  }

  /** `n1=0/2 n2=3/15`: requests under way and lag in milliseconds, by node. */
  text(): string {
    const freshMs = performance.now() - staleMs;
    const fresh = [...this.#heard.values()].filter(({ atMs }) => atMs >= freshMs);
    fresh.sort((a, b) => (a.node < b.node ? -1 : 1));
    return fresh.map(({ node, underWay, lagMs }) => `${node}=${underWay}/${lagMs}`).join(" ");
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #begin(): void {
    this.#process = null;
    // What ends it is the end of the kernel, after which it begins again.
    this.#listen().catch(() => undefined);
  }

  async #listen(): Promise<never> {
    const process = await this.#kernel.bind({});
    const named = await this.#kernel.bind({ name: `load-${this.#kernel.id}` });
    this.#process = process;
    for (;;) {
      const { body } = await named.receive();
      this.#note(body as Load);
    }
  }

  #note(load: Load): void {
    this.#heard.set(load.node, { ...load, atMs: performance.now() });
  }

  #tell(load: Load): void {
    this.#note(load);
    const process = this.#process;
    if (!process || this.#kernel.state !== "running") return;
    const others = this.#kernel.members().filter(({ kernel }) => kernel !== this.#kernel.id);
    for (let i = 0; i < Math.min(toldMax, others.length); i++) {
      const other = others[this.#turn++ % others.length]!;
      const to = process.lookup(`load-${other.kernel}`);
      // Whoever does not take it in time hears the next one.
      if (to !== undefined)
        process.send(to, { type: 1, body: load }, { timeoutMs: tellMs }).catch(() => undefined);
    }
  }
}
