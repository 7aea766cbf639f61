/**
 * A state process's side of restores: a backup is taken in, looked through by the helper, and only when nothing is wrong
 * with it written to the log, piece by piece, then the one record that changes everything (modules/restore.ts).
 *
 *     receive ─▶ unpack (helper) ─▶ begin ─▶ blocks … piece … ─▶ commit
 *        └──────────┴────────────────┴────────────┴──▶ refused: nothing has changed
 *
 * Whatever has no known outcome is written again, since each operation counts once: so it goes on when another replica
 * becomes the primary. When this host process ends before the commit is written, nothing is restored.
 */
import { randomUUID } from "node:crypto";
import { open, statfs } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../../errors.ts";
import { lastingRefusals, type WriteOutcome } from "../../replica/sink.ts";
import type { StateBoot } from "../boot.ts";
import {
  restoreBlockBytes,
  restoreBlocksRoom,
  restoreLogBytes,
  restoreRetryMs,
  restoreRoom,
  restoreStallMs,
} from "../limits.ts";
import { restoreLevel, type RestoreOperation, type RestoreResult } from "../modules/restore.ts";
import { decodeResult } from "../result.ts";
import type { RestoreAnswer } from "./answer.ts";
import { type BackupHeader, knownStreams, stateStream, streamsOf } from "./format.ts";
import {
  makeRestoreDir,
  type Pieces,
  readPieces,
  readReceived,
  receivedBytesPath,
  receivedPath,
  removeRestoreDir,
  type Unpacked,
} from "./unpacked.ts";

export interface RestoreTarget {
  isPrimary(): boolean;
  /** Level in force of a module. */
  level(module: string): number;
  /** Of the module `restore`. */
  write(operation: RestoreOperation): Promise<WriteOutcome>;
  unpack(): Promise<Unpacked>;
}

type Place = Pick<StateBoot, "instance" | "os" | "dataDir">;

export class BackupTaker {
  readonly #target: RestoreTarget;
  readonly #place: Place;
  #busy = false;

  constructor(target: RestoreTarget, place: Place) {
    this.#target = target;
    this.#place = place;
  }

