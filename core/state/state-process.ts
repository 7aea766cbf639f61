/**
 * The life of a state process: its replica, the links of others to it, and what agents tell it.
 *
 *   starting ──► ready ──► stopping ──► exit 0
 *      └──────► failed ──► exit with the error's code, and the agent starts another incarnation
 */
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { DvsError } from "../errors.ts";
import { controlLineCharsMax, failedLingerMs } from "../limits.ts";
import type { WriteOutcome } from "../replica/sink.ts";
import type { ReplicaTimings } from "../replica/timings.ts";
import { ControlServer } from "../transport/control-server.ts";
import { join } from "node:path";
import { type BackupSource, giveBackup } from "./backup/give-backup.ts";
import { BackupTaker } from "./backup/take-backup.ts";
import { serveTransfers } from "./backup/transfer.ts";
import { BlobReader } from "../image/blob-reader.ts";
import { removeRestoreDir } from "./backup/unpacked.ts";
import { type StateBoot, stateSockets, type StateTls } from "./boot.ts";
import { ClientServer } from "./client-server.ts";
import { type FromState, ToState } from "./control.ts";
import { diskUsage } from "./disk-usage.ts";
import type { Hello } from "./link/handshake.ts";
import type { Link, LinkUser } from "./link/link.ts";
import { linkTls } from "./link/link-identity.ts";
import { type LinkIdentity, listenState, type StateListener } from "./link/listen.ts";
import { modules } from "./modules.ts";
import { ModuleWork } from "./module-work.ts";
import { OnceClients } from "./once-clients.ts";
import { RemovedClients } from "./removed-clients.ts";
import { ReplicaHost } from "./replica-host.ts";
import { askHelper } from "./run-helper.ts";
import { ReplicaLinks } from "./replica-links.ts";
import { isOlder, type ReplicaSet } from "./replica-set.ts";
import type { ReplicaStatus } from "./replica-status.ts";
import { statusOf } from "./replica-report.ts";
import { Rooms } from "./rooms.ts";
import { SnapshotTransfers } from "./snapshot-transfer.ts";

export type StateLog = (
  level: "info" | "warn" | "error",
  message: string,
  fields?: Record<string, unknown>,
) => void;

type State = Omit<Extract<FromState, { type: "state" }>, "type" | "port">;

const noImages = "This replica's node has no images: update it.";
const statusMs = 1_000;
/** A stopping replica answers what it was asked before, if that takes no longer. */
const retireMs = 1_000;
const diskUsageSeconds = 10;
const roomSeconds = 5;

export class StateProcess {
  readonly #boot: StateBoot;
  readonly #log: StateLog;
  readonly #control: ControlServer<typeof ToState, FromState>;
  readonly #timings: ReplicaTimings | undefined;
  #tls: StateTls | null;
  #state: State = { state: "starting", reason: "", permanent: false };
  #host: ReplicaHost | null = null;
  #links: ReplicaLinks | null = null;
  #transfers: SnapshotTransfers | null = null;
  #clients: ClientServer | null = null;
  #removed: RemovedClients | null = null;
  #once: OnceClients | null = null;
  #work: ModuleWork | null = null;
  #backups: { close(): void } | null = null;
  readonly #rooms = new Rooms(() => this.#host?.keeper.bytesFree ?? Infinity);
  #listener: StateListener | null = null;
  #replicas: ReplicaSet | null = null;
  #statusTold = "";
  #diskBytes = 0;
  #seconds = 0;
  readonly #ended = new AbortController();
  readonly #stopAsked = Promise.withResolvers<number>();
  readonly #failed = Promise.withResolvers<never>();

