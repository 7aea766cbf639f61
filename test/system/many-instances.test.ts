/** A thousand instances' records: made, listed in pages, watched, shown, kept over a restart, and placed where there is room. */
import { expect, test } from "bun:test";
import type { InstanceWatchEvent } from "../../core/api/views.ts";
import { clusterForFile, failure } from "./fixture.ts";

const count = 1_000;
const cluster = clusterForFile({ nodes: 0, coordinatorArgs: ["--no-join-token"] });
const nameOf = (i: number) => `i-${String(i).padStart(4, "0")}`;
const allNames = Array.from({ length: count }, (_, i) => nameOf(i));

test("a thousand instances are made through the API, and each says why it is pending", async () => {
  const names = allNames.values();
  const worker = async () => {
    for (const name of names) await cluster().api.instances.create({ name, spec: { os: "hello", nodes: 1 } });
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  const all = await cluster().api.instances.list();
  expect(all.map((i) => i.name)).toEqual(allNames);
  expect([...new Set(all.map((i) => i.phase))]).toEqual(["pending"]);
  expect([...new Set(all.map((i) => i.conditions[0]?.message))]).toEqual(["needs 1 node, 0 are up"]);
});

test("they are listed in pages, without one twice or missing", async () => {
  const names: string[] = [];
  let pages = 0;
  for (let after: string | undefined; ;) {
    const page = await cluster().api.instances.page({
      limit: 300,
      ...(after === undefined ? {} : { after }),
    });
    names.push(...page.instances.map((i) => i.name));
    pages += 1;
    if (page.next === null) break;
    after = page.next;
  }
  expect(pages).toBe(4);
  expect(names).toEqual(allNames);
  expect((await failure(cluster().api.instances.page({ limit: 5_000 }))).code).toBe("INVALID");
  const listed = await cluster().dvs(["instance", "ls", "-o", "json"]);
  expect((JSON.parse(listed.stdout) as unknown[]).length).toBe(count);
  const status = await cluster().dvs(["status"]);
  expect(status.stdout).toContain(`${count} pending`);
  expect(status.stdout).toContain("and 980 more: dvs instance ls");
});

test("a watch brings them all, then each change", async () => {
  const ending = new AbortController();
  const events: InstanceWatchEvent[] = [];
  const watching = (async () => {
    for await (const e of cluster().api.instances.watch({}, ending.signal)) events.push(e);
  })().catch(() => undefined);
  await cluster().until("the watch is synced", () => events.some((e) => e.type === "synced"));
  expect(events).toHaveLength(count + 1);
  await cluster().api.instances.remove(nameOf(7));
  await cluster().until("the removal is told", () =>
    events.some((e) => e.type === "removed" && e.name === nameOf(7)),
  );
  await cluster().api.instances.create({ name: nameOf(7), spec: { os: "hello", nodes: 1 } });
  await cluster().until("the new one is told", () =>
    events.slice(count + 1).some((e) => e.type === "instance" && e.instance.name === nameOf(7)),
  );
  ending.abort();
  await watching;
});

test("a killed coordinator has all of them again", async () => {
  const before = (await cluster().api.instances.list()).map(({ name, uid }) => ({ name, uid }));
  cluster().killCoordinator();
  await cluster().coordinatorGone();
  await cluster().startCoordinator();
  expect((await cluster().api.instances.list()).map(({ name, uid }) => ({ name, uid }))).toEqual(before);
});

test("a node with room for three gets three of them, and the others say that it is full", async () => {
  const { token } = await cluster().api.tokens.create({ kind: "join" });
  cluster().newNode().join(token, ["--containers-max", "3"]);
  await cluster().allUp();
  await cluster().until("three run", async () => (await cluster().api.status()).instances["running"] === 3);
  const all = await cluster().api.instances.list();
  expect(all.filter((i) => i.phase === "pending")).toHaveLength(count - 3);
  const reasons = new Set(all.flatMap((i) => i.conditions.map((c) => c.message)));
  expect([...reasons]).toEqual(["needs 1 node, 1 is up, 1 has no room for another container"]);
  // A place that is given up is taken by one of those that wait.
  const [first] = all.filter((i) => i.phase === "running");
  await cluster().api.instances.remove(first!.name);
  await cluster().until("another one runs", async () => {
    const { instances } = await cluster().api.status();
    return instances["running"] === 3 && instances["pending"] === count - 4;
  });
});
