/** An older store is put back under running kernels: they begin anew, by the same order of records. */
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { openStore } from "../../core/store/open.ts";
import { raiseGeneration } from "../../core/store/transfer.ts";
import { clusterForFile, createHello } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 2 });

test("kernels that have read more than a restored store holds end, join again and count on", async () => {
  const { port, view } = await createHello(cluster(), "hello", 2);
  const counted = async (node: { address: string }) => {
    let answer: { count: number; holder: number } | undefined;
    await cluster().until(
      "it counts",
      async () => {
        const url = `http://${node.address}:${port}/count`;
        const response = await fetch(url, { method: "POST", headers: { connection: "close" } });
        answer = (await response.json()) as typeof answer;
        return response.status === 200;
      },
      20_000,
    );
    return answer!;
  };
  const stopCoordinator = async () => {
    cluster().killCoordinator();
    await cluster().coordinatorGone();
  };
  const [one, other] = cluster().nodes;
  const pids = () => Promise.all([one!, other!].map((node) => node.pid("container", view.uid)));
  await counted(one!);
  await stopCoordinator();
  const store = join(cluster().coordinatorDir, "store.db");
  copyFileSync(store, `${store}.old`);
  const wal = `${store}-wal`;
  copyFileSync(wal, `${wal}.old`);
  await cluster().startCoordinator();
  await cluster().allUp();
  // Records that the old store does not have: a container's kernel is removed and another joins.
  process.kill(await one!.pid("container", view.uid), "SIGKILL");
  await counted(one!);
  let before: number[] = [];
  await cluster().until("both run", async () => {
    before = await pids().catch(() => []);
    const { containers } = await cluster().api.instances.get("hello");
    return before.length === 2 && containers.every((c) => c.kernel?.state === "running");
  });
  await stopCoordinator();
  copyFileSync(`${store}.old`, store);
  copyFileSync(`${wal}.old`, wal);
  rmSync(`${store}-shm`, { force: true });
  const put = await openStore(`sqlite:${store}`);
  await raiseGeneration(put);
  await put.close();
  await cluster().startCoordinator();
  await cluster().allUp();
  // This VOS does not go on without its kernel: its containers end, and others are started.
  await cluster().until("all kernels are others", async () => {
    const now = await pids().catch(() => before);
    const { containers, kernels } = await cluster().api.instances.get("hello");
    const isAnew = now.every((pid) => !before.includes(pid)) && kernels?.members === 2;
    return isAnew && containers.every((c) => c.kernel?.state === "running");
  });
  const { holder } = await counted(one!);
  expect((await counted(other!)).holder).toBe(holder);
  expect(cluster().log(one!.name)).toContain("the store was restored (generation 2 after 1)");
});
