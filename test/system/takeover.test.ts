/**
 * Two coordinators on an etcd of three: the one that acts is killed, and stopped, while instances are created and
 * served. Who is served notices nothing, what was asked for is finished, and agents go over to the other one.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createApi, type Api } from "../../core/api/client.ts";
import { etcdMissing, skipNote, startEtcd, type EtcdCluster } from "../core/store/etcd-fixture.ts";
import { startLoad } from "../tools/load-process.ts";
import { TestCluster } from "./cluster.ts";
import { TestCoordinator } from "./coordinators.ts";
import { createWeb, delay, get, lasting } from "./fixture.ts";
import { freePort } from "../tools/free-port.ts";

setDefaultTimeout(60_000);

describe.skipIf(etcdMissing !== null)(`a coordinator takes over from another${skipNote}`, () => {
  let etcd: EtcdCluster;
  let cluster: TestCluster;
  let other: TestCoordinator;
  let api: Api;
  let web: Awaited<ReturnType<typeof createWeb>>;
  const addresses = () => [cluster.coordinatorAddress, other.address];

  beforeAll(async () => {
    etcd = await startEtcd(3);
    const store = ["--store", etcd.url()];
    cluster = await TestCluster.start({ nodes: 3, coordinatorArgs: [...store, "--no-join-token"] });
    other = await new TestCoordinator(cluster, 1, store).start();
    api = createApi({ addresses: addresses(), token: cluster.adminToken, timeoutMs: 10_000 });
    web = await createWeb(cluster, "web", 2);
  }, 60_000);
  afterAll(async () => {
    api?.close();
    await cluster?.stop();
    await etcd?.close();
  }, 60_000);

  /** The load through a node without a container, while something happens; nothing of it may fail. */
  async function underLoad(act: () => Promise<void>): Promise<void> {
    const away = cluster.nodes.find((n) => !web.view.containers.some((c) => c.nodeName === n.name))!;
    const { port, paths, echo } = web;
    const load = startLoad({ host: away.address, port, rate: 150, seconds: 9, paths, echo });
    await delay(1_000);
    await act();
    const report = await load.report;
    expect(report.failures).toEqual([]);
    expect(report.failed).toBe(0);
  }

  const upAt = async (acting: string) => {
    const { coordinator } = await api.status();
    return coordinator.address === acting && (await api.nodes.list()).every((n) => n.state === "up");
  };

  test("agents learn of a coordinator that came after they had joined, and keep it", async () => {
    const known = () =>
      cluster.nodes.map(
        (n) =>
          (JSON.parse(readFileSync(join(n.dataDir, "identity.json"), "utf8")) as { agentAddresses: string[] })
            .agentAddresses.length,
      );
    await cluster.until("all know both", () => known().every((n) => n === 2));
  });

  test("killed in the middle of a creation, under load: the creation is finished, no request fails", async () => {
    const before = (await api.instances.get("web")).containers.map(lasting);
    const port = await freePort();
    await underLoad(async () => {
      const made = cluster.dvs(
        [
          "instance",
          "create",
          "late",
          "--os",
          "hello",
          "--nodes",
          "2",
          "--publish",
          String(port),
          "--timeout",
          "30s",
        ],
        { DVS_ADDR: addresses().join() },
      );
      await delay(250);
      cluster.killCoordinator();
      const { code, stderr } = await made;
      expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
      await cluster.until("agents are with the other one", () => upAt(other.address));
    });
    expect((await api.instances.get("late")).phase).toBe("running");
    expect((await get(cluster.nodes[0]!.address, port)).status).toBe(200);
    expect((await api.instances.get("web")).containers.map(lasting)).toEqual(before);
    const downs: string[] = [];
    for await (const e of api.events()) if (e.reason === "Down") downs.push(e.subject);
    expect(downs).toEqual([]);
    expect((await api.status()).warnings.join("\n")).not.toContain("node ");
  });

  test("stopped like a hung machine, under load: the one that is back takes over, and the stopped one stands by afterwards", async () => {
    await cluster.startCoordinator();
    const first = cluster.coordinatorAddress;
    await cluster.until("both are there", async () => {
      const all = await api.coordinators.list();
      return all.length === 2 && all.every((c) => c.state === "up");
    });
    expect((await api.status()).coordinator.address).toBe(other.address);
    const before = (await api.instances.get("web")).containers.map(lasting);
    await underLoad(async () => {
      other.signal("SIGSTOP");
      // The stopped one is asked first: it takes the connection and says nothing.
      const made = await cluster.dvs(
        ["instance", "create", "later", "--os", "hello", "--nodes", "3", "--timeout", "30s"],
        { DVS_ADDR: [other.address, first].join() },
      );
      expect({ code: made.code, stderr: made.code === 0 ? "" : made.stderr }).toEqual({
        code: 0,
        stderr: "",
      });
      await cluster.until("agents are with the first one", () => upAt(first));
      other.signal("SIGCONT");
    });
    const standby = other.api();
    await cluster.until("it stands by", async () => (await standby.status()).coordinator.address === first);
    expect((await standby.instances.get("later")).phase).toBe("running");
    standby.close();
    expect((await api.instances.get("web")).containers.map(lasting)).toEqual(before);
  });
});
