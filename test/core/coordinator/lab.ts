/** A coordinator in this process with real ports and certificates, and agents that are only what a test makes them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApi, type Api } from "../../../core/api/client.ts";
import type { InstanceRequest } from "../../../core/api/schema.ts";
import {
  runCoordinator,
  type CoordinatorReady,
  type CoordinatorRun,
} from "../../../core/coordinator/main.ts";
import { DvsError, type ErrorCode } from "../../../core/errors.ts";
import type { Store } from "../../../core/store/store.ts";
import { needsOf, type VosRegistry } from "../../../core/vos.ts";
import { registry } from "../../../plugins/registry.ts";

/** The agents here are only what a test makes them: they run no replicas, so no VOS keeps state. */
const stateless: VosRegistry = {
  names: () => registry.names(),
  async load(name) {
    const plugin = await registry.load(name);
    return plugin && { ...plugin, needs: (options) => ({ ...needsOf(plugin, options), state: false }) };
  },
};

export interface LabOptions {
  /** Default: SQLite in the data directory. */
  store?: string;
  /** Default: 127.0.0.1, any port. */
  listen?: string;
  openStore?: () => Promise<Store>;
  timing?: CoordinatorRun["timing"];
  replaceAfterMs?: number;
  registry?: VosRegistry;
  /** With an etcd of its own, in the data directory. */
  ha?: boolean;
}

export interface Running {
  ready: CoordinatorReady;
  /** Exit code. */
  ended: Promise<number>;
  api: Api;
  stop: () => void;
}

export class Lab {
  readonly dir = mkdtempSync(join(tmpdir(), "dvs-coordinator-"));
  readonly log: string[] = [];
  readonly #options: LabOptions;
  readonly #closing: (() => void | Promise<void>)[] = [];
  #running: Running | null = null;

  constructor(options: LabOptions = {}) {
    this.#options = options;
  }

  static async start(options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(options);
    await lab.start();
    return lab;
  }

  get running(): Running {
    if (!this.#running) throw new Error("the coordinator does not run");
    return this.#running;
  }
  get api(): Api {
    return this.running.api;
  }

  /** Starts to run; what comes first of ready and ended settles `ready`. */
  begin(): { ready: Promise<Running>; ended: Promise<number>; stop: () => void } {
    const abort = new AbortController();
    const { timing, openStore, replaceAfterMs, store, listen = "127.0.0.1:0" } = this.#options;
    let ended: Promise<number> = Promise.resolve(0);
    const ready = new Promise<Running>((resolve, reject) => {
      ended = runCoordinator({
        options: {
          dataDir: join(this.dir, "data"),
          listen,
          ...(this.#options.ha ? { ha: true } : {}),
          ...(store === undefined ? {} : { store }),
          ...(replaceAfterMs === undefined ? {} : { replaceAfterMs }),
        },
        registry: this.#options.registry ?? stateless,
        version: "test",
        signal: abort.signal,
        log: (level, message) => this.log.push(`${level} ${message}`),
        onReady: (r) => {
          const api = createApi({ addresses: [r.apiAddress], token: r.adminToken, ca: r.ca });
          this.#closing.push(() => api.close());
          resolve({ ready: r, ended, api, stop: () => abort.abort() });
        },
        ...(timing ? { timing } : {}),
        ...(openStore ? { openStore } : {}),
      });
      ended.then(() => reject(new Error("it ended before it was ready")), reject);
    });
    ready.catch(() => undefined);
    ended.catch(() => undefined);
    return { ready, ended, stop: () => abort.abort() };
  }

  async start(): Promise<Running> {
    this.#running = await this.begin().ready;
    return this.#running;
  }

  /** As SIGTERM does. Resolves with the exit code. */
  async stop(): Promise<number> {
    const { ended, stop } = this.running;
    stop();
    this.#running = null;
    return ended;
  }

  /** With a token of the role. */
  async as(role: "admin" | "operator" | "viewer"): Promise<Api> {
    const { token } = await this.api.tokens.create({ kind: "api", role });
    const { apiAddress, ca } = this.running.ready;
    const api = createApi({ addresses: [apiAddress], token, ca });
    this.#closing.push(() => api.close());
    return api;
  }

  onClose(close: () => void | Promise<void>): void {
    this.#closing.push(close);
  }

  async close(): Promise<void> {
    for (const close of this.#closing.splice(0).reverse()) await close();
    if (this.#running) await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export function hello(name: string, nodes = 1, ports: number[] = []): InstanceRequest {
  return { name, spec: { os: "hello", nodes, publish: ports.map((port) => ({ port })) } };
}

/** Polls until it is true; the test's own timeout ends it otherwise. */
export async function until(done: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 10));
}

export async function failure(action: Promise<unknown>): Promise<DvsError> {
  try {
    await action;
  } catch (e) {
    if (e instanceof DvsError) return e;
    throw e;
  }
  throw new Error("it did not fail");
}

export async function codeOf(action: Promise<unknown>): Promise<ErrorCode> {
  return (await failure(action)).code;
}
