/**
 * Files: replicas hold the product's module over its database and block store, and clients make, rename, write, lock
 * and list. What they were told has to be what a simple model says, in the order of the log; the bytes of all replicas
 * are the same in the end, and as their checksums say.
 */
import { drainMicrotasks } from "bun:jsc";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { segmentName } from "../../../../core/blocks/segment-name.ts";
import { decodeOperation } from "../../../../core/files/module/codec.ts";
import type { FileQuery, FileResult } from "../../../../core/files/operations.ts";
import { type LogRecord, recordKinds } from "../../../../core/replica/record.ts";
import { decodeResult } from "../../../../core/state/result.ts";
import type { Disk } from "../../harness/disk.ts";
import type { Host } from "../../harness/host.ts";
import { assert, show } from "../ledger.ts";
import type { Load, State } from "../load.ts";
import type { ReplicaWorld } from "../replica-world.ts";
import type { SimNode } from "../sim-node.ts";
import { FilesClient, type FilesHabits } from "./files-client.ts";
import { type Era, type FilesCall, filesViolation } from "./files-history.ts";
import type { Commit } from "./files-model.ts";
import type { FilesState } from "./files-state.ts";
import { FilesStore } from "./files-store.ts";
import { operationNames } from "./operation-names.ts";

export class FilesLoad implements Load {
  readonly module = "files";
  readonly dueMs = 250;
  readonly #world: ReplicaWorld;
  readonly #habits: FilesHabits;
  readonly #dir = mkdtempSync(join(tmpdir(), "dvs-sim-files-"));
  #paths = 0;
  #clock = 0;
  readonly #calls = new Set<FilesCall>();
  /** By client and number. */
  readonly #writes = new Map<string, FilesCall>();
  /** By index. */
  #commits: (Commit & { bytes: Uint8Array })[] = [];
  #era = { from: 0, kept: 0 };
  readonly #eras: Era[] = [];
  /** What has gone wrong where nobody could be told. */
  #failure: unknown = null;

