/**
 * Three machines with `dvs coordinator start --ha`: each runs a coordinator and a part of the store. One is lost,
 * another takes its place; then two are lost, and the cluster is recovered from the last.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createApi, type Api } from "../../core/api/client.ts";
import { processStartTime } from "../../core/platform/uptime.ts";
import { etcdMissing, skipNote } from "../core/store/etcd-fixture.ts";
import { TestCluster } from "./cluster.ts";
import { TestCoordinator } from "./coordinators.ts";
import { createHello, helloRequest } from "./fixture.ts";

setDefaultTimeout(60_000);

const killEtcdOf = (dataDir: string) => {
  const file = join(dataDir, "etcd", "process.json");
  if (!existsSync(file)) return;
  const { pid, startTime } = JSON.parse(readFileSync(file, "utf8")) as { pid: number; startTime: string };
  if (processStartTime(pid) === startTime) process.kill(pid, "SIGKILL");
};

describe.skipIf(etcdMissing !== null)(`three machines with --ha${skipNote}`, () => {
  let cluster: TestCluster;
  let second: TestCoordinator;
  let third: TestCoordinator;
  let fourth: TestCoordinator;
  let api: Api;
  const everybody = () => [second, third, fourth].filter((c) => c !== undefined);
  const newApi = (addresses: string[]) =>
    createApi({ addresses, token: cluster.adminToken, timeoutMs: 10_000 });
  /** Of what could stop takeovers. */
  const warnings = async () => (await api.status()).warnings.filter((w) => !w.startsWith("node "));

  beforeAll(async () => {
    cluster = await TestCluster.start({ nodes: 2, coordinatorArgs: ["--ha", "--no-join-token"] });
    const { token } = await cluster.api.tokens.create({ kind: "coordinator" });
    const env = { DVS_COORDINATOR_JOIN: token };
    // At the same time: one waits until the other has its vote.
    second = new TestCoordinator(cluster, 1, ["--ha"]);
    third = new TestCoordinator(cluster, 2, ["--ha"]);
    await Promise.all([second.start(env), third.start(env)]);
    api = newApi([cluster.coordinatorAddress, second.address, third.address]);
  }, 60_000);
  afterAll(async () => {
    api?.close();
    await cluster?.stop();
    for (const dir of [cluster?.coordinatorDir, ...everybody().map((c) => c.dataDir)])
      if (dir) killEtcdOf(dir);
  }, 60_000);

  test("three commands make three coordinators and three parts of the store; nothing is to be warned of", async () => {
    await cluster.until("all three are up", async () => {
      const all = await api.coordinators.list();
      return all.length === 3 && all.every((c) => c.state === "up" && c.etcd !== null);
    });
    expect(await warnings()).toEqual([]);
    expect((await api.coordinators.list()).filter((c) => c.acting)).toHaveLength(1);
    // Nobody without a certificate of the store's authority gets in.
    const [member] = await api.coordinators.list();
    expect(await fetch(`${member!.etcd}/v3/kv/range`, { method: "POST" }).catch(() => "refused")).toBe(
      "refused",
    );
  });

  test("the machine of the acting one is lost, coordinator and etcd at once: commands go on within seconds", async () => {
    await createHello(cluster, "before", 2);
    killEtcdOf(cluster.coordinatorDir);
    cluster.killCoordinator();
    const startMs = performance.now();
    const made = await cluster.dvs(["instance", "create", "after", "--os", "hello", "--timeout", "30s"], {
      DVS_ADDR: [cluster.coordinatorAddress, second.address, third.address].join(),
    });
    expect({ code: made.code, stderr: made.code === 0 ? "" : made.stderr }).toEqual({ code: 0, stderr: "" });
    console.log(`a command after the loss of a machine took ${Math.round(performance.now() - startMs)} ms`);
    expect((await api.instances.get("before")).phase).toBe("running");
    await cluster.until("it is warned of", async () => {
      const told = (await warnings()).join("\n");
      return told.includes("members of the store do not answer") && told.includes("dvs coordinator rm");
    });
  });

  test("an etcd that dies is started again by its coordinator", async () => {
    const before = second.etcdPid;
    process.kill(before, "SIGKILL");
    await cluster.until(
      "another runs",
      () => second.etcdPid !== before && processStartTime(second.etcdPid) !== null,
    );
    await cluster.until("the store answers", async () => (await api.nodes.list()).length === 2);
    expect(second.log).toContain("etcd killed by SIGKILL; it is started again");
  });

  test("the lost machine is forgotten and another joins in its place", async () => {
    const gone = (await api.coordinators.list()).find((c) => c.address === cluster.coordinatorAddress)!;
    await cluster.until("it counts as down", async () =>
      (await api.coordinators.list()).some((c) => c.id === gone.id && c.state === "down"),
    );
    await api.coordinators.remove(gone.id);
    const { token } = await api.tokens.create({ kind: "coordinator" });
    fourth = await new TestCoordinator(cluster, 3, ["--ha"]).start({ DVS_COORDINATOR_JOIN: token });
    api.close();
    api = newApi([second.address, third.address, fourth.address]);
    await cluster.until("all three are up", async () => {
      const all = await api.coordinators.list();
      return all.length === 3 && all.every((c) => c.state === "up");
    });
    expect(await warnings()).toEqual([]);
  });

  test("two of three are lost: the last recovers the cluster, but not while another part of the store answers", async () => {
    await third.killMachine();
    second.signal("SIGTERM");
    expect(await second.ended()).toBe(0);
    expect(processStartTime(second.etcdPid)).toBeNull();
    const recover = () => cluster.dvs(["coordinator", "recover", "--data-dir", second.dataDir, "--yes"]);
    const early = await recover();
    expect([early.code, early.stderr]).toEqual([8, expect.stringContaining("still run")]);
    await fourth.killMachine();
    const done = await recover();
    expect({ code: done.code, stderr: done.code === 0 ? "" : done.stderr }).toEqual({ code: 0, stderr: "" });
    api.close();
    await second.start();
    api = second.api();
    const { store, coordinator } = await api.status();
    expect(coordinator.address).toBe(second.address);
    expect(store.generation).toBeGreaterThan(1);
    await cluster.until("everything is back", async () => {
      const instances = await api.instances.list();
      return instances.length === 2 && instances.every((i) => i.phase === "running");
    });
    await api.instances.create(helloRequest("recovered", 1));
    expect((await warnings()).join("\n")).toContain("the store has one member");
    second.signal("SIGTERM");
    expect(await second.ended()).toBe(0);
  });
});
