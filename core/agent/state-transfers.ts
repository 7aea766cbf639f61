/** Backups and restores of instances' OS state: bytes between a coordinator and a state process of this node. */
import type { ToAgent } from "../agent-protocol.ts";
import { DvsError } from "../errors.ts";
import { backupError } from "../state/backup/format.ts";
import { openBackup, sendRestore } from "../state/backup/transfer.ts";
import type { CoordinatorLink } from "./coordinator-link.ts";
import { type DataDir, stateDirOf } from "./data-dir.ts";
import type { Log } from "./supervisor.ts";

export interface StateTransfersOptions {
  data: DataDir;
  coordinator: Pick<CoordinatorLink, "sendStream" | "fetchStream">;
  log: Log;
  signal: AbortSignal;
}

type Backup = Extract<ToAgent, { type: "backup" }>;
type Restore = Extract<ToAgent, { type: "restore" }>;

export class StateTransfers {
  readonly #options: StateTransfersOptions;

  constructor(options: StateTransfersOptions) {
    this.#options = options;
  }

  /** What the state process gives, or why there is none. */
  async backup({ id, uid }: Backup): Promise<void> {
    const { data, coordinator, signal } = this.#options;
    const done = new AbortController();
    try {
      const ended = AbortSignal.any([done.signal, signal]);
      const body = await openBackup(stateDirOf(data, uid).transferSocket, ended).catch((e: unknown) =>
        streamOf(backupError(DvsError.from(e))),
      );
      await coordinator.sendStream(id, body, signal);
    } catch (e) {
      this.#tell(`the state of instance ${uid} was not backed up`, e);
    } finally {
      done.abort();
    }
  }

  /** Fetches the backup, gives it to the state process and tells what that says. */
  async restore({ id, uid }: Restore): Promise<void> {
    const { data, coordinator, signal } = this.#options;
    try {
      const told = await this.#restore(stateDirOf(data, uid).transferSocket, id);
      await coordinator.sendStream(id, streamOf(told), signal);
    } catch (e) {
      this.#tell(`what became of the restored state of instance ${uid} could not be told`, e);
    }
  }

  async #restore(socket: string, id: string): Promise<Uint8Array> {
    const { coordinator, signal } = this.#options;
    try {
      const backup = await coordinator.fetchStream(id, signal);
      const answer = await sendRestore(socket, backup, signal);
      return new TextEncoder().encode(`${JSON.stringify(answer)}\n`);
    } catch (e) {
      return backupError(DvsError.from(e));
    }
  }

  #tell(what: string, e: unknown): void {
    if (!this.#options.signal.aborted) this.#options.log("warn", `${what}: ${DvsError.from(e).message}`);
  }
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}
