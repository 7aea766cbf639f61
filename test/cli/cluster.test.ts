/** `dvs up`, instances on it, `dvs down`: real host processes. */
import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAlive, readDevCluster } from "../../cli/dev-cluster.ts";
import { localProcesses } from "../../core/agent/local-processes.ts";
import type { InstanceView } from "../../core/api/views.ts";
import { dvs } from "./fake-io.ts";

const home = mkdtempSync(join(tmpdir(), "dvs-up-"));
const env = { DVS_HOME: home };
const dev = join(home, "dev");
const run = (line: string, more: Record<string, string> = {}) =>
  dvs(line.split(" "), { env: { ...env, ...more } });

afterAll(async () => {
  if (existsSync(dev)) await run("down");
  rmSync(home, { recursive: true, force: true });
});

describe("a development cluster", () => {
  test("up starts a coordinator and the nodes, and writes the context", async () => {
    const { code, stdout, stderr } = await run("up --nodes 2 -o json --timeout 20s");
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(JSON.parse(stdout)).toMatchObject({ nodes: 2, started: ["coordinator", "node-1", "node-2"] });
    expect(existsSync(join(home, "context.json"))).toBe(true);
    const nodes = JSON.parse((await run("node ls -o json")).stdout) as {
      name: string;
      state: string;
      address: string;
    }[];
    expect(new Set(nodes.map((n) => `${n.name} ${n.state} ${n.address}`))).toEqual(
      new Set(["node-1 up 127.0.0.1", "node-2 up 127.0.0.2"]),
    );
  }, 30_000);

  test("up again starts nothing, and brings back what has died", async () => {
    expect(JSON.parse((await run("up -o json")).stdout)).toMatchObject({ nodes: 2, started: [] });
    const agent = readDevCluster(dev)!.processes.find((p) => p.role === "node-2")!;
    // At once: the killed agent is still seen in the process table.
    process.kill(agent.pid, "SIGKILL");
    expect(JSON.parse((await run("up -o json")).stdout)).toMatchObject({ started: ["node-2"] });
  }, 30_000);

  test("up fails, and shows why, when an agent ends at once though its node still counts as up", async () => {
    const identity = join(dev, "n2", "identity.json");
    const before = readFileSync(identity, "utf8");
    writeFileSync(identity, before.slice(0, 20));
    process.kill(readDevCluster(dev)!.processes.find((p) => p.role === "node-2")!.pid, "SIGKILL");
    const { code, stderr } = await run("up --timeout 20s");
    expect({ code, stderr }).toMatchObject({
      code: 8,
      stderr: expect.stringContaining("identity.json: it is missing or damaged") as string,
    });
    writeFileSync(identity, before);
    expect(JSON.parse((await run("up -o json")).stdout)).toMatchObject({ started: ["node-2"] });
  }, 30_000);

  test("fewer nodes than there are is a conflict that says how", async () => {
    const { code, stderr } = await run("up --nodes 1");
    expect({ code, stderr }).toMatchObject({
      code: 4,
      stderr: expect.stringContaining("dvs node leave") as string,
    });
  });

  test("create waits until it runs; the same name again is refused, or passed with --if-not-exists", async () => {
    const made = await run("instance create hi --os hello --nodes 2 --set greeting=moin -o json");
    expect({ code: made.code, stderr: made.stderr }).toMatchObject({ code: 0 });
    const view = JSON.parse(made.stdout) as InstanceView;
    expect(view).toMatchObject({
      name: "hi",
      phase: "running",
      ready: 2,
      spec: { options: { greeting: "moin" } },
    });
    expect((await run("instance create hi --os hello")).code).toBe(4);
    const again = await run("instance create hi --os hello --nodes 2 --if-not-exists -o json");
    expect(again.code).toBe(0);
    expect((JSON.parse(again.stdout) as InstanceView).uid).toBe(view.uid);
  }, 30_000);

  test("a name is made and printed where there is none; --detach does not wait", async () => {
    const { code, stdout } = await run("instance create --os hello --detach");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[a-z]+-[a-z]+-\d+\n$/);
    expect((await run(`instance rm ${stdout.trim()}`)).code).toBe(0);
  }, 30_000);

  test("what cannot be placed says why, and the end of the wait is exit code 7", async () => {
    const { code, stderr } = await run("instance create big --os hello --nodes 5 --timeout 300ms");
    expect(code).toBe(7);
    expect(stderr).toContain("big: pending — unschedulable: needs 5 nodes, 2 are up");
    expect((await run("instance rm big")).code).toBe(0);
  }, 30_000);

  test("the environment gives what the flags leave open", async () => {
    const { code, stdout } = await run("instance create env -o json --nodes 1", {
      DVS_INSTANCE_OS: "hello",
      DVS_INSTANCE_NODES: "2",
    });
    expect({ code, spec: (JSON.parse(stdout) as InstanceView).spec }).toMatchObject({
      code: 0,
      spec: { os: "hello", nodes: 1 },
    });
  }, 30_000);

  test("stop and start; ls, inspect, logs, events, status show it", async () => {
    expect((await run("instance stop hi")).code).toBe(0);
    expect(JSON.parse((await run("instance inspect hi -o json")).stdout)).toMatchObject({ phase: "stopped" });
    expect((await run("instance create hi --os hello --if-not-exists")).stderr).toContain(
      "instance hi is stopped",
    );
    expect((await run("instance start hi")).code).toBe(0);
    expect((await run("instance ls")).stdout).toMatch(/hi +hello +2\/2 +running/);
    expect((await run("instance logs hi")).stdout).toContain("hello booted");
    for (const line of (await run("events -o ndjson")).stdout.trim().split("\n")) {
      expect(JSON.parse(line)).toHaveProperty("reason");
    }
    expect(JSON.parse((await run("status -o json")).stdout)).toMatchObject({ status: { nodes: { up: 2 } } });
  }, 30_000);

  test("rm of several tells each failure and removes the rest", async () => {
    const { code, stderr } = await run("instance rm nothing hi env");
    expect({ code, stderr }).toMatchObject({ code: 3, stderr: expect.stringContaining("nothing") as string });
    expect((await run("instance rm nothing --ignore-missing")).code).toBe(0);
    expect(JSON.parse((await run("instance ls -o json")).stdout)).toEqual([]);
  }, 30_000);

  test("a token is shown once and works by itself", async () => {
    const { stdout } = await run("token create --role viewer");
    const context = JSON.parse(readFileSync(join(home, "context.json"), "utf8")) as { addresses: string[] };
    const viewer = { DVS_TOKEN: stdout.trim(), DVS_ADDR: context.addresses[0]!, DVS_HOME: "/nonexistent" };
    expect((await run("node ls", viewer)).code).toBe(0);
    expect((await run("instance create x --os hello", viewer)).code).toBe(5);
    expect((await run("token ls")).stdout).not.toContain(stdout.trim());
  }, 30_000);

  test("down ends every host process and says which", async () => {
    const processes = readDevCluster(dev)!.processes;
    const agents = (await Promise.all([1, 2].map((k) => localProcesses(join(dev, `n${k}`))))).flat();
    const { code, stdout } = await run("down -o json");
    expect(code).toBe(0);
    const ended = (JSON.parse(stdout) as { ended: { pid: number }[] }).ended.map((e) => e.pid);
    expect(new Set(ended)).toEqual(new Set([...processes, ...agents].map((p) => p.pid)));
    expect(ended.length).toBe(new Set(ended).size);
    for (const p of [...processes, ...agents]) expect(isAlive({ role: "", ...p })).toBe(false);
    expect(existsSync(dev)).toBe(false);
    expect(existsSync(join(home, "context.json"))).toBe(false);
    expect((await run("down")).code).toBe(0);
  }, 30_000);
});
