/** A learner that lacks what its primary's log no longer has gets a snapshot, and nobody installs one it should not. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StateDatabase } from "../../../core/state/database.ts";
import { Keeper } from "../../../core/state/keeper.ts";
import type { Fields } from "../../../core/state/link/frames.ts";
import { listSnapshots, type SnapshotInfo } from "../../../core/state/snapshots.ts";
import { SnapshotTransfers, transferNumbers } from "../../../core/state/snapshot-transfer.ts";
import { ReplicaDatabase } from "./replica-database.ts";

const a = "a".repeat(32);
const b = "b".repeat(32);

let replica: ReplicaDatabase;
let root: string;
let keepers: Keeper[];
beforeEach(() => {
  replica = new ReplicaDatabase();
  root = mkdtempSync(join(tmpdir(), "dvs-"));
  keepers = [];
  for (let i = 0; i < 300; i++) {
    const value = crypto.getRandomValues(new Uint8Array(5_000));
    replica.kv({ op: "put", key: `key${i}`, value });
  }
  replica.db.commit();
});
afterEach(async () => {
  for (const keeper of keepers) await keeper.close();
  replica.end();
  rmSync(root, { recursive: true });
});

class Side {
  readonly transfers: SnapshotTransfers;
  readonly installed: SnapshotInfo[] = [];
  readonly sent: string[] = [];
  readonly said: string[] = [];
  readonly numbers: number[] = [];
  mayTake = true;
  other: Side | null = null;
  /** What arrives is put through this. */
  filter: (fields: Fields) => Fields | null = (fields) => fields;

  constructor(dataDir: string, other: string, self: string, database: StateDatabase) {
    const keeper = new Keeper(
      {
        dataDir,
        log: { segments: [] } as never,
        database: () => database,
        snapshotTaken: () => undefined,
        spaceChanged: () => undefined,
        say: () => undefined,
      },
      null,
    );
    keepers.push(keeper);
    this.transfers = new SnapshotTransfers({
      dataDir,
      keeper,
      send: (disk, fields) => {
        expect(disk).toBe(other);
        this.numbers.push(Number(fields[0]));
        setImmediate(() => {
          const arrived = this.filter(fields);
          if (arrived) this.other?.transfers.received(self, arrived);
        });
      },
      mayTake: () => this.mayTake,
      install: async (info) => void this.installed.push(info),
      sent: (disk) => void this.sent.push(disk),
      say: (_, message) => void this.said.push(message),
    });
  }
}

function pair(): { primary: Side; learner: Side; learnerDir: string } {
  const learnerDir = join(root, "learner");
  const primary = new Side(replica.dir, b, a, replica.db);
  const learner = new Side(learnerDir, a, b, replica.db);
  primary.other = learner;
  learner.other = primary;
  return { primary, learner, learnerDir };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

test("a snapshot arrives whole, is installed once, and both sides hear of it", async () => {
  const { primary, learner, learnerDir } = pair();
  primary.transfers.sendTo(b, 5);
  await until(() => primary.sent.length > 0);
  expect(learner.installed).toHaveLength(1);
  expect(learner.installed[0]!.index).toBe(replica.db.appliedIndex);
  expect(await listSnapshots(learnerDir)).toEqual(learner.installed);
  expect(primary.said).toEqual([]);
  expect(learner.numbers.filter((n) => n === transferNumbers.progress).length).toBeGreaterThan(3);
  // The same snapshot serves the next learner.
  primary.transfers.sendTo(b, 5);
  await until(() => primary.sent.length > 1);
  expect(await listSnapshots(replica.dir)).toHaveLength(1);
});

test("a replica that is not to take a snapshot refuses it at the begin, and also at the end", async () => {
  const { primary, learner, learnerDir } = pair();
  learner.mayTake = false;
  primary.transfers.sendTo(b, 5);
  await until(() => primary.sent.length === 1);
  expect(learner.numbers).toEqual([transferNumbers.refused]);
  learner.mayTake = true;
  primary.filter = (fields) => {
    // It becomes a member while the pieces come.
    if (fields[0] === transferNumbers.piece) learner.mayTake = false;
    return fields;
  };
  primary.transfers.sendTo(b, 5);
  await until(() => primary.sent.length === 2);
  expect(learner.installed).toEqual([]);
  expect(primary.said).toHaveLength(2);
  expect(learnerDir).toBeDefined();
});

test("bytes that were changed on the way are refused", async () => {
  const { primary, learner, learnerDir } = pair();
  primary.filter = (fields) => {
    if (fields[0] !== transferNumbers.piece) return fields;
    const bytes = (fields[2] as Uint8Array).slice();
    bytes[0]! ^= 1;
    return [fields[0], fields[1], bytes];
  };
  primary.transfers.sendTo(b, 5);
  await until(() => primary.sent.length === 1);
  expect(learner.installed).toEqual([]);
  expect(await listSnapshots(learnerDir)).toEqual([]);
});

test("when the link breaks, or the primary gives up, nothing is installed any more; the next attempt succeeds", async () => {
  const { primary, learner } = pair();
  let pieces = 0;
  primary.filter = (fields) => {
    if (fields[0] === transferNumbers.piece && ++pieces === 3) {
      primary.transfers.linkChanged(b);
      learner.transfers.linkChanged(a);
    }
    return fields;
  };
  primary.transfers.sendTo(b, 5);
  await until(() => primary.sent.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(learner.installed).toEqual([]);
  pieces = 100;
  primary.transfers.sendTo(b, 5);
  await until(() => primary.sent.length === 2);
  expect(learner.installed).toHaveLength(1);
});

test("no more than the window is under way to a learner that writes nothing", async () => {
  const { primary, learner } = pair();
  learner.filter = (fields) => (fields[0] === transferNumbers.progress ? null : fields);
  primary.transfers.sendTo(b, 5);
  await until(() => primary.numbers.filter((n) => n === transferNumbers.piece).length >= 4);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(primary.numbers.filter((n) => n === transferNumbers.piece)).toHaveLength(4);
  expect(primary.sent).toEqual([]);
  primary.transfers.linkChanged(b);
  await until(() => primary.sent.length === 1);
});

test("garbage in place of a transfer's message breaks the link", () => {
  const { learner } = pair();
  for (const fields of [
    [transferNumbers.begin, "id"],
    [transferNumbers.begin, 1, 5, 1, -1, "00"],
    [transferNumbers.piece, 1, "text"],
    [transferNumbers.piece, 1, new Uint8Array(1 << 20)],
  ]) {
    expect(() => learner.transfers.received(a, fields)).toThrow();
  }
});
