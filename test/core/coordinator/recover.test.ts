/** A store that was lost or set back: what comes back is the same cluster, of a higher generation. */
import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { recoverCoordinator, type Recovery } from "../../../core/coordinator/recover.ts";
import { etcdMissing, skipNote } from "../store/etcd-fixture.ts";
import { FakeAgent } from "./fake-agent.ts";
import { codeOf, hello, Lab, until } from "./lab.ts";

setDefaultTimeout(30_000);

const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function newLab(): Promise<Lab> {
  const lab = await Lab.start();
  closing.push(() => lab.close());
  return lab;
}

const recovery = (dataDir: string, of: Partial<Recovery> = {}): Recovery => ({
  options: { dataDir },
  force: false,
  signal: new AbortController().signal,
  log: () => undefined,
  ...of,
});

async function backupOf(lab: Lab): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of lab.api.backup()) lines.push(JSON.stringify(line));
  return lines;
}

async function* each(lines: string[]): AsyncGenerator<string> {
  yield* lines;
}

test("an empty data directory and a backup make the same cluster: agents, tokens and instances go on", async () => {
  const lab = await newLab();
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  closing.push(() => agent.close());
  await lab.api.instances.create(hello("web"));
  await until(async () => (await lab.api.instances.get("web")).phase === "running");
  const before = await lab.api.status();
  const lines = await backupOf(lab);
  // Its place and ports stay: it is the same machine, with a new disk.
  const dataDir = join(lab.dir, "data");
  const kept = join(lab.dir, "kept.json");
  await lab.stop();
  copyFileSync(join(dataDir, "coordinator.json"), kept);
  rmSync(dataDir, { recursive: true });
  mkdirSync(dataDir);
  copyFileSync(kept, join(dataDir, "coordinator.json"));
  const recovered = await recoverCoordinator(recovery(dataDir, { backup: each(lines) }));
  expect(recovered.clusterId).toBe(before.clusterId);
  expect(recovered.generation).toBeGreaterThan(before.store.generation);
  expect(recovered.keys).toBe(lines.length - 2);
  const again = await lab.start();
  expect(again.ready.clusterId).toBe(before.clusterId);
  const { generation } = (await again.api.status()).store;
  expect(generation).toBe(recovered.generation);
  const back = await FakeAgent.of(lab, agent.enrolled);
  closing.push(() => back.close());
  await back.run();
  expect(back.desired?.storeGeneration).toBe(generation);
  await until(async () => (await again.api.instances.get("web")).phase === "running");
});

test("a store that was put back by hand only gets a higher generation, each time a higher one", async () => {
  const lab = await newLab();
  const { generation } = (await lab.api.status()).store;
  const dataDir = join(lab.dir, "data");
  expect(await codeOf(recoverCoordinator(recovery(dataDir)))).toBe("CONFLICT");
  await lab.stop();
  const one = await recoverCoordinator(recovery(dataDir));
  const two = await recoverCoordinator(recovery(dataDir));
  expect([one.generation > generation, two.generation > one.generation, one.keys]).toEqual([
    true,
    true,
    null,
  ]);
  await lab.start();
  expect((await lab.api.status()).store.generation).toBe(two.generation);
});

test("a cut backup, a store that is not empty and an empty one without a backup are refused", async () => {
  const lab = await newLab();
  const lines = await backupOf(lab);
  const dataDir = join(lab.dir, "data");
  await lab.stop();
  expect(await codeOf(recoverCoordinator(recovery(dataDir, { backup: each(lines) })))).toBe("INVALID");
  const other = join(lab.dir, "other");
  expect(await codeOf(recoverCoordinator(recovery(other, { backup: each(lines.slice(0, -1)) })))).toBe(
    "INVALID",
  );
  expect(await codeOf(recoverCoordinator(recovery(join(lab.dir, "empty"))))).toBe("NOT_FOUND");
  expect(existsSync(join(lab.dir, "empty", "coordinator.json"))).toBe(false);
});

test("the command reads the backup from its file, to the last line", async () => {
  const lab = await newLab();
  const lines = await backupOf(lab);
  const file = join(lab.dir, "backup.ndjson");
  writeFileSync(file, `${lines.join("\n")}\n`);
  const main = new URL("../../../cli/main.ts", import.meta.url).pathname;
  const args = [
    "--no-install",
    main,
    "coordinator",
    "recover",
    "--data-dir",
    join(lab.dir, "next"),
    "-o",
    "json",
  ];
  const { stdout } = await promisify(execFile)(process.execPath, [...args, "--from", file]);
  expect(JSON.parse(stdout)).toMatchObject({
    clusterId: lab.running.ready.clusterId,
    keys: lines.length - 2,
  });
});

test("only administrators take backups", async () => {
  const lab = await newLab();
  const operator = await lab.as("operator");
  const take = async () => {
    for await (const _ of operator.backup()) return;
  };
  expect(await codeOf(take())).toBe("FORBIDDEN");
});

describe.skipIf(etcdMissing !== null)(`a store that coordinators run themselves${skipNote}`, () => {
  test("begins anew with a backup, under its own authority", async () => {
    const lab = await newLab();
    await lab.api.instances.create(hello("web"));
    const { clusterId } = await lab.api.status();
    const lines = await backupOf(lab);
    const next = new Lab({ ha: true });
    closing.push(() => next.close());
    const options = { dataDir: join(next.dir, "data"), listen: "127.0.0.1:0", ha: true };
    const recovered = await recoverCoordinator(recovery(options.dataDir, { options, backup: each(lines) }));
    expect(recovered.clusterId).toBe(clusterId);
    const { api } = await next.start();
    expect((await api.instances.list()).map((i) => i.name)).toEqual(["web"]);
    expect((await api.coordinators.list()).map((c) => c.etcd !== null)).toEqual([true]);
    expect((await api.status()).store).toMatchObject({ driver: "etcd", generation: recovered.generation });
    // Others can join it.
    const { token } = await api.tokens.create({ kind: "coordinator" });
    const { joinStore } = await import("../../../core/coordinator/ha/join-store.ts");
    const { signal } = new AbortController();
    expect((await joinStore({ token, id: "c2", host: "127.0.0.1", signal })).endpoints).toHaveLength(1);
    // Its data is no backup's to overwrite.
    await next.stop();
    const again = recoverCoordinator(recovery(options.dataDir, { options, backup: each(lines) }));
    expect(await codeOf(again)).toBe("INVALID");
  });
});
