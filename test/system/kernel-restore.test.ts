/** An older store is put back under running kernels whose records it orders: they begin anew. */
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { openStore } from "../../core/store/open.ts";
import { raiseGeneration } from "../../core/store/transfer.ts";
import { clusterForFile, createWeb, get } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 2 });

test("kernels that have read more than a restored store holds end and join again, in containers that go on", async () => {
  const web = await createWeb(cluster(), "web", 2);
  const [one, other] = cluster().nodes;
  const pids = () => Promise.all([one!, other!].map((node) => node.pid("container", web.view.uid)));
  const bothRun = () =>
    cluster().until("both kernels run, and one grants leases", async () => {
      const { containers, kernels } = await cluster().api.instances.get("web");
      const run = containers.length === 2 && containers.every((c) => c.kernel?.state === "running");
      return run && kernels?.members === 2 && kernels.grantor !== null;
    });
  const stopCoordinator = async () => {
    cluster().killCoordinator();
    await cluster().coordinatorGone();
  };
  await bothRun();
  await stopCoordinator();
  const store = join(cluster().coordinatorDir, "store.db");
  for (const end of ["", "-wal"]) copyFileSync(store + end, `${store}${end}.old`);
  await cluster().startCoordinator();
  await cluster().allUp();
  // Records that the old store does not have: a container's kernel is removed and another joins.
  const first = await one!.pid("container", web.view.uid);
  process.kill(first, "SIGKILL");
  await cluster().until("another is started", async () => {
    const now = await one!.pid("container", web.view.uid).catch(() => first);
    return now !== first;
  });
  await bothRun();
  const before = await pids();
  await stopCoordinator();
  for (const end of ["", "-wal"]) copyFileSync(`${store}${end}.old`, store + end);
  rmSync(`${store}-shm`, { force: true });
  const put = await openStore(`sqlite:${store}`);
  await raiseGeneration(put);
  await put.close();
  await cluster().startCoordinator();
  await cluster().allUp();
  const restored = "the store was restored (generation 2 after 1)";
  await cluster().until("both agents have noticed", () =>
    cluster().nodes.every((node) => cluster().log(node.name).includes(restored)),
  );
  await bothRun();
  expect(await pids()).toEqual(before);
  for (const { address } of cluster().nodes) expect((await get(address, web.port)).status).toBe(200);
});