  /**
   * Rejects with INVALID or FAILED for what is no backup of this OS, or a damaged one; CONFLICT where another restore is
   * under way; UNAVAILABLE or EXHAUSTED where it cannot be carried out now: nothing has changed. OUTCOME_UNKNOWN when it
   * may yet be carried out.
   */
  async take(header: BackupHeader, chunks: AsyncIterable<Uint8Array>): Promise<RestoreAnswer> {
    if (this.#busy) throw this.#refusal("CONFLICT", "another restore of it is under way");
    this.#busy = true;
    try {
      this.#check(header);
      await makeRestoreDir(this.#place.dataDir);
      await this.#receive(header, chunks);
      const pieces = await this.#unpack(header);
      return await this.#write(pieces);
    } finally {
      this.#busy = false;
      await removeRestoreDir(this.#place.dataDir).catch(() => undefined);
    }
  }

  #check({ os, streams, instance }: BackupHeader): void {
    if (!this.#target.isPrimary())
      throw this.#refusal("UNAVAILABLE", "this replica is not the primary any more");
    if (os !== this.#place.os) {
      const what = `the backup is of "${instance}" of OS ${os}, and this instance is of OS ${this.#place.os}`;
      throw this.#refusal("INVALID", what);
    }
    const names = streams?.map(({ name }) => name) ?? [stateStream];
    const unknown = names.find((name) => !knownStreams.includes(name));
    if (unknown !== undefined)
      throw this.#refusal("INVALID", `the backup has "${unknown}", which this dvs does not know`);
    const ordered = knownStreams.filter((name) => names.includes(name));
    if (ordered[0] !== stateStream || ordered.some((name, i) => name !== names[i]))
      throw this.#refusal("INVALID", "the backup has not the parts that it should have");
    // Before it, nobody could restore files.
    if (this.#target.level("restore") < restoreLevel)
      throw this.#refusal("UNAVAILABLE", "not all of its replicas run this version of dvs yet");
  }

  async #receive(header: BackupHeader, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { dataDir } = this.#place;
    const wanted = roomOf(header);
    const { bavail, bsize } = await statfs(dataDir);
    if (wanted > bavail * bsize) throw this.#full(wanted);
    const state = await open(receivedPath(dataDir), "wx", 0o600);
    const bytes = await open(receivedBytesPath(dataDir), "wx", 0o600);
    try {
      for await (const [name, part] of streamsOf(header, chunks))
        await (name === stateStream ? state : bytes).writeFile(part);
    } catch (e) {
      throw (e as NodeJS.ErrnoException).code === "ENOSPC" ? this.#full(wanted) : e;
    } finally {
      await state.close();
      await bytes.close();
    }
  }

  async #unpack({ epoch, index }: BackupHeader): Promise<Pieces> {
    const unpacked = await this.#target.unpack();
    if ("problem" in unpacked) throw this.#refusal("INVALID", unpacked.problem);
    if (unpacked.index !== index || unpacked.epoch !== epoch)
      throw this.#refusal("INVALID", "the backup is of another record than its header says");
    for (const [module, level] of unpacked.levels) {
      const here = this.#target.level(module);
      if (level <= here) continue;
      const what = `module "${module}" has level ${level} in the backup and ${here} here: bring dvs on all nodes up to date`;
      throw this.#refusal("INVALID", what);
    }
    return unpacked;
  }

  async #write({ pieces, reserve }: Pieces): Promise<RestoreAnswer> {
    const id = randomUUID();
    const { dataDir } = this.#place;
    let number = 0;
    try {
      const wanted = reserve.map(({ segments, ...of }) => ({ ...of, segments: segments.length }));
      await this.#carriedOut({ op: "begin", id, ...(wanted.length > 0 && { reserve: wanted }) });
      for (const { module, segments } of reserve) {
        for (const [segment, [from, length]] of segments.entries()) {
          for await (const blocks of readReceived(dataDir, from, length, restoreBlockBytes))
            await this.#carriedOut({ op: "blocks", id, number: number++, module, segment, ...blocks });
        }
      }
      const first = number;
      for await (const content of readPieces(dataDir))
        await this.#carriedOut({ op: "piece", id, number: number++, content });
      if (number - first !== pieces) throw new Error(`${number - first} pieces of ${pieces} are there`);
    } catch (e) {
      // No commit follows. Where this cannot be written, the next restore or time clears it away.
      void this.#target.write({ op: "abort", id });
      throw e;
    }
    const { record } = await this.#carriedOut({ op: "commit", id, pieces: number });
    return { index: record };
  }

  /** Until it is, or is refused for good. */
  async #carriedOut(operation: RestoreOperation): Promise<RestoreResult> {
    const untilMs = performance.now() + restoreStallMs;
    const isCommit = operation.op === "commit";
    let mayBe = false;
    for (;;) {
      const outcome = await this.#target.write(operation);
      if (outcome.type === "ok") {
        const result = decodeResult(outcome.result);
        if (result.ok) return result.value as RestoreResult;
        throw this.#refusal("CONFLICT", result.message);
      }
      const isRefused = outcome.type === "refused";
      mayBe ||= !isRefused;
      const why = isRefused ? outcome.text : "no primary has answered";
      const isLasting = isRefused && (lastingRefusals.has(outcome.reason) || outcome.reason === "stopping");
      if (!isLasting && performance.now() < untilMs) {
        await sleep(restoreRetryMs);
        continue;
      }
      if (isCommit && mayBe) {
        const message = `Nobody knows whether the state of instance "${this.#place.instance}" was restored: ${why}. Look before you try again.`;
        throw new DvsError("OUTCOME_UNKNOWN", message);
      }
      throw this.#refusal(isRefused && outcome.reason === "disk-full" ? "EXHAUSTED" : "UNAVAILABLE", why);
    }
  }

  #full(bytes: number): DvsError {
    const mebibytes = Math.ceil(bytes / 1024 / 1024);
    return this.#refusal("EXHAUSTED", `it takes about ${mebibytes} MiB of room on the disk of each replica`);
  }

  #refusal(code: "INVALID" | "CONFLICT" | "UNAVAILABLE" | "EXHAUSTED", why: string): DvsError {
    return new DvsError(
      code,
      `Cannot restore the state of instance "${this.#place.instance}": ${why}. Nothing was changed.`,
    );
  }
}

/** What has to be free on the disk of each replica. */
function roomOf({ streams = [] }: BackupHeader): number {
  const state = streams.find(({ name }) => name === stateStream)?.bytes ?? 0;
  const bytes = streams.reduce((sum, stream) => sum + stream.bytes, 0) - state;
  return state * restoreRoom + (bytes > 0 ? bytes * restoreBlocksRoom + restoreLogBytes : 0);
}
