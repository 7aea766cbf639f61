/**
 * The OS state of an instance on real host processes: the key-value from the command line, and the counter of `hello`,
 * which loses nothing that it has told anybody, whatever dies. Three replicas, each on its own node.
 */
import { beforeAll, expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { guardLink } from "../../core/state/guard.ts";
import type { TestNode } from "./cluster.ts";
import { counting } from "./counting.ts";
import { clusterForFile, createHello, stateInSync } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 3 });
const kv = (...args: string[]) => cluster().dvs(["kv", ...args]);
const inspect = () => cluster().api.instances.get("hello");
let port = 0;
let uid = "";

beforeAll(async () => {
  const created = await createHello(cluster(), "hello", 3);
  port = created.port;
  uid = created.view.uid;
  await inSync();
}, 60_000);

const inSync = () => stateInSync(cluster(), "hello");

/** The node of the primary, and the others. */
async function roles(): Promise<{ primary: TestNode; backups: TestNode[]; epoch: number }> {
  const { state } = await inSync();
  const primary = cluster().node(state.primary!.nodeName);
  return { primary, backups: cluster().nodes.filter((node) => node !== primary), epoch: state.epoch };
}

/** Kills under load; then the count goes on from every node, and nothing was lost or counted twice. */
async function goesOnCounting(kill: () => Promise<void>, heal?: () => void): Promise<void> {
  const run = await counting(cluster(), port);
  await run.counts();
  await kill();
  await run.counts();
  heal?.();
  await inSync();
  await run.counts(cluster().nodes);
  await run.stop();
}

test("dvs kv puts, gets, lists and removes, as text and as JSON", async () => {
  expect(await kv("put", "hello", "users/ada", "1815")).toMatchObject({ code: 0, stdout: "" });
  expect(await kv("put", "hello", "users/kurt", "")).toMatchObject({ code: 0 });
  expect(await kv("put", "hello", "other", "x")).toMatchObject({ code: 0 });
  expect(await kv("get", "hello", "users/ada")).toMatchObject({ code: 0, stdout: "1815\n" });
  const json = await kv("get", "hello", "users/ada", "-o", "json");
  const entry = JSON.parse(json.stdout) as { value: string; revision: number };
  expect(entry).toMatchObject({ key: "users/ada", value: "MTgxNQ==" });
  expect(entry.revision).toBeGreaterThan(0);
  const list = await kv("ls", "hello", "users/");
  expect(list.stdout.split("\n").map((line) => line.split(/ +/)[0])).toEqual([
    ...["KEY", "users/ada", "users/kurt", ""],
  ]);
  expect(await kv("rm", "hello", "users/kurt")).toMatchObject({ code: 0 });
  expect(await kv("get", "hello", "users/kurt")).toMatchObject({ code: 3, stdout: "" });
});

test("dvs kv cas sets a value only at the revision that was given", async () => {
  expect(await kv("cas", "hello", "leader", "0", "ada")).toMatchObject({ code: 0 });
  const again = await kv("cas", "hello", "leader", "0", "kurt");
  expect(again.code).toBe(4);
  const { revision } = await cluster().api.kv.get("hello", "leader");
  expect(again.stderr).toContain(`its revision is ${revision}`);
  expect(await kv("cas", "hello", "leader", String(revision), "kurt")).toMatchObject({ code: 0 });
  expect(await kv("get", "hello", "leader")).toMatchObject({ stdout: "kurt\n" });
  const absent = await kv("cas", "hello", "nobody", "7", "x");
  expect(absent.code).toBe(4);
  expect(absent.stderr).toContain("there is no such key");
  // Of many who want to be the one, one is.
  const all = Array.from({ length: 8 }, (_, i) => kv("cas", "hello", "one", "0", `me-${i}`));
  const codes = (await Promise.all(all)).map(({ code }) => code);
  expect(codes.toSorted((a, b) => a - b)).toEqual([0, 4, 4, 4, 4, 4, 4, 4]);
});

