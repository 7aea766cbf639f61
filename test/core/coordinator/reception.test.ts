/** Several coordinators on one etcd: whichever is asked, the one that acts answers; images are on all of them. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { withApi } from "../../../cli/connection.ts";
import { readContext, writeContext } from "../../../cli/context.ts";
import type { Io } from "../../../cli/io.ts";
import { createApi } from "../../../core/api/client.ts";
import { mintApiToken } from "../../../core/trust/tokens.ts";
import { etcdMissing, skipNote, startEtcd, type EtcdCluster } from "../store/etcd-fixture.ts";
import { FakeAgent } from "./fake-agent.ts";
import { codeOf, hello, Lab, until } from "./lab.ts";

setDefaultTimeout(60_000);

const closing: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

describe.skipIf(etcdMissing !== null)(`coordinators that stand by${skipNote}`, () => {
  let etcd: EtcdCluster;
  beforeAll(async () => {
    etcd = await startEtcd(1);
  });
  afterAll(() => etcd.close());

  async function pair(): Promise<[Lab, Lab]> {
    const url = etcd.url();
    const labs: Lab[] = [];
    for (let i = 0; i < 2; i++) {
      const lab = new Lab({ store: url });
      closing.push(() => lab.close());
      await lab.start();
      labs.push(lab);
    }
    return labs as [Lab, Lab];
  }

  test("a standby answers reads, changes, streams and refusals as the one that acts does", async () => {
    const [acting, standby] = await pair();
    const agent = await (await FakeAgent.join(acting, "n1")).run();
    closing.push(() => agent.close());
    const made = await standby.api.instances.create(hello("web"), "a-key-of-sixteen");
    expect((await standby.api.instances.create(hello("web"), "a-key-of-sixteen")).uid).toBe(made.uid);
    for await (const event of standby.api.instances.watch({ name: "web" })) {
      if (event.type === "instance" && event.instance.phase === "running") break;
    }
    expect((await acting.api.instances.list()).map((i) => i.name)).toEqual(["web"]);
    expect((await standby.api.status()).coordinator.address).toBe(acting.running.ready.apiAddress);
    expect(await codeOf(standby.api.instances.get("none"))).toBe("NOT_FOUND");
    expect(await codeOf(standby.api.instances.create(hello("web")))).toBe("CONFLICT");
    const { apiAddress, ca } = standby.running.ready;
    const stranger = createApi({
      addresses: [apiAddress],
      ca,
      token: mintApiToken({ caFingerprint: acting.running.ready.caFingerprint }).token,
    });
    closing.push(() => stranger.close());
    expect(await codeOf(stranger.nodes.list())).toBe("UNAUTHENTICATED");
  });

  test("a call that comes while nobody acts is answered by the successor", async () => {
    const [acting, standby] = await pair();
    const stopped = acting.stop();
    const nodes = standby.api.nodes.list();
    const made = standby.api.instances.create(hello("late"));
    expect(await stopped).toBe(0);
    expect(await nodes).toEqual([]);
    expect((await made).name).toBe("late");
    expect((await standby.api.status()).coordinator.address).toBe(standby.running.ready.apiAddress);
  });

  test("a command's context learns of coordinators that came later, unless it leads there by a way of its own", async () => {
    const [acting, standby] = await pair();
    const { apiAddress, adminToken, ca, clusterId } = acting.running.ready;
    const io = { env: {}, cwd: acting.dir } as Io;
    const file = join(acting.dir, "context.json");
    const learnt = async (addresses: string[]) => {
      await writeContext(file, { addresses, token: adminToken, ca, clusterId });
      await withApi({ context: file }, io, (api) => api.nodes.list());
      return readContext(file)!.addresses;
    };
    // The acting one looks once a second which others there are.
    await until(async () => (await acting.api.coordinators.list()).length === 2);
    expect(await learnt([apiAddress])).toEqual([apiAddress, standby.running.ready.apiAddress]);
    expect(await learnt(["127.0.0.1:1", apiAddress])).toEqual([apiAddress, standby.running.ready.apiAddress]);
    const byName = apiAddress.replace("127.0.0.1", "localhost");
    expect(await learnt([byName])).toEqual([byName]);
  });

  test("agents are told of all coordinators, and go over to the successor with the next heartbeat", async () => {
    const [acting, standby] = await pair();
    const agent = await FakeAgent.join(acting, "n1");
    closing.push(() => agent.close());
    agent.link.setAddresses([acting.running.ready.agentAddress]);
    const addresses = [acting, standby].map((lab) => lab.running.ready.agentAddress).sort();
    await until(async () => {
      const answer = await agent.beat();
      return [...(answer.coordinators ?? [])].sort().join() === addresses.join();
    });
    agent.link.setAddresses([standby.running.ready.agentAddress]);
    expect(await codeOf(agent.beat())).toBe("UNAVAILABLE");
    await acting.stop();
    await until(async () => {
      try {
        await agent.beat();
        return true;
      } catch {
        return false;
      }
    });
    expect((await standby.api.nodes.list()).map((n) => n.state)).toEqual(["up"]);
  });
});
