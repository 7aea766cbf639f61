/** A backup and a restore all the way: a person, the coordinator's ports, an agent's transfers, a state process's socket. */
import { afterEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { dataDirOf, stateDirOf } from "../../../../core/agent/data-dir.ts";
import { StateTransfers } from "../../../../core/agent/state-transfers.ts";
import { DvsError } from "../../../../core/errors.ts";
import { type BackupHeader, encodeBackup, readBackup } from "../../../../core/state/backup/format.ts";
import { serveTransfers, type TransferHandlers } from "../../../../core/state/backup/transfer.ts";
import { registry } from "../../../../plugins/registry.ts";
import { FakeAgent } from "../fake-agent.ts";
import { codeOf, failure, Lab, until } from "../lab.ts";

const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const disk = "1".repeat(32);
const large = new Uint8Array(2 * 1024 * 1024 + 3).map((_, i) => i % 253);
const never = new AbortController().signal;

/** `kv` on one node, which says that it is the primary, and whose agent hands transfers to these handlers. */
async function started(handlers: Partial<TransferHandlers> | null, signal = never) {
  const lab = await Lab.start({ registry });
  closing.push(() => lab.close());
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  closing.push(() => agent.close());
  const { uid } = await lab.api.instances.create({ name: "kv", spec: { os: "hello", nodes: 1 } });
  await until(() => agent.desired?.replicas.some((r) => r.uid === uid) ?? false);
  const of = { tenant: "default", instance: "kv", uid };
  await agent.link.state.register({ ...of, disk, incarnation: "i0", unix: "/run/s", port: 7_000 }, never);
  const primary = { disk, incarnation: "i0" };
  const configuration = { epoch: 1, generation: 1, primary, inSync: [disk], changeId: "change-1" };
  await agent.link.state.change({ ...of, change: { generation: 1, version: 0, configuration } }, never);
  agent.replicaStatus = {
    ...{ role: "primary", serving: true, epoch: 1, index: 9, committed: 9, applied: 9 },
    ...{ durability: "fsync", diskBytes: 1, problem: "" },
  };
  await until(async () => (await lab.api.instances.get("kv")).state!.replicas.some((r) => r.serving));

  const dir = mkdtempSync(join(tmpdir(), "dvs-"));
  closing.push(() => rmSync(dir, { recursive: true, force: true }));
  const data = dataDirOf(dir);
  const socket = stateDirOf(data, uid).transferSocket;
  mkdirSync(dirname(socket), { recursive: true });
  if (handlers) {
    const none = () => Promise.reject(new DvsError("UNAVAILABLE", "not in this test"));
    const server = await serveTransfers(socket, { backup: none, restore: none, ...handlers });
    closing.push(() => server.close());
  }
  const transfers = new StateTransfers({ data, coordinator: agent.link, log: () => {}, signal });
  let handled = 0;
  const timer = setInterval(() => {
    for (const message of agent.messages.slice(handled)) {
      if (message.type === "backup") void transfers.backup(message);
      if (message.type === "restore") void transfers.restore(message);
    }
    handled = agent.messages.length;
  }, 5);
  closing.push(() => clearInterval(timer));
  return { lab, api: lab.api, uid };
}

function headerOf(uid: string): BackupHeader {
  const of = { tenant: "default", instance: "kv", uid, os: "hello" };
  return {
    format: "dvs-state-backup",
    version: 1,
    ...of,
    epoch: 1,
    index: 9,
    madeAt: "2026-01-01T00:00:00Z",
  };
}

async function* pieces(): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < large.length; at += 100_000) yield large.subarray(at, at + 100_000);
}
async function joined(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part.slice());
  return Buffer.concat(parts);
}
async function streamed(bytes: Uint8Array): Promise<ReadableStream<Uint8Array>> {
  return new Blob([bytes as BlobPart]).stream();
}

test("a backup comes to whoever asked, whole; and goes back to the primary", async () => {
  let restored = new Uint8Array(0);
  const { api, lab } = await started({
    backup: () => Promise.resolve({ header: headerOf("u"), chunks: pieces() }),
    async restore({ index }, chunks) {
      restored = new Uint8Array(await joined(chunks));
      return { index: index + 1 };
    },
  });
  const bytes = await joined(await api.instances.backup("kv"));
  const { header, chunks } = await readBackup(await streamed(bytes));
  expect(header.index).toBe(9);
  expect(Buffer.from(await joined(chunks)).equals(large)).toBe(true);
  expect(await api.instances.restore("kv", await streamed(bytes))).toEqual({ index: 10 });
  expect(Buffer.from(restored).equals(large)).toBe(true);
  const viewer = await lab.as("viewer");
  expect(await codeOf(viewer.instances.backup("kv"))).toBe("FORBIDDEN");
});

test("an agent that is gone in the middle of a restore: nobody knows, and that is said at once", async () => {
  const gone = new AbortController();
  const { api, uid } = await started(
    {
      async restore(_, chunks) {
        await joined(chunks);
        gone.abort(new Error("killed"));
        return new Promise<never>(() => undefined);
      },
    },
    gone.signal,
  );
  const bytes = await joined(encodeBackup(headerOf(uid), pieces()));
  expect(await codeOf(api.instances.restore("kv", await streamed(bytes)))).toBe("OUTCOME_UNKNOWN");
});

test("a damaged backup is refused by the state process, and the person is told", async () => {
  let acted = false;
  const { api, uid } = await started({
    async restore(_, chunks) {
      await joined(chunks);
      acted = true;
      return { index: 1 };
    },
  });
  const bytes = await joined(encodeBackup(headerOf(uid), pieces()));
  bytes[500_000]! ^= 1;
  const refusal = await failure(api.instances.restore("kv", await streamed(bytes)));
  expect(refusal.code).toBe("FAILED");
  expect(acted).toBe(false);
  expect(await codeOf(api.instances.restore("kv", await streamed(new Uint8Array(10))))).toBe("INVALID");
});

test("why there is no backup is told: no state process, no primary, no state at all", async () => {
  const { api } = await started(null);
  const answer = await api.instances.backup("kv");
  expect(await codeOf(readBackup(answer))).toBe("UNAVAILABLE");
  expect(await codeOf(api.instances.restore("kv", await streamed(new Uint8Array(10))))).toBe("UNAVAILABLE");
  expect(await codeOf(api.instances.backup("nobody"))).toBe("NOT_FOUND");
});
