/** A second replica that comes late: the first one's log no longer has the beginning, so it gets a snapshot, then the rest. */
import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Configuration, DiskId } from "../../../core/replica/configuration.ts";
import type { ReplicaMessage } from "../../../core/replica/messages.ts";
import type { WriteOutcome } from "../../../core/replica/sink.ts";
import { kv } from "../../../core/state/modules/kv.ts";
import { ReplicaHost } from "../../../core/state/replica-host.ts";
import { isTransfer, SnapshotTransfers } from "../../../core/state/snapshot-transfer.ts";
import { listSnapshots } from "../../../core/state/snapshots.ts";

const root = mkdtempSync(join(tmpdir(), "dvs-"));
const members = new Map<DiskId, { host: ReplicaHost; transfers: SnapshotTransfers }>();
const store = { version: 0, configuration: null as Configuration | null };
const complaints: string[] = [];
afterEach(async () => {
  for (const { host } of members.values()) await host.close().catch(() => undefined);
  rmSync(root, { recursive: true });
});

function tellAll(): void {
  const { version, configuration } = store;
  for (const { host } of members.values()) {
    host.machine.configurationRead(host.now(), { generation: 1, version, configuration });
    host.machine.replicasWanted(host.now(), [...members.keys()]);
  }
}

async function join2(name: string): Promise<ReplicaHost> {
  const dir = join(root, name);
  const say = (level: string, message: string): void => void (level !== "info" && complaints.push(message));
  const send = (disk: DiskId, message: ReplicaMessage | readonly unknown[]): void => {
    // What is sent later may change the bytes; a link encodes at once.
    const copy = structuredClone(message);
    setImmediate(() => {
      const to = members.get(disk);
      if (!to) return;
      if (isTransfer(copy)) to.transfers.received(host.disk, copy);
      else to.host.receive(host.disk, copy as ReplicaMessage);
    });
  };
  const host: ReplicaHost = await ReplicaHost.open({
    runDir: null,
    dir,
    incarnation: `incarnation-${name}`,
    policy: { replicas: 2, minInSync: 1, durability: "fsync" },
    modules: [kv],
    send,
    sendSnapshot: (disk, fromIndex) => transfers.sendTo(disk, fromIndex),
    propose: (change) =>
      void setImmediate(() => {
        const fits = change.version === store.version;
        if (fits) Object.assign(store, { version: store.version + 1, configuration: change.configuration });
        host.machine.changed(host.now(), change.configuration.changeId, fits ? "done" : "refused");
        tellAll();
      }),
    askConfiguration: () => void setImmediate(tellAll),
    roleChanged: () => undefined,
    applied: () => undefined,
    failed: (reason) => void complaints.push(reason),
    log: say,
  });
  const transfers = new SnapshotTransfers({
    dataDir: dir,
    keeper: host.keeper,
    send,
    mayTake: (from, info) => host.mayTake(from, info),
    install: (info) => host.installSnapshot(info),
    sent: (disk) => host.machine.snapshotSent(host.now(), disk),
    say,
  });
  members.set(host.disk, { host, transfers });
  host.start();
  tellAll();
  return host;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

async function put(host: ReplicaHost, key: string): Promise<void> {
  const operation = host.module("kv").encode({ op: "put", key, value: new Uint8Array(10_000) });
  const request = { client: "", sequence: 0, ackedBelow: 0, module: "kv", operation };
  const outcome = await new Promise<WriteOutcome>((done) => host.write(request, done));
  expect(outcome.type).toBe("ok");
}

const keysOf = (host: ReplicaHost): string[] =>
  (
    host.module("kv").read({ get: "list", prefix: "", limit: 1_000 }) as { entries: { key: string }[] }
  ).entries.map(({ key }) => key);

test("a replica that joins behind the begin of the log gets a snapshot, follows, and counts as in sync", async () => {
  const first = await join2("a");
  await until(() => first.machine.role === "primary");
  for (let i = 0; i < 60; i++) await put(first, `key${i}`);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const info = await first.keeper.makeSnapshot();
  await put(first, "after the snapshot");

  const second = await join2("b");
  await until(() => store.configuration!.inSync.length === 2);
  expect(await listSnapshots(join(root, "b"))).toEqual([info]);
  await put(first, "with both");
  await until(() => second.machine.status.appliedIndex === first.machine.status.appliedIndex);
  expect(keysOf(second)).toEqual(keysOf(first));
  expect(keysOf(second)).toContain("with both");
  expect(complaints).toEqual([]);
}, 20_000);
