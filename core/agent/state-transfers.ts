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

/** Whoever carries out a restore says so this often. */
const atItMs = 5_000;

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

  /**
   * Fetches the backup, gives it to the state process and tells what that says: from the first byte of the backup on it
   * says that it is at it, so that whoever waits hears when this agent is gone.
   */
  async restore({ id, uid }: Restore): Promise<void> {
    const { data, coordinator, signal } = this.#options;
    try {
      const backup = await coordinator.fetchStream(id, signal).catch((e: unknown) => DvsError.from(e));
      const said =
        backup instanceof DvsError
          ? streamOf(backupError(backup))
          : awaited(this.#restore(stateDirOf(data, uid).transferSocket, backup));
      await coordinator.sendStream(id, said, signal);
    } catch (e) {
      this.#tell(`what became of the restored state of instance ${uid} could not be told`, e);
    }
  }

  /** What it says of it. Never rejects. */
  async #restore(socket: string, backup: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
    try {
      const answer = await sendRestore(socket, backup, this.#options.signal);
      return new TextEncoder().encode(`${JSON.stringify(answer)}\n`);
    } catch (e) {
      return backupError(DvsError.from(e));
    }
  }

  #tell(what: string, e: unknown): void {
    if (!this.#options.signal.aborted) this.#options.log("warn", `${what}: ${DvsError.from(e).message}`);
  }
}

/** Spaces until it is there: JSON may begin with some. */
function awaited(answer: Promise<Uint8Array>): ReadableStream<Uint8Array> {
  const space = new Uint8Array([0x20]);
  let timer: ReturnType<typeof setInterval>;
  return new ReadableStream({
    start(controller) {
      controller.enqueue(space);
      timer = setInterval(() => controller.enqueue(space), atItMs);
      void answer.then((bytes) => {
        clearInterval(timer);
        controller.enqueue(bytes);
        controller.close();
      });
    },
    cancel: () => clearInterval(timer),
  });
}

function streamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
}
