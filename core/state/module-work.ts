/**
 * What modules of the primary do beside what clients ask for, such as putting together what is left of segments: one
 * piece after the other is prepared from the tables and blocks, written, and carried out. Half of the time it rests.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { WriteOutcome } from "../replica/sink.ts";
import type { ReplicaHost } from "./replica-host.ts";

export interface ModuleWorkOptions {
  host: Pick<ReplicaHost, "machine" | "module" | "write">;
  modules: readonly string[];
  say: (level: "info" | "warn" | "error", message: string, fields?: Record<string, unknown>) => void;
}

export class ModuleWork {
  readonly #options: ModuleWorkOptions;
  readonly #busy = new Set<string>();

  constructor(options: ModuleWorkOptions) {
    this.#options = options;
  }

  /** Every second or so: whoever has nothing to do is asked again. */
  review(): void {
    for (const name of this.#options.modules) {
      if (this.#busy.has(name) || !this.#isPrimary()) continue;
      this.#busy.add(name);
      this.#workOf(name)
        .catch((e: unknown) => this.#options.say("warn", `work of module ${name}`, { error: String(e) }))
        .finally(() => this.#busy.delete(name));
    }
  }

  async #workOf(name: string): Promise<void> {
    const { host } = this.#options;
    for (;;) {
      const beganMs = performance.now();
      const operation = await host.module(name).work?.();
      if (!operation || !this.#isPrimary()) return;
      const outcome = await new Promise<WriteOutcome>((done) =>
        host.write({ client: "", sequence: 0, ackedBelow: 0, module: name, operation }, done),
      );
      if (outcome.type !== "ok") return;
      await sleep(performance.now() - beganMs);
      if (!this.#isPrimary()) return;
    }
  }

  #isPrimary(): boolean {
    const { role, status } = this.#options.host.machine;
    return role === "primary" && status.serving;
  }
}
