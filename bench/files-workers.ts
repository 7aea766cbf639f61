/** Programs that work on a directory (files-worker.ts), each a host process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { atEnd } from "./endings.ts";
import type { FilesDone, FilesJob } from "./files-worker.ts";

export class FilesWorkers {
  readonly #children: ChildProcess[];
  readonly #lines: AsyncIterator<string>[];
  readonly close: () => Promise<void>;

  constructor(dir: string, many: number) {
    const script = join(import.meta.dirname, "files-worker.ts");
    this.close = atEnd(() => this.#end());
    this.#children = Array.from({ length: many }, () =>
      spawn(process.execPath, [script, dir], { stdio: ["pipe", "pipe", "inherit"] }),
    );
    this.#lines = this.#children.map(({ stdout }) =>
      createInterface({ input: stdout! })[Symbol.asyncIterator](),
    );
  }

  /** All at once; operations (or bytes) a second of all together. */
  async perSecond(job: (worker: number) => FilesJob, workers = this.#children.length): Promise<number> {
    const began = performance.now();
    const done = await Promise.all(
      this.#children.slice(0, workers).map(async ({ stdin }, i) => {
        stdin!.write(`${JSON.stringify(job(i))}\n`);
        const line = await this.#lines[i]!.next();
        if (line.done) throw new Error(`a worker has ended at ${JSON.stringify(job(i))}`);
        return JSON.parse(line.value) as FilesDone;
      }),
    );
    // One alone knows its own time better.
    const seconds = workers === 1 ? done[0]!.seconds : (performance.now() - began) / 1_000;
    return done.reduce((sum, { n }) => sum + n, 0) / seconds;
  }

  /** Between jobs they have nothing to lose. */
  async #end(): Promise<void> {
    for (const child of this.#children) {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
  }
}
