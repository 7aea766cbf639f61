/** More coordinators for a cluster of real host processes: each on an address of its own, like a machine. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createApi, type Api } from "../../core/api/client.ts";
import { processStartTime } from "../../core/platform/uptime.ts";
import type { TestCluster } from "./cluster.ts";

export class TestCoordinator {
  readonly #cluster: TestCluster;
  readonly #k: number;
  readonly #args: string[];
  #pid = 0;

  /** `k` from 1: the cluster's own is number 0. */
  constructor(cluster: TestCluster, k: number, args: string[]) {
    this.#cluster = cluster;
    this.#k = k;
    this.#args = args;
  }

  get host(): string {
    return `${this.#cluster.subnet}.${200 + this.#k}`;
  }
  get dataDir(): string {
    return join(this.#cluster.dir, `coordinator-${this.#k}`);
  }
  get log(): string {
    return this.#cluster.log(`coordinator-${this.#k}`);
  }
  get address(): string {
    const { apiPort } = JSON.parse(readFileSync(join(this.dataDir, "coordinator.json"), "utf8")) as {
      apiPort: number;
    };
    return `${this.host}:${apiPort}`;
  }
  /** Of this coordinator's etcd, with --ha. */
  get etcdPid(): number {
    return (JSON.parse(readFileSync(join(this.dataDir, "etcd", "process.json"), "utf8")) as { pid: number })
      .pid;
  }

  /** Resolves when it answers. */
  async start(env: Record<string, string> = {}): Promise<this> {
    const args = ["--data-dir", this.dataDir, "--listen", `${this.host}:0`, "--no-join-token", ...this.#args];
    const context = join(this.#cluster.dir, `context-${this.#k}.json`);
    this.#pid = this.#cluster.spawn(
      `coordinator-${this.#k}`,
      ["coordinator", "start", "--context", context, ...args],
      env,
    );
    await this.#cluster.until(
      `coordinator ${this.#k} answers`,
      async () => {
        if (!existsSync(join(this.dataDir, "admin-token"))) return false;
        const api = this.api();
        await api.status().finally(() => api.close());
        return true;
      },
      30_000,
    );
    return this;
  }

  signal(name: NodeJS.Signals): void {
    if (this.#pid === 0) throw new Error(`coordinator ${this.#k} has not been started`);
    process.kill(this.#pid, name);
  }

  /** The whole machine: the coordinator and its etcd, as one blow. */
  async killMachine(): Promise<void> {
    const etcd = this.etcdPid;
    process.kill(etcd, "SIGKILL");
    this.signal("SIGKILL");
    await this.#cluster.until(
      "both are gone",
      () => processStartTime(etcd) === null && processStartTime(this.#pid) === null,
    );
  }

  ended(): Promise<number> {
    return this.#cluster.ended(this.#pid);
  }

  /** Of this one alone. */
  api(): Api {
    return createApi({ addresses: [this.address], token: this.#cluster.adminToken, timeoutMs: 10_000 });
  }
}
