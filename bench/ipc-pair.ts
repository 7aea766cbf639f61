/** A kernel in this host process and one in another, linked; and a process here that calls those there. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Endpoint } from "../core/kernel/endpoint.ts";
import type { LinkedKernel } from "../core/kernel/linked-kernel.ts";
import { MemoryRecordLog } from "../core/kernel/memory-record-log.ts";
import type { Process } from "../core/kernel/process.ts";
import { serveLog } from "./ipc-log.ts";
import { type LinkKind, planOf, startKernel, toServers } from "./ipc-plan.ts";

/** Every call of a benchmark has one. */
export const timeout = { timeoutMs: 5_000 };

export interface Pair {
  linked: LinkedKernel;
  child: ChildProcess;
  /** Of this host process; more are bound where they are wanted. */
  client: Process;
  /** Processes of the other: it replies with what it was sent; it has a buffer of vaultBytes under the grant. */
  echo: Endpoint;
  vault: Endpoint;
  grant: number;
  close(): void;
}

export async function openPair(kind: LinkKind): Promise<Pair> {
  const dir = mkdtempSync(join(tmpdir(), "dvs-ipc-"));
  const plan = await planOf(kind, dir);
  writeFileSync(join(dir, "plan.json"), JSON.stringify(plan), { mode: 0o600 });
  const log = new MemoryRecordLog();
  const linked = await startKernel(plan, 0, log);
  const far = [process.execPath, "--no-install", join(import.meta.dirname, "ipc-far.ts"), dir] as const;
  const child = spawn(far[0], far.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
  serveLog(log, child);
  void linked.run();
  const client = await linked.kernel.bind({ privileges: toServers });
  const echo = await client.waitForName("echo", timeout);
  const vault = await client.waitForName("vault", timeout);
  const { body: grant } = await client.sendrec(vault, { type: 0, body: null }, timeout);
  const close = () => {
    child.kill("SIGKILL");
    linked.kernel.stop();
    linked.links.close();
    rmSync(dir, { recursive: true, force: true });
  };
  return { linked, child, client, echo, vault, grant: grant as number, close };
}
