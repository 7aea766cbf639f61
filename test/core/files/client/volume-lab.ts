/** A volume with its clients: one real replica on a real disk, links over a socket, as between state process and container. */
import { afterAll, beforeAll, expect } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LocalFiles } from "../../../../core/files/client/local-files.ts";
import { localModule } from "../../../../core/files/client/local-module.ts";
import { VolumeClient } from "../../../../core/files/client/volume-client.ts";
import type { NearVolume } from "../../../../core/files/client/near-volume.ts";
import { files } from "../../../../core/files/module/files.ts";
import type { Configuration } from "../../../../core/replica/configuration.ts";
import { LocalReader } from "../../../../core/state/client/local-reader.ts";
import { StateClient } from "../../../../core/state/client/state-client.ts";
import { ClientServer } from "../../../../core/state/client-server.ts";
import type { Link } from "../../../../core/state/link/link.ts";
import { type LinkIdentity, listenState, type StateListener } from "../../../../core/state/link/listen.ts";
import { ReplicaHost } from "../../../../core/state/replica-host.ts";

const secret = new Uint8Array(32);

/** One for the tests of this file, which complains of nothing. */
export function labForFile(opened: (lab: VolumeLab) => void): void {
  let lab: VolumeLab;
  beforeAll(async () => {
    lab = await VolumeLab.open();
    opened(lab);
  });
  afterAll(async () => {
    expect(lab.complaints).toEqual([]);
    await lab.close();
  });
}

export interface LabBeside {
  lab: VolumeLab;
  /** Far from the replica, as it were. */
  far: VolumeClient;
  reader: LocalReader;
  /** Beside it. */
  local: LocalFiles;
}

/** One for the tests of this file, with a reader beside its replica. */
export function labBesideForFile(opened: (beside: LabBeside) => void): void {
  let beside: LabBeside;
  beforeAll(async () => {
    const lab = await VolumeLab.open();
    const reader = new LocalReader(lab.runDir, [localModule]);
    beside = { lab, far: lab.volume("far"), reader, local: new LocalFiles(reader) };
    opened(beside);
  });
  afterAll(async () => {
    beside.reader.close();
    await beside.lab.close();
  });
}

export class VolumeLab {
  readonly dir = mkdtempSync(join(tmpdir(), "dvs-"));
  readonly runDir = join(this.dir, "run");
  readonly complaints: string[] = [];
  host!: ReplicaHost;
  readonly #store = { version: 0, configuration: null as Configuration | null };
  #listener!: StateListener;
  #server!: ClientServer;
  readonly #links = new Set<Link>();
  readonly #clients: StateClient[] = [];
  #lives = 0;

  static async open(): Promise<VolumeLab> {
    const lab = new VolumeLab();
    mkdirSync(lab.runDir);
    await lab.start();
    return lab;
  }

  get socket(): string {
    return join(this.runDir, "links.sock");
  }

  async start(): Promise<void> {
    const host: ReplicaHost = await ReplicaHost.open({
      dir: join(this.dir, "data"),
      runDir: this.runDir,
      incarnation: `life-${++this.#lives}`,
      policy: { replicas: 1, minInSync: 1, durability: "fsync" },
      modules: [files],
      send: () => undefined,
      sendSnapshot: () => undefined,
      propose: (change) =>
        void setImmediate(() => {
          const fits = change.version === this.#store.version;
          const { configuration } = change;
          if (fits) Object.assign(this.#store, { version: this.#store.version + 1, configuration });
          host.machine.changed(host.now(), configuration.changeId, fits ? "done" : "refused");
          this.#tell(host);
        }),
      askConfiguration: () => void setImmediate(() => this.#tell(host)),
      roleChanged: () => undefined,
      applied: () => this.#server.applied(),
      failed: (reason) => void this.complaints.push(reason),
      log: (level, message) => void (level !== "info" && this.complaints.push(message)),
    });
    this.host = host;
    this.#server = new ClientServer(host);
    this.#listener = await listenState({
      identity: this.#identity(host.disk, `life-${this.#lives}`),
      socket: this.socket,
      host: "127.0.0.1",
      port: 0,
      judge: () => null,
      user: {
        onOpen: (link) => {
          this.#links.add(link);
          this.#server.onOpen(link);
        },
        onMessage: (fields, link) => this.#server.onMessage(fields, link),
        onClose: (why, link) => {
          this.#links.delete(link);
          this.#server.onClose(why, link);
        },
      },
    });
    host.start();
    this.#tell(host);
    while (host.machine.role !== "primary" || !host.machine.isEstablished) await Bun.sleep(2);
  }

  /** Links break; clients dial again. */
  breakLinks(): void {
    for (const link of this.#links) link.destroy("the test breaks it");
  }

  stateClient(name: string): StateClient {
    const client = new StateClient({ identity: this.#identity("", name) });
    const { disk } = this.host;
    client.setReplicas([{ disk, node: "n1", unix: this.socket, host: "127.0.0.1", port: 0 }]);
    this.#clients.push(client);
    return client;
  }

  volume(name: string, near?: () => NearVolume | null): VolumeClient {
    return VolumeClient.open({ state: this.stateClient(name), client: name, ...(near && { near }) });
  }

  /** As a mount. */
  attending(name: string): VolumeClient {
    return VolumeClient.open({ state: this.stateClient(name), client: name, attends: true });
  }

  async removeClient(name: string): Promise<void> {
    await new Promise((done) => this.host.removeClient(name, done));
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    this.#listener.stop();
    this.breakLinks();
    await this.host.close();
    rmSync(this.dir, { recursive: true, force: true });
  }

  #tell(host: ReplicaHost): void {
    const { version, configuration } = this.#store;
    host.machine.configurationRead(host.now(), { generation: 1, version, configuration });
    host.machine.replicasWanted(host.now(), [host.disk]);
  }

  #identity(disk: string, incarnation: string): LinkIdentity {
    return { instance: "u1", node: "n1", incarnation, disk, secret, tls: null };
  }
}