test("dvs kv watch tells each change once, in order, across a takeover", async () => {
  await kv("put", "hello", "watched/1", "a");
  const { revision } = await cluster().api.kv.get("hello", "watched/1");
  const [command, ...args] = cluster().command as [string, ...string[]];
  const watch = ["kv", "watch", "hello", "watched/", "--after", String(revision - 1)];
  const child = spawn(command, [...args, ...watch], {
    env: { ...process.env, NO_COLOR: "1", ...cluster().environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    let shown = "";
    child.stdout.on("data", (bytes: Buffer) => (shown += bytes.toString()));
    const lines = () =>
      shown
        .split("\n")
        .slice(0, -1)
        .map((line) => line.replace(/^\d+ /, ""));
    await cluster().until("what has happened is told", () => lines().length === 1);
    const { primary } = await roles();
    process.kill(await primary.pid("state", uid), "SIGKILL");
    await cluster().until(
      "it is written",
      async () => (await kv("put", "hello", "watched/2", "b")).code === 0,
    );
    await kv("put", "hello", "unwatched", "x");
    await kv("rm", "hello", "watched/1");
    await cluster().until("the changes are told", () => lines().length >= 3);
    expect(lines()).toEqual(["watched/1 a", "watched/2 b", "watched/1 (removed)"]);
  } finally {
    child.kill("SIGINT");
    if (child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
  }
  await inSync();
});

test("what cannot be is refused with its reason and its exit code", async () => {
  const long = "k".repeat(10_000);
  const refused: [string[], number, string][] = [
    [["get", "hello"], 2, "key"],
    [["get", "nothing", "a"], 3, "nothing"],
    [["put", "nothing", "a", "b"], 3, "nothing"],
    [["get", "hello", "no-such-key"], 3, "no-such-key"],
    [["rm", "hello", "no-such-key"], 3, "no-such-key"],
    [["cas", "hello", "a", "first", "b"], 2, "revision"],
    [["cas", "hello", "a", "1.5", "b"], 2, "revision"],
    [["put", "hello", "", "b"], 2, "key"],
    [["put", "hello", long, "b"], 2, "key"],
    [["watch", "hello", "--after", "x"], 2, "after"],
    [["ptu", "hello", "a", "b"], 2, "put"],
  ];
  for (const [args, code, words] of refused) {
    const answer = await kv(...args);
    expect({ args, code: answer.code }).toEqual({ args, code });
    expect(answer.stderr).toContain(words);
    expect(answer.stdout).toBe("");
  }
  expect((await kv("rm", "hello", "no-such-key", "--ignore-missing")).code).toBe(0);
  const large = Buffer.alloc(3 * 1_024 * 1_024).toString("base64");
  const put = cluster().api.kv.put("hello", "large", { value: large }, "large-value-of-test");
  expect(await put.then(String, (e: { code: string }) => e.code)).toBe("TOO_LARGE");
});

test("inspect shows primary, replicas in sync and how far each is behind", async () => {
  const { primary, backups } = await roles();
  const { code, stdout } = await cluster().dvs(["instance", "inspect", "hello"]);
  expect(code).toBe(0);
  expect(stdout).toMatch(new RegExp(`primary: +${primary.name} \\(epoch \\d+\\)`));
  expect(stdout).toMatch(/in sync: +3 of 3 replicas, at least 2 for writes/);
  expect(stdout).toMatch(/durability: +fsync/);
  expect(stdout).toContain("LAG");
  expect(stdout).toMatch(new RegExp(`${primary.name} +primary +yes +yes`));
  for (const { name } of backups) expect(stdout).toMatch(new RegExp(`${name} +backup +yes +yes`));
  await cluster().until("the replicas are equal", async () => {
    const { state } = await inspect();
    return state!.replicas.every((replica) => replica.lag === 0 && replica.index > 0);
  });
});

test("the primary's state process is killed: a backup goes on, and it becomes one", async () => {
  const { primary, epoch } = await roles();
  const pid = await primary.pid("state", uid);
  await goesOnCounting(async () => void process.kill(pid, "SIGKILL"));
  const after = await roles();
  expect(after.primary.name).not.toBe(primary.name);
  expect(after.epoch).toBeGreaterThan(epoch);
  expect(await primary.pid("state", uid)).not.toBe(pid);
});

test("a backup's state process is killed: the primary stays, and it comes back", async () => {
  const { primary, backups, epoch } = await roles();
  const pid = await backups[0]!.pid("state", uid);
  await goesOnCounting(async () => void process.kill(pid, "SIGKILL"));
  const after = await roles();
  expect({ primary: after.primary.name, epoch: after.epoch }).toEqual({ primary: primary.name, epoch });
  expect(await backups[0]!.pid("state", uid)).not.toBe(pid);
});

test("the primary's state process hangs past its lease: a backup takes over, and it is not a second one when it goes on", async () => {
  const { primary, backups, epoch } = await roles();
  const pid = await primary.pid("state", uid);
  const run = await counting(cluster(), port);
  await run.counts();
  process.kill(pid, "SIGSTOP");
  try {
    await cluster().until("another is primary", async () => (await inspect()).state!.epoch > epoch);
    await run.counts(backups);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  const after = await inSync();
  await run.counts(cluster().nodes);
  await run.stop();
  expect(after.state.primary!.nodeName).not.toBe(primary.name);
});

test("a container beside the primary is killed: the replica does not notice", async () => {
  const { primary } = await roles();
  const pid = await primary.pid("state", uid);
  await goesOnCounting(async () => void process.kill(await primary.pid("container", uid), "SIGKILL"));
  expect(await primary.pid("state", uid)).toBe(pid);
  expect((await roles()).primary.name).toBe(primary.name);
});

test("the primary's agent is killed: its replica serves on, and the next agent adopts it", async () => {
  const { primary } = await roles();
  const pid = await primary.pid("state", uid);
  const agent = await primary.pid("agent");
  await goesOnCounting(
    async () => void process.kill(agent, "SIGKILL"),
    () => void primary.start(),
  );
  await cluster().until("the next agent is there", async () => (await primary.pid("agent")) !== agent);
  await cluster().allUp();
  await inSync();
  expect(await primary.pid("state", uid)).toBe(pid);
});

test("the primary's whole node dies: another goes on, and the node comes back as a backup", async () => {
  const { primary } = await roles();
  const others = cluster().nodes.filter((node) => node !== primary);
  const run = await counting(cluster(), port);
  await run.counts(others);
  await primary.kill();
  await run.counts(others);
  primary.start();
  const after = await inSync();
  expect(after.state.primary!.nodeName).not.toBe(primary.name);
  await run.counts(cluster().nodes);
  await run.stop();
});

test("below min-in-sync writes fail at once and say why, and reads go on", async () => {
  await kv("put", "hello", "kept", "1");
  const { primary, backups } = await roles();
  for (const node of backups) await node.signal("SIGSTOP");
  try {
    const alone = async () => (await inspect()).state!.inSync === 1;
    await cluster().until("the others are out of sync", alone, 15_000);
    // A node that hangs is asked in vain for a while, before it counts as down.
    await cluster().until("they are down", async () => {
      const nodes = await cluster().api.nodes.list();
      return nodes.filter(({ state }) => state === "down").length === 2;
    });
    const began = performance.now();
    const put = await cluster().dvs(["kv", "put", "hello", "kept", "2"]);
    expect(put.code).toBe(6);
    expect(put.stderr).toMatch(/in sync/);
    expect(performance.now() - began).toBeLessThan(8_000); // far below the time after which it would be given up
    expect(await kv("get", "hello", "kept")).toMatchObject({ code: 0, stdout: "1\n" });
    await cluster().until("it is said", async () => {
      const { conditions } = await inspect();
      return conditions.some(({ message }) => message.includes("writes fail, reads go on"));
    });
    expect((await inspect()).state!.primary!.nodeName).toBe(primary.name);
  } finally {
    for (const node of backups) await node.signal("SIGCONT");
  }
  await inSync();
  expect(await kv("put", "hello", "kept", "3")).toMatchObject({ code: 0 });
});

test("while no coordinator answers the instance goes on, and its replicas stay", async () => {
  const before = await roles();
  const run = await counting(cluster(), port);
  await run.counts(cluster().nodes);
  cluster().killCoordinator();
  await cluster().coordinatorGone();
  await run.counts(cluster().nodes);
  await run.counts(cluster().nodes);
  await cluster().startCoordinator();
  await cluster().allUp();
  const after = await roles();
  expect({ primary: after.primary.name, epoch: after.epoch }).toEqual({
    primary: before.primary.name,
    epoch: before.epoch,
  });
  await run.stop();
});

test("an instance that is stopped and started has all that it had", async () => {
  await kv("put", "hello", "kept", "over a stop");
  const run = await counting(cluster(), port);
  await run.counts();
  await run.stop();
  expect((await cluster().dvs(["instance", "stop", "hello"])).code).toBe(0);
  await cluster().until("nothing of it runs", async () => {
    const processes = await Promise.all(cluster().nodes.map((node) => node.processes()));
    return processes.flat().every((p) => p.uid !== uid);
  });
  expect((await kv("get", "hello", "kept")).code).toBe(6);
  expect((await cluster().dvs(["instance", "start", "hello"])).code).toBe(0);
  await inSync();
  expect(await kv("get", "hello", "kept")).toMatchObject({ stdout: "over a stop\n" });
  const after = await counting(cluster(), port, run.acknowledged);
  await after.counts(cluster().nodes);
  await after.stop();
});

test("all processes of the cluster are killed at once: nothing that was acknowledged is lost", async () => {
  await kv("put", "hello", "kept", "over a blow");
  const run = await counting(cluster(), port);
  await run.counts(cluster().nodes);
  cluster().killCoordinator();
  await Promise.all(cluster().nodes.map((node) => node.kill()));
  await run.end();
  await cluster().coordinatorGone();
  await cluster().startCoordinator();
  for (const node of cluster().nodes) node.start();
  await cluster().allUp();
  await inSync();
  expect(await kv("get", "hello", "kept")).toMatchObject({ stdout: "over a blow\n" });
  const after = await counting(cluster(), port, run.acknowledged);
  await after.counts(cluster().nodes);
  await after.stop();
});

test("an instance that is removed leaves nothing behind", async () => {
  const left = (node: TestNode) => {
    const guard = guardLink(join(node.dataDir, "run/s", uid));
    return { guard, data: join(node.dataDir, "state", uid) };
  };
  const guards = cluster().nodes.map((node) => readlinkSync(left(node).guard));
  for (const path of guards) expect(existsSync(path)).toBe(true);
  for (const node of cluster().nodes) expect(existsSync(left(node).data)).toBe(true);
  expect((await cluster().dvs(["instance", "rm", "hello"])).code).toBe(0);
  for (const node of cluster().nodes) {
    await cluster().until(`nothing of it is left on ${node.name}`, async () => {
      const files = ["run/s", "run/c", "state"].flatMap((dir) => readdirSync(join(node.dataDir, dir)));
      const processes = (await node.processes()).filter((p) => p.uid !== "");
      return files.length === 0 && processes.length === 0;
    });
  }
  for (const path of guards) expect(existsSync(path)).toBe(false);
  expect((await kv("get", "hello", "kept")).code).toBe(3);
});
