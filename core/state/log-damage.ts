/**
 * Records of the log that the disk has damaged: the machine asks other replicas for good ones. Where nobody has them,
 * what they did is in the database, if they were applied, and a snapshot of it takes their place. Until there is one they
 * are missing to replicas that lag, and to the next start. Where they are still to be applied, only a new start helps:
 * it learns anew, and gets a snapshot.
 */
import type { Log } from "../log/log.ts";
import { CannotRepair } from "../log/repair.ts";
import type { LogRecord } from "../replica/record.ts";
import type { SnapshotInfo } from "./snapshots.ts";

export interface LogDamageOptions {
  log: Pick<Log, "damage" | "repair">;
  /** The last record that the database has. */
  appliedIndex: () => number;
  /** Nothing is begun any more. */
  isEnded: () => boolean;
  /** The machine hears of more of it, or less. */
  tell: (damage: Log["damage"]) => void;
  /** Rejects with a DvsError. */
  snapshotNow: () => Promise<SnapshotInfo>;
  failed: (reason: string) => void;
  say: (level: "info" | "error", message: string, fields: Record<string, unknown>) => void;
}

export class LogDamage {
  readonly #options: LogDamageOptions;
  #mending = false;
  #askedInVain = false;

  constructor(options: LogDamageOptions) {
    this.#options = options;
  }

  /** There is more of it, or less. */
  changed(): void {
    const { damage } = this.#options.log;
    if (damage.length === 0) this.#askedInVain = false;
    this.#options.tell(damage);
  }

  /** What others have in the place of damaged records; none: nobody has anything. */
  repair(records: readonly LogRecord[]): void {
    if (records.length === 0) return this.#nobodyHas();
    const { log, say, failed } = this.#options;
    log.repair(records as LogRecord[], (error) => {
      const from = records[0]!.index;
      if (error) say("error", "damaged records are not repaired", { from, error: error.message });
      else say("info", "damaged records are repaired", { from, count: records.length });
      if (error) void this.#mend();
      // Others have what is to be applied, and not what is before it: after a start it is learned anew.
      if (error instanceof CannotRepair && this.#lacksRecords)
        return failed(`its log is damaged: ${error.message}`);
      this.changed();
    });
  }

  /** Damaged records are still to be applied. */
  get #lacksRecords(): boolean {
    return this.#last > this.#options.appliedIndex();
  }
  /** The last damaged record; 0: there is none. */
  get #last(): number {
    return this.#options.log.damage.at(-1)?.to ?? 0;
  }

  #nobodyHas(): void {
    if (!this.#lacksRecords) return void this.#mend();
    // They may only have been out of reach. Otherwise the next start learns anew, and gets a snapshot.
    if (this.#askedInVain)
      return this.#options.failed("records of its log are damaged, and no other replica has them");
    this.#askedInVain = true;
  }

  async #mend(): Promise<void> {
    const { isEnded, snapshotNow, say } = this.#options;
    if (isEnded() || this.#mending || this.#last === 0 || this.#lacksRecords) return;
    this.#mending = true;
    try {
      const { index } = await snapshotNow();
      say("info", "a snapshot has taken the place of damaged records", { index });
    } catch (e) {
      say("error", "damaged records could not be replaced yet", { error: String(e) });
    } finally {
      this.#mending = false;
    }
  }
}
