/**
 * Three members of etcd on this machine, as its documentation has them for a cluster of their own, over plain HTTP, asked
 * through the JSON gateway: from here the fastest way there is (no gRPC library of the runtime's own). Clients are
 * spread over the members. Null where etcd is not installed.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../../test/tools/free-port.ts";
import { sleep } from "../lib.ts";

export interface EtcdPeer {
  /** Resolves when the cluster has it. */
  put(client: number, key: string, value: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export async function openEtcdPeer(members = 3): Promise<EtcdPeer | null> {
  if (spawnSync("etcd", ["--version"]).status !== 0) return null;
  const dir = mkdtempSync(join(tmpdir(), "dvs-etcd-"));
  const ports: number[] = [];
  while (ports.length < 2 * members) ports.push(await freePort());
  const names = Array.from({ length: members }, (_, i) => `m${i}`);
  const peerUrl = (i: number) => `http://127.0.0.1:${ports[members + i]}`;
  const url = (i: number) => `http://127.0.0.1:${ports[i]}`;
  const cluster = names.map((name, i) => `${name}=${peerUrl(i)}`).join(",");
  const children: ChildProcess[] = names.map((name, i) =>
    spawn(
      "etcd",
      [
        ...["--name", name, "--data-dir", join(dir, name), "--initial-cluster", cluster],
        ...["--listen-client-urls", url(i), "--advertise-client-urls", url(i)],
        ...["--listen-peer-urls", peerUrl(i), "--initial-advertise-peer-urls", peerUrl(i)],
        ...["--snapshot-count", "100000", "--quota-backend-bytes", String(4 * 2 ** 30)],
      ],
      { stdio: "ignore" },
    ),
  );
  const ended = children.map((child) => new Promise<void>((resolve) => child.once("exit", () => resolve())));
  const close = async () => {
    for (const child of children) child.kill("SIGKILL");
    await Promise.all(ended);
    rmSync(dir, { recursive: true, force: true });
  };
  const put = async (client: number, key: string, value: Uint8Array) => {
    const body = JSON.stringify({ key: base64(Buffer.from(key)), value: base64(value) });
    const response = await fetch(`${url(client % members)}/v3/kv/put`, { method: "POST", body });
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`etcd answered ${response.status}`);
  };
  for (let i = 0; ; i++) {
    try {
      for (let member = 0; member < members; member++) await put(member, "ready", new Uint8Array(1));
      return { put, close };
    } catch (e) {
      if (i < 100) {
        await sleep(100);
        continue;
      }
      await close();
      throw e;
    }
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}