  constructor(world: ReplicaWorld) {
    const { random } = world.sim;
    this.#world = world;
    this.#habits = {
      calls: random.pick([1, 2, 4]),
      pauseMs: random.pick([4, 10, 40]),
      reads: random.pick([0.3, 0.6]),
      locks: random.pick([0.1, 0.3]),
      names: random.pick([3, 6]),
      writeBytes: random.pick([3_000, 20_000]),
      attemptMs: random.pick([60, 250, 900]),
      timeoutMs: random.pick([500, 4_000]),
    };
  }

  get calls(): number {
    return this.#calls.size;
  }

  newClient(host: Host): FilesClient {
    return new FilesClient(this, this.#world, host, this.#habits);
  }

  newStore(node: SimNode): FilesStore {
    return new FilesStore(this, node);
  }

  /** For a file of this run. */
  newPath(what: string): string {
    return join(this.#dir, `${what}-${++this.#paths}.db`);
  }

  /** A file's bytes; it is gone then. */
  take(path: string): Uint8Array {
    const bytes = readFileSync(path);
    rmSync(path);
    return bytes;
  }

  close(): void {
    for (const node of this.#world.nodes) {
      if (node.process) node.process.died();
      node.store.close();
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }

  fail(e: unknown, what: string): void {
    this.#failure ??= new Error(`${what}: ${e instanceof Error ? e.message : String(e)}`, { cause: e });
  }

  /** What waits for a promise goes on within the step that has kept it. */
  stepped(): void {
    drainMicrotasks();
    if (this.#failure !== null) throw this.#failure;
  }

  decodeResult(bytes: Uint8Array): FileResult {
    const result = decodeResult(bytes);
    assert(result.ok, `an operation is refused: ${result.ok ? "" : result.message}`);
    return result.value as FileResult;
  }

  tell({ kind, operation }: LogRecord): string {
    return kind === recordKinds.operation ? ` ${operationNames[decodeOperation(operation)[0]]}` : "";
  }

  executed(record: LogRecord, result: Uint8Array, by: string): void {
    const known = this.#commits[record.index];
    if (known) {
      const isSame = Buffer.compare(known.bytes, result) === 0;
      assert(isSame, `${by} has come to something else with ${show(record)} than others`);
      return;
    }
    const { client } = record;
    const operation = decodeOperation(record.operation);
    this.#commits[record.index] = {
      client,
      operation,
      result: this.decodeResult(result),
      bytes: result.slice(),
    };
    if (client === "") this.#world.sim.count(`operation:${operationNames[operation[0]]}`);
    const call = this.#writes.get(`${client}/${record.sequence}`);
    if (call?.returned === Infinity) call.index = record.index;
  }

  applied({ kind, client, index }: LogRecord): void {
    if (kind !== recordKinds.clientRemoved || this.#commits[index]) return;
    this.#commits[index] = { client, operation: null, result: [""], bytes: new Uint8Array(0) };
  }

  lose(kept: number): void {
    const at = ++this.#clock;
    for (const call of this.#calls) if (!call.query && call.returned === Infinity) call.index = 0;
    this.#eras.push({ commits: this.#commits.slice(), ...this.#era, to: at });
    this.#era = { from: at, kept };
    this.#commits.length = Math.min(this.#commits.length, kept + 1);
  }

  /** `sequence` of what changes something. */
  begin(client: string, query: FileQuery | null, sequence: number, what: string): FilesCall {
    const called = ++this.#clock;
    const call: FilesCall = {
      client,
      query,
      what,
      called,
      returned: Infinity,
      result: null,
      index: 0,
      at: "",
    };
    this.#calls.add(call);
    if (!query) this.#writes.set(`${client}/${sequence}`, call);
    return call;
  }

  end(call: FilesCall, at: string, result: FileResult, index: number): void {
    call.returned = ++this.#clock;
    call.at = at;
    call.result = result;
    call.index = call.query ? this.#world.ledger.committed : index;
    if (call.query) return;
    const commit = this.#commits[index];
    // Of a log that was lost since.
    if (call.called < this.#era.from) return;
    assert(commit, `${call.client} is told of record ${index}, which nobody has carried out`);
    const isSame = JSON.stringify(commit.result) === JSON.stringify(result);
    assert(isSame, `${call.client} is told of ${call.what} what it has not come to`);
  }

  /** It was not carried out, and will not be; or it is a read of which nothing is known. */
  refuse(call: FilesCall): void {
    this.#calls.delete(call);
  }

  unsettled(states: readonly State[]): string | null {
    const isWritten = (states as FilesState[]).every((state) => state.isWritten);
    if (!isWritten) return "blocks are being written";
    return states.some(({ index }) => index !== states[0]!.index) ? "records are being applied" : null;
  }

  violation(): string | null {
    const era: Era = { commits: this.#commits, ...this.#era, to: Infinity };
    for (const each of [...this.#eras, era]) {
      const wrong = filesViolation([...this.#calls], each);
      if (wrong !== null) return wrong;
    }
    return this.#blocksIssue();
  }

  /** Segments are the same on each replica, and what is needed of them is as it was written. */
  #blocksIssue(): string | null {
    const nodes = this.#world.nodes.filter(({ isWanted }) => isWanted);
    const first = nodes[0]!;
    for (const node of nodes) {
      const state = node.process!.state as FilesState;
      for (const [segment, length] of state.segments) {
        const name = segmentName(segment);
        const bytes = blocksOf(node).file(name)?.read(0, length);
        if (bytes?.length !== length) return `${node.host.id} has not all of ${name}`;
        const others = blocksOf(first).file(name)!.read(0, length);
        // What was given up by a person may be left between blocks.
        if (this.#eras.length === 0 && Buffer.compare(bytes, others) !== 0)
          return `${name} of ${node.host.id} is not that of ${first.host.id} at ${bytes.findIndex((byte, i) => byte !== others[i])}`;
      }
      const { ranges } = state.module.scrub!(null, 1_000_000);
      for (const { segment, position, length, isGood } of ranges) {
        const bytes = blocksOf(node).file(segmentName(segment))!.read(position, length);
        if (!isGood(bytes))
          return `${node.host.id} has ${length} bytes at ${position} of segment ${segment} that nobody has written`;
      }
      this.#world.sim.count("segment:ranges checked", ranges.length);
    }
    return null;
  }
}

function blocksOf(node: SimNode): Disk {
  return (node.store as FilesStore).blocks;
}
