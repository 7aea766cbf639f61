/** Replicas of one instance in one host process, with the module of pieces, links between them and a control store. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Metadata, readMetadata, writeMetadata } from "../../../core/log/metadata.ts";
import type { LogFiles } from "../../../core/log/log-files.ts";
import { nodeFiles } from "../../../core/log/node-files.ts";
import { promised } from "../../../core/log/steps.ts";
import type { Configuration, DiskId } from "../../../core/replica/configuration.ts";
import type { ReplicaMessage } from "../../../core/replica/messages.ts";
import type { WriteOutcome } from "../../../core/replica/sink.ts";
import { blocksDir } from "../../../core/state/schema.ts";
import type { StateModule } from "../../../core/state/module.ts";
import { isBlockExchange } from "../../../core/state/block-exchange.ts";
import { ReplicaHost } from "../../../core/state/replica-host.ts";
import { decodeResult } from "../../../core/state/result.ts";
import { isTransfer, SnapshotTransfers } from "../../../core/state/snapshot-transfer.ts";
import { type PieceOperation, piecesModule } from "./test-module.ts";

export interface Member {
  name: string;
  dir: string;
  host: ReplicaHost;
  transfers: SnapshotTransfers;
}

export const pieceBytes = (length: number, seed: number): Uint8Array =>
  new Uint8Array(length).map((_, i) => (i * 13 + (i >> 8) + seed) & 255);

export class Replicas {
  readonly root = mkdtempSync(join(tmpdir(), "dvs-"));
  readonly members = new Map<DiskId, Member>();
  /** What was said above "info", and why a replica has ended. */
  readonly complaints: string[] = [];
  store: { version: number; configuration: Configuration | null } = { version: 0, configuration: null };
  /** Asked for each message between two of them; false: it is lost. */
  passes: (from: Member, to: Member, message: readonly unknown[]) => boolean = () => true;
  readonly #module: StateModule;
  readonly #replicas: number;
  #incarnations = 0;

  /** Of pieces with segments of so many bytes, or of another module. */
  constructor(module: number | StateModule, replicas = 1) {
    this.#module = typeof module === "number" ? piecesModule(module) : module;
    this.#replicas = replicas;
  }

  async start(
    name: string,
    dir = join(this.root, name),
    files: (real: LogFiles) => LogFiles = (real) => real,
  ): Promise<Member> {
    mkdirSync(blocksDir(dir), { recursive: true });
    const say = (level: string, message: string, fields?: object): void =>
      void (level !== "info" && this.complaints.push(`${message} ${JSON.stringify(fields ?? {})}`));
    const send = (disk: DiskId, message: ReplicaMessage | readonly unknown[]): void => {
      const to = this.members.get(disk);
      const from = this.members.get(host.disk);
      if (!to || from?.host !== host || !this.passes(from, to, message)) return;
      // What is sent later may change the bytes; a link encodes at once.
      const copy = structuredClone(message);
      setImmediate(() => {
        if (this.members.get(disk) !== to) return;
        if (isBlockExchange(copy)) to.host.blocks.exchange.received(host.disk, copy);
        else if (isTransfer(copy)) to.transfers.received(host.disk, copy);
        else to.host.receive(host.disk, copy as ReplicaMessage);
      });
    };
    const host: ReplicaHost = await ReplicaHost.open({
      runDir: null,
      dir,
      incarnation: `incarnation-${name}-${++this.#incarnations}`,
      policy: { replicas: this.#replicas, minInSync: 1, durability: "fsync" },
      modules: [this.#module],
      blockFiles: files(nodeFiles(blocksDir(dir))),
      send,
      sendBlocks: send,
      linked: () => [...this.members.keys()].filter((disk) => disk !== host.disk),
      sendSnapshot: (disk, fromIndex) => transfers.sendTo(disk, fromIndex),
      propose: (change) =>
        void setImmediate(() => {
          const { store } = this;
          const fits = change.version === store.version;
          if (fits) this.store = { version: store.version + 1, configuration: change.configuration };
          host.machine.changed(host.now(), change.configuration.changeId, fits ? "done" : "refused");
          this.#tellAll();
        }),
      askConfiguration: () => void setImmediate(() => this.#tellAll()),
      roleChanged: () => undefined,
      applied: () => undefined,
      failed: (reason) => void this.complaints.push(reason),
      log: say,
    });
    const transfers = new SnapshotTransfers({
      dataDir: dir,
      keeper: host.keeper,
      send,
      mayTake: (from, info) => host.mayTake(from, info),
      install: (info) => host.installSnapshot(info),
      blocks: host.transferredBlocks,
      sent: (disk) => host.machine.snapshotSent(host.now(), disk),
      say,
    });
    const member = { name, dir, host, transfers };
    this.members.set(host.disk, member);
    host.start();
    this.#tellAll();
    return member;
  }

  /** Both ends hear that the link between them is another one. */
  breakLink(a: Member, b: Member): void {
    a.host.blocks.exchange.linkChanged(b.host.disk);
    b.host.blocks.exchange.linkChanged(a.host.disk);
    a.transfers.linkChanged(b.host.disk);
    b.transfers.linkChanged(a.host.disk);
  }

  /** As kill -9 leaves it: what this process has not written yet is missing. */
  killed({ dir }: Member): string {
    const copy = mkdtempSync(join(this.root, "killed-"));
    cpSync(dir, copy, { recursive: true });
    return copy;
  }

  /** As a power cut leaves it, at its worst: nothing is there but what was synced. Files of blocks as `lose` makes them. */
  async powerCut(member: Member, lose: (path: string) => void): Promise<string> {
    const copy = this.killed(member);
    const files = nodeFiles(join(copy, "log"));
    const metadata: Metadata = (await promised(readMetadata(files)))!;
    await promised(writeMetadata(files, { ...metadata, bootId: "another boot" }));
    for (const suffix of ["", "-wal", "-shm"]) rmSync(join(copy, `state.db${suffix}`), { force: true });
    for (const name of readdirSync(blocksDir(copy))) lose(join(blocksDir(copy), name));
    return copy;
  }

  /** It has gone, and the others go on. */
  async stop(member: Member): Promise<void> {
    this.members.delete(member.host.disk);
    await member.host.close();
  }

  async end(): Promise<void> {
    for (const { host } of this.members.values()) await host.close().catch(() => undefined);
    rmSync(this.root, { recursive: true });
  }

  #tellAll(): void {
    for (const { host } of this.members.values()) {
      host.machine.configurationRead(host.now(), { generation: 1, ...this.store });
      host.machine.replicasWanted(host.now(), [...this.members.keys()]);
    }
  }
}

export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Resolves with the result, which for `append` is the piece's id. Asks until it is taken. */
export async function operate({ host }: Member, operation: PieceOperation, client = ""): Promise<number> {
  const encoded = host.module("pieces").encode(operation);
  for (;;) {
    const request = { client, sequence: 0, ackedBelow: 0, module: "pieces", operation: encoded };
    const outcome = await new Promise<WriteOutcome>((done) => host.write(request, done));
    if (outcome.type === "ok") {
      const result = decodeResult(outcome.result);
      if (!result.ok) throw new Error(result.message);
      return result.value as number;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const piecesOf = ({ host }: Member): number[] =>
  (host.module("pieces").read(null) as number[][]).map(([id]) => id!);
export const readPiece = ({ host }: Member, id: number): Promise<Uint8Array> =>
  host.module("pieces").read(id) as Promise<Uint8Array>;
/** Rejects where one is wrong or missing. */
export const readAll = (member: Member): Promise<Uint8Array[]> =>
  Promise.all(piecesOf(member).map((id) => readPiece(member, id)));
