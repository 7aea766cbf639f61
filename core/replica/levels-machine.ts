/**
 * Which version of each module's operations is in force. A level is raised by a record, once every replica in sync
 * can apply it, so that an upgrade of one node after the other never makes two replicas differ (REASONING 1.5).
 */
import type { ModuleLevels } from "./messages.ts";
import type { Peer } from "./peer.ts";
import { type LogRecord, recordKinds } from "./record.ts";
import type { Replica } from "./replica.ts";

export class LevelsMachine {
  readonly #replica: Replica;
  /** The highest that this replica can apply. */
  readonly supported: ModuleLevels;
  #inForce: Map<string, number>;
  /** Raised by a record that is not applied yet. */
  readonly #raising = new Map<string, number>();

  constructor(replica: Replica, supported: ModuleLevels, inForce: ReadonlyMap<string, number>) {
    this.#replica = replica;
    this.supported = supported;
    this.#inForce = new Map(inForce);
  }

  inForce(module: string): number {
    return this.#inForce.get(module) ?? 0;
  }

  restore(inForce: ReadonlyMap<string, number>): void {
    this.#inForce = new Map(inForce);
    this.#raising.clear();
  }

  /** Whether this replica can carry out what comes next, as of what it was given. False: it has said so, and is to end. */
  check(): boolean {
    for (const [module, level] of this.#inForce) {
      const own = levelOf(this.supported, module);
      if (level <= own) continue;
      this.#replica.sink.failed(
        `module ${module} is at level ${level}, and this version of dvs has ${own}: install the one of the other nodes`,
      );
      return false;
    }
    return true;
  }

  /** Whether a replica could apply all that may be in the log. */
  suits({ levels }: Peer): boolean {
    if (!levels) return false;
    const needed = new Map([...this.#inForce, ...this.#raising]);
    return [...needed].every(([module, level]) => levelOf(levels, module) >= level);
  }

  /** As the primary: raises what all members can apply. Before the first operation of its epoch, where that is known. */
  review(): void {
    const { isPrimary, replication } = this.#replica;
    if (!isPrimary) return;
    for (const [module, own] of this.supported) {
      let level = own;
      for (const { levels } of replication.promising)
        level = Math.min(level, levels ? levelOf(levels, module) : 0);
      if (level <= Math.max(this.inForce(module), this.#raising.get(module) ?? 0)) continue;
      this.#raising.set(module, level);
      const operation = new Uint8Array([level]);
      replication.append({
        kind: recordKinds.level,
        client: "",
        sequence: 0,
        ackedBelow: 0,
        module,
        operation,
      });
    }
  }

  /** Not primary any more: what it had drawn up may be lost. */
  end(): void {
    this.#raising.clear();
  }

  /** A committed level record. False: this replica is too old to go on. */
  apply({ module, operation, index }: LogRecord): boolean {
    const level = operation[0] ?? 0;
    const { sink } = this.#replica;
    const own = levelOf(this.supported, module);
    if (level > own) {
      sink.failed(
        `record ${index} raises module ${module} to level ${level}, and this version of dvs has ${own}: install the one of the other nodes`,
      );
      return false;
    }
    if (level <= this.inForce(module)) return true;
    this.#inForce.set(module, level);
    sink.levelRaised(module, level);
    return true;
  }
}

function levelOf(levels: ModuleLevels, module: string): number {
  return levels.find(([name]) => name === module)?.[1] ?? 0;
}
