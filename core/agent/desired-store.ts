/**
 * The last Desired that this node took, on disk before it is acted on. It never goes back: neither to an older
 * revision (a coordinator that lags), nor to an older generation of the store (a copy from before a restore), nor
 * to another cluster's.
 */
import { Desired } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { Uid } from "./data-dir.ts";
import { readJsonFile, writeSmallFile } from "../files.ts";
import type { Log } from "./supervisor.ts";

/** After a full disk. */
const writeRetryMs = 1_000;

export class DesiredStore {
  readonly #path: string;
  readonly #node: { clusterId: string; nodeId: string };
  readonly #log: Log;
  #last: Desired | null = null;
  #refusal = "";
  #writeFailure = "";
  #writing: Promise<void> = Promise.resolve();
  #retry: ReturnType<typeof setTimeout> | undefined;

  constructor(path: string, node: { clusterId: string; nodeId: string }, log: Log) {
    this.#path = path;
    this.#node = node;
    this.#log = log;
  }

  /** Reads what an earlier agent took. Before the first `offer`. */
  async load(): Promise<void> {
    const parsed = Desired.safeParse(await readJsonFile(this.#path));
    if (parsed.success && this.#misfit(parsed.data) === null) this.#last = parsed.data;
  }

  /** The newest that was ever taken; null when there is none. */
  get last(): Desired | null {
    return this.#last;
  }

  /** True when it is to be acted on. A disk that cannot take it is a warning, not a reason to stand still. */
  async offer(desired: Desired): Promise<boolean> {
    const refusal = this.#misfit(desired) ?? this.#outdated(desired);
    if (refusal !== null) {
      if (refusal !== this.#refusal) this.#log("warn", refusal);
      this.#refusal = refusal;
      return false;
    }
    this.#refusal = "";
    this.#last = desired;
    // One after the other, so that the newest is the last on the disk.
    this.#writing = this.#writing.then(() => this.#write(desired));
    await this.#writing;
    // A newer one may have come while this was being written.
    return this.#last === desired;
  }

  close(): void {
    clearTimeout(this.#retry);
  }

  warnings(): string[] {
    return [this.#refusal, this.#writeFailure].filter((w) => w !== "");
  }

  async #write(desired: Desired): Promise<void> {
    clearTimeout(this.#retry);
    if (this.#last !== desired) return;
    try {
      await writeSmallFile(this.#path, JSON.stringify(desired), { durable: true });
      this.#writeFailure = "";
    } catch (e) {
      this.#writeFailure = DvsError.from(e).message;
      this.#retry = setTimeout(() => {
        this.#writing = this.#writing.then(() => this.#write(desired));
      }, writeRetryMs);
    }
  }

  #misfit(desired: Desired): string | null {
    if (desired.clusterId !== this.#node.clusterId) {
      return `ignored the desired state of another cluster, ${desired.clusterId}; this node is in ${this.#node.clusterId}`;
    }
    if (desired.node.id !== this.#node.nodeId) {
      return `ignored the desired state of another node, ${desired.node.id}`;
    }
    const bad = [...desired.containers, ...desired.replicas].find((c) => !Uid.safeParse(c.uid).success);
    return bad
      ? `ignored a desired state with the unusable uid ${JSON.stringify(bad.uid.slice(0, 80))}`
      : null;
  }

  #outdated(desired: Desired): string | null {
    const last = this.#last;
    if (!last) return null;
    if (desired.storeGeneration < last.storeGeneration) {
      return (
        `ignored a desired state of store generation ${desired.storeGeneration}: generation ` +
        `${last.storeGeneration} is known. A coordinator runs on an old copy of the store: stop that one`
      );
    }
    if (desired.storeGeneration === last.storeGeneration && desired.revision < last.revision) {
      return `ignored a desired state of revision ${desired.revision}: revision ${last.revision} is known`;
    }
    return null;
  }
}
