/**
 * A container's kernel before there is one: what a VOS is given when it boots. The kernel itself is loaded and started
 * when the container serves, so that nobody waits for it who does not need it.
 */
import type { KernelState } from "../agent-protocol.ts";
import type { BindRequest } from "../kernel/kernel.ts";
import type { Process } from "../kernel/process.ts";
import type { VosKernel } from "../vos.ts";

export class DeferredKernel implements VosKernel {
  readonly servesFrozen: boolean;
  #host: VosKernel | null = null;
  readonly #opened = Promise.withResolvers<VosKernel>();
  readonly #listeners: ((state: KernelState["state"]) => void)[] = [];

  constructor(servesFrozen: boolean) {
    this.servesFrozen = servesFrozen;
  }

  open(host: VosKernel): void {
    this.#host = host;
    for (const listener of this.#listeners) host.onState(listener);
    this.#opened.resolve(host);
  }

  get state(): KernelState["state"] {
    return this.#host?.state ?? "joining";
  }
  get id(): number {
    return this.#host?.id ?? 0;
  }
  members(): { kernel: number; node: string }[] {
    return this.#host?.members() ?? [];
  }
  async bind(request: BindRequest): Promise<Process> {
    return (await this.#opened.promise).bind(request);
  }
  onState(listener: (state: KernelState["state"]) => void): void {
    this.#listeners.push(listener);
    this.#host?.onState(listener);
  }
}