  constructor(boot: StateBoot, log: StateLog, timings?: ReplicaTimings) {
    this.#boot = boot;
    this.#log = log;
    this.#tls = boot.tls;
    this.#timings = timings;
    this.#failed.promise.catch(() => undefined);
    this.#control = new ControlServer<typeof ToState, FromState>({
      path: join(boot.runDir, stateSockets.control),
      schema: ToState,
      lineCharsMax: controlLineCharsMax,
      greeting: () => this.#greeting(),
      onMessage: (message) => this.#onMessage(message),
      onRefused: (reason) => log("warn", reason),
    });
  }

  stop(graceMs: number): void {
    this.#stopAsked.resolve(graceMs);
  }

  /** Resolves with the exit code. */
  async run(): Promise<number> {
    try {
      await this.#open();
      await this.#control.listen();
      this.#become({ state: "ready", reason: "", permanent: false });
      this.#host!.start();
      const status = setInterval(() => this.#everySecond(), statusMs);
      try {
        await this.#close(await Promise.race([this.#stopAsked.promise, this.#failed.promise]));
        return 0;
      } finally {
        clearInterval(status);
      }
    } catch (e) {
      return await this.#fail(DvsError.from(e));
    } finally {
      this.#ended.abort(new DvsError("UNAVAILABLE", "The state process ends."));
      this.#backups?.close();
      this.#listener?.stop();
      this.#links?.close();
      await this.#control.close().catch(() => undefined);
    }
  }

  async #open(): Promise<void> {
    const { dataDir, blobDir, incarnation, policy, runDir, listen, node } = this.#boot;
    const blobs = blobDir === undefined ? null : new BlobReader(blobDir);
    const host = await ReplicaHost.open({
      dir: dataDir,
      runDir,
      incarnation,
      policy,
      ...(this.#timings && { timings: this.#timings }),
      modules,
      ...(blobs && { readBlob: (digest, position, length) => blobs.read(digest, position, length) }),
      send: (disk, message) => this.#links?.send(disk, message),
      sendBlocks: (disk, fields) => this.#links?.send(disk, fields),
      linked: () => this.#links?.linked ?? [],
      bytesFree: () => this.#rooms.bytesFree,
      sendSnapshot: (disk, fromIndex) => this.#transfers?.sendTo(disk, fromIndex),
      propose: (change) => void this.#control.broadcast({ type: "propose", change }),
      askConfiguration: () => void this.#control.broadcast({ type: "ask" }),
      roleChanged: (role) => {
        this.#removed?.reset();
        this.#once?.reset();
        this.#log("info", `role: ${role}`, { epoch: this.#host?.machine.status.epoch ?? 0 });
        setImmediate(() => this.#tellStatus());
      },
      applied: () => this.#applied(),
      failed: (reason) =>
        this.#failed.reject(new DvsError("UNAVAILABLE", `The replica has ended: ${reason}.`)),
      log: this.#log,
    });
    this.#host = host;
    const identity = this.#identity(host.disk);
    this.#clients = new ClientServer(host);
    this.#removed = new RemovedClients(host);
    this.#once = new OnceClients({
      progress: () => host.machine.sessions.progress(),
      removeClient: (client, done) => host.removeClient(client, done),
    });
    this.#work = new ModuleWork({ host, modules: modules.map(({ name }) => name), say: this.#log });
    const links = new ReplicaLinks({
      identity,
      onMessage: (from, message) => host.receive(from, message),
      onTransfer: (from, fields) => this.#transfers?.received(from, fields),
      onBlocks: (from, fields) => host.blocks.exchange.received(from, fields),
      onRoom: (from, fields) => this.#rooms.received(from, fields),
      onUp: (disk) => {
        host.blocks.exchange.linkChanged(disk);
        this.#transfers?.linkChanged(disk);
        host.machine.linkUp(host.now(), disk);
      },
      onDown: (disk, why) => {
        host.blocks.exchange.linkChanged(disk);
        this.#transfers?.linkChanged(disk);
        this.#log("info", "a replica's link broke", { disk, why });
      },
    });
    this.#links = links;
    this.#transfers = new SnapshotTransfers({
      dataDir,
      keeper: host.keeper,
      send: (disk, fields) => links.send(disk, fields),
      mayTake: (from, info) => host.mayTake(from, info),
      install: (info) => host.installSnapshot(info),
      blocks: host.transferredBlocks,
      sent: (disk) => host.machine.snapshotSent(host.now(), disk),
      say: this.#log,
    });
    await this.#serveTransfers(host, blobs);
    this.#listener = await listenState({
      identity,
      socket: join(runDir, stateSockets.links),
      host: listen.host || node.address,
      port: listen.port,
      judge: (hello) => this.#judge(hello),
      user: this.#acceptor(links, this.#clients),
    });
    if (this.#replicas) this.#apply(this.#replicas);
  }

  async #serveTransfers(host: ReplicaHost, blobs: BlobReader | null): Promise<void> {
    const { runDir, dataDir } = this.#boot;
    const path = join(runDir, stateSockets.transfer);
    await rm(path, { force: true });
    await removeRestoreDir(dataDir);
    const isPrimary = () => host.machine.status.serving && host.machine.role === "primary";
    const taker = new BackupTaker(
      {
        isPrimary,
        level: (module) => host.machine.levels.inForce(module),
        write: (operation) => writeAlone(host, "restore", operation),
        unpack: () => askHelper("unpack", dataDir, this.#ended.signal),
      },
      this.#boot,
    );
    const { keeper } = host;
    const source: BackupSource = {
      ...{ isPrimary, snapshotNow: () => host.snapshotNow(), keeper, modules },
      neededBlobs: (record) => askHelper("blobs", dataDir, this.#ended.signal, record),
      repair: (segment, position, length, isGood) => host.blocks.repair(segment, position, length, isGood),
      readBlob: (digest, position, length) =>
        blobs ? blobs.read(digest, position, length) : Promise.reject(new DvsError("UNAVAILABLE", noImages)),
    };
    this.#backups = await serveTransfers(path, {
      backup: () => giveBackup(source, this.#boot),
      restore: async (header, chunks) => {
        const { instance, index, madeAt } = header;
        const answer = await taker.take(header, chunks);
        this.#log("info", "the state was restored from a backup", { ...answer, instance, of: index, madeAt });
        return answer;
      },
    });
  }

  #applied(): void {
    this.#clients?.applied();
    if (this.#host?.machine.role === "primary") this.#removed?.review();
  }

  #acceptor(links: ReplicaLinks, clients: ClientServer): LinkUser {
    const isReplica = (link: Link) => link.peer?.role === "replica";
    return {
      onOpen: (link) => (isReplica(link) ? links.accepted(link) : clients.onOpen(link)),
      onMessage: (fields, link) =>
        isReplica(link) ? links.received(link, fields) : clients.onMessage(fields, link),
      onClose: (why, link) => (isReplica(link) ? links.closed(link, why) : clients.onClose(why, link)),
    };
  }

  #judge({ role, disk, node }: Hello): string | null {
    return role === "replica" ? (this.#links?.judge(disk, node) ?? null) : null;
  }

  async #close(graceMs: number): Promise<void> {
    this.#become({ state: "stopping", reason: "stopping", permanent: false });
    this.#log("info", "stopping");
    await this.#host!.retire(Math.min(graceMs / 2, retireMs));
    this.#listener?.stop();
    await this.#host!.close();
    this.#log("info", "stopped");
  }

  /** Tells why, waits a little for an agent that asks, and gives the exit code. */
  async #fail(error: DvsError): Promise<number> {
    const permanent = error.code === "INVALID" || error.code === "FAILED";
    this.#become({ state: "failed", reason: error.message, permanent });
    this.#log("error", "failed", { error: error.message, code: error.code, permanent });
    await this.#control.listen().catch(() => undefined);
    await Promise.race([sleep(permanent ? failedLingerMs : 0), this.#stopAsked.promise]);
    return error.exit;
  }

  #onMessage(message: ToState): void {
    const host = this.#host;
    switch (message.type) {
      case "stop":
        this.stop(message.graceMs);
        return;
      case "tls":
        this.#renew(message);
        return;
      case "replicas":
        if (this.#replicas && isOlder(message.replicas, this.#replicas)) return;
        this.#replicas = message.replicas;
        if (this.#links) this.#apply(message.replicas);
        return;
      case "proposed":
        host?.machine.changed(host.now(), message.changeId, message.outcome);
    }
  }

  #apply({ configuration, policy, wanted, leaving, exits }: ReplicaSet): void {
    const { machine } = this.#host!;
    const nowMs = this.#host!.now();
    this.#links!.setReplicas([...wanted, ...leaving]);
    this.#rooms.keepOnly(new Set(wanted.map(({ disk }) => disk ?? "")));
    machine.policyChanged(nowMs, policy);
    machine.replicasWanted(
      nowMs,
      wanted.map(({ disk }) => disk),
    );
    for (const certificate of exits) machine.exitCertified(nowMs, certificate);
    machine.configurationRead(nowMs, configuration);
    this.#tellStatus();
  }

  #renew(tls: StateTls): void {
    this.#tls = { certificate: tls.certificate, key: tls.key, workloadCa: tls.workloadCa };
    try {
      this.#listener?.renewed();
    } catch (e) {
      this.#log("error", "cannot use the new certificate, the old one stays", { error: String(e) });
    }
  }

  #identity(disk: string): LinkIdentity {
    const { uid, node, incarnation, secret } = this.#boot;
    return {
      instance: uid,
      node: node.id,
      incarnation,
      disk,
      secret: new Uint8Array(Buffer.from(secret, "hex")),
      tls: linkTls(() => this.#tls),
    };
  }

  #everySecond(): void {
    if (this.#seconds % roomSeconds === 0) this.#links!.tellRoom(this.#rooms.message);
    if (this.#seconds++ % diskUsageSeconds === 0) {
      void diskUsage(this.#boot.dataDir).then((bytes) => (this.#diskBytes = bytes));
    }
    this.#tellStatus();
    const host = this.#host!;
    if (host.machine.role === "primary") {
      this.#removed!.review();
      this.#once!.review(host.now());
      this.#writeWhatIsDue(host);
      this.#work!.review();
    }
  }

  /** What modules do by themselves, as time goes on. */
  #writeWhatIsDue(host: ReplicaHost): void {
    for (const { name } of modules) {
      const operation = host.module(name).due?.(host.wallMs());
      if (!operation) continue;
      host.write({ client: "", sequence: 0, ackedBelow: 0, module: name, operation }, () => undefined);
    }
  }

  #become(state: State): void {
    this.#state = state;
    this.#control.broadcast(this.#stateMessage());
  }

  #stateMessage(): FromState {
    return { type: "state", ...this.#state, port: this.#listener?.port ?? 0 };
  }

  #tellStatus(): void {
    const status = this.#status();
    const text = JSON.stringify(status);
    if (!status || text === this.#statusTold) return;
    this.#statusTold = text;
    this.#control.broadcast({ type: "status", ...status });
  }

  #status(): ReplicaStatus | null {
    return this.#host && statusOf(this.#host, this.#diskBytes);
  }

  #greeting(): FromState[] {
    const { uid, incarnation } = this.#boot;
    const status = this.#status();
    return [
      ...(this.#host
        ? [{ type: "hello" as const, uid, incarnation, disk: this.#host.disk, pid: process.pid }]
        : []),
      this.#stateMessage(),
      ...(status ? [{ type: "status" as const, ...status }] : []),
    ];
  }
}

/** An operation of this process's own, which nothing but its module keeps from being carried out twice. */
function writeAlone(host: ReplicaHost, module: string, operation: unknown): Promise<WriteOutcome> {
  const encoded = host.module(module).encode(operation);
  return new Promise((resolve) => {
    host.write({ client: "", sequence: 0, ackedBelow: 0, module, operation: encoded }, resolve);
  });
}
