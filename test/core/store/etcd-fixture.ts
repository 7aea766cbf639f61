/**
 * etcd for tests: clusters of one or three members on free loopback ports, in a temporary directory. Skip what needs
 * it when `etcdMissing` says why:
 *
 *   describe.skipIf(etcdMissing !== null)(`store on etcd${skipNote}`, …)
 */
import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { plainTransport, tlsTransport, type EtcdTransport } from "../../../core/store/etcd/transport.ts";
import type { TlsIdentity } from "../../../core/transport/dial.ts";

const binary = findBinary();
/** Why etcd cannot be run here, or null. */
export const etcdMissing: string | null = binary ? null : "no etcd binary on PATH (apt install etcd-server)";
export const skipNote = etcdMissing ? ` (skipped: ${etcdMissing})` : "";

export interface EtcdMember {
  /** `127.0.0.1:port` */
  address: string;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: it hangs, and its connections stay open. */
  stop(): void;
  /** SIGCONT. */
  resume(): void;
  /** Runs again on its data after kill(). */
  start(): void;
}

export interface EtcdCluster {
  members: EtcdMember[];
  /** URL for openStore, each call with a prefix of its own. */
  url(): string;
  /** Resolves when a majority answers. */
  ready(): Promise<void>;
  leader(): Promise<EtcdMember>;
  /** Ends all members and removes their data. */
  close(): Promise<void>;
}

export interface EtcdOptions {
  /** More flags for every member. */
  flags?: string[];
  /** Clients need a certificate; files for the server, and what this fixture itself shows. */
  tls?: { ca: string; cert: string; key: string; client: TlsIdentity; authority: string };
}

export async function startEtcd(count: 1 | 3, options: EtcdOptions = {}): Promise<EtcdCluster> {
  // Somebody may take a port between its choice and its use.
  for (let attempt = 1; ; attempt += 1) {
    const cluster = await tryStart(count, options);
    try {
      await cluster.ready();
      return cluster;
    } catch (e) {
      await cluster.close();
      if (attempt === 3) throw e;
    }
  }
}

async function tryStart(count: number, { flags = [], tls }: EtcdOptions): Promise<EtcdCluster> {
  const dir = mkdtempSync(join(tmpdir(), "dvs-etcd-"));
  const ports = await freePorts(count * 2);
  const peers = ports.slice(0, count).map((port) => `http://127.0.0.1:${port}`);
  const clients = ports.slice(count).map((port) => `127.0.0.1:${port}`);
  const scheme = tls ? "https" : "http";
  const transport = tls ? tlsTransport({ ca: tls.authority, identity: () => tls.client }) : plainTransport;
  const ask = (client: string, path: string, body: object) =>
    post(transport, `${scheme}://${client}`, path, body);
  const initial = peers.map((peer, i) => `m${i}=${peer}`).join(",");
  const members = clients.map((address, i) =>
    member(address, join(dir, `m${i}.log`), [
      `--name=m${i}`,
      `--data-dir=${join(dir, `m${i}`)}`,
      `--listen-client-urls=${scheme}://${address}`,
      `--advertise-client-urls=${scheme}://${address}`,
      ...(tls
        ? [
            `--cert-file=${tls.cert}`,
            `--key-file=${tls.key}`,
            `--trusted-ca-file=${tls.ca}`,
            "--client-cert-auth",
          ]
        : []),
      `--listen-peer-urls=${peers[i]}`,
      `--initial-advertise-peer-urls=${peers[i]}`,
      `--initial-cluster=${initial}`,
      "--heartbeat-interval=50",
      "--election-timeout=500",
      "--logger=zap",
      ...flags,
    ]),
  );
  let prefixes = 0;
  return {
    members,
    url: () => `etcd://${clients.join(",")}/test-${(prefixes += 1)}`,
    async ready() {
      for (let tries = 0; tries < 300; tries += 1) {
        if (members.some((m) => m.exited())) break;
        const answers = await Promise.all(clients.map((c) => ask(c, "kv/range", { key: "AA==" })));
        if (answers.filter(Boolean).length > count / 2 && answers.every(Boolean)) return;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      throw new Error(`etcd did not start:\n${members.map((m) => m.log()).join("\n")}`);
    },
    async leader() {
      for (let tries = 0; tries < 200; tries += 1) {
        for (const [i, client] of clients.entries()) {
          const status = await ask(client, "maintenance/status", {});
          if (status?.leader && status.leader === status.header?.member_id) return members[i]!;
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      throw new Error("etcd has no leader");
    },
    async close() {
      transport.close();
      await Promise.all(members.map((m) => m.kill()));
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function member(address: string, log: string, flags: string[]) {
  let child: ChildProcess;
  let gone = Promise.withResolvers<void>();
  let running = false;
  const signal = (name: "SIGKILL" | "SIGSTOP" | "SIGCONT") => {
    if (running && child.pid !== undefined) process.kill(child.pid, name);
  };
  const end = () => signal("SIGKILL");
  const start = () => {
    const fd = openSync(log, "a");
    child = spawn(binary!, flags, { stdio: ["ignore", fd, fd] });
    closeSync(fd);
    running = true;
    gone = Promise.withResolvers();
    process.on("exit", end);
    child.on("exit", () => {
      running = false;
      process.off("exit", end);
      gone.resolve();
    });
  };
  start();
  return {
    address,
    start,
    exited: () => !running,
    log: () => readFileSync(log, "utf8").slice(-2_000),
    stop: () => signal("SIGSTOP"),
    resume: () => signal("SIGCONT"),
    async kill() {
      end();
      if (running) await gone.promise;
    },
  };
}

interface Answer {
  header?: { member_id?: string };
  leader?: string;
}

async function post(
  transport: EtcdTransport,
  endpoint: string,
  path: string,
  body: object,
): Promise<Answer | null> {
  try {
    const response = await transport.send({
      endpoint,
      path: `/v3/${path}`,
      headers: { "content-type": "application/json" },
      json: JSON.stringify(body),
      repeatable: true,
      signal: AbortSignal.timeout(1_000),
    });
    return response.ok ? ((await response.json()) as Answer) : null;
  } catch {
    return null;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function findBinary(): string | null {
  for (const dir of (process.env["PATH"] ?? "").split(delimiter)) {
    try {
      const path = join(dir, "etcd");
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next directory.
    }
  }
  return null;
}
