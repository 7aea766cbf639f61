/** What people get wrong, and what stands in the way: told with its reason, and nothing is left behind. */
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { freePort } from "../tools/free-port.ts";
import { clusterForFile, failure, get, helloRequest, refuses } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 2 });
const create = (name: string, ...more: string[]) => cluster().dvs(["instance", "create", name, ...more]);
const names = async () => (await cluster().api.instances.list()).map((i) => i.name);

test("an unknown OS, flag or role is refused with a suggestion", async () => {
  const os = await create("a", "--os", "helo");
  expect(os.code).toBe(2);
  expect(os.stderr).toContain('did you mean "hello"');
  expect(
    await failure(cluster().api.instances.create({ name: "a", spec: { os: "helo", nodes: 1 } })),
  ).toMatchObject({
    code: "INVALID",
    issues: [{ path: "spec.os" }],
  });
  const flag = await create("a", "--os", "hello", "--noeds", "2");
  expect(flag.code).toBe(2);
  expect(flag.stderr).toContain("--nodes");
  const role = await cluster().dvs(["token", "create", "--role", "operater"]);
  expect(role.code).toBe(2);
  expect(role.stderr).toContain("operator");
  expect(await names()).toEqual([]);
});

test("invalid options are refused by the command and by the API alike, all at once", async () => {
  const options = await create("a", "--os", "hello", "--set", "greting=hi", "--set", "greeting=");
  expect(options.code).toBe(2);
  expect(options.stderr).toContain("greting");
  expect(options.stderr).toContain("greeting");
  const spec = { os: "hello", nodes: 1, options: { greting: "hi", greeting: "" } };
  const refused = await failure(cluster().api.instances.create({ name: "a", spec }));
  expect(refused.code).toBe("INVALID");
  expect(refused.issues?.length).toBe(2);
  expect((await create("Not_A_Name", "--os", "hello")).code).toBe(2);
  expect((await create("a", "--os", "web")).code).toBe(2);
  expect((await create("a", "--os", "hello", "--publish", "70000")).code).toBe(2);
  expect((await create("a", "--os", "hello", "--nodes", "0")).code).toBe(2);
  expect(await names()).toEqual([]);
});

test("all mistakes of a configuration file are told at once, each with where it stands", async () => {
  const file = join(cluster().dir, "wrong.yaml");
  writeFileSync(file, "name: Bad Name\nos: hello\nnodes: many\npublish: [8080, 8080, x]\ncolour: red\n");
  const refused = await cluster().dvs(["instance", "create", "--file", file]);
  expect(refused.code).toBe(2);
  for (const part of ["name", "nodes", "publish", "colour", "wrong.yaml"])
    expect(refused.stderr).toContain(part);
  expect(await names()).toEqual([]);
});

test("an image that does not exist is told; a site that does not exist too", async () => {
  const image = await create("a", "--os", "web", "--image", "nothing");
  expect(image.code).toBe(3);
  expect(image.stderr).toContain("nothing");
  const site = await create("a", "--os", "web", "--site", join(cluster().dir, "nowhere"));
  expect(site.code).toBe(3);
  expect(site.stderr).toContain("nowhere");
  expect(await names()).toEqual([]);
});

test("a name is given once, and a port is published once", async () => {
  const port = await freePort();
  expect((await create("first", "--os", "hello", "--publish", String(port))).code).toBe(0);
  const name = await create("first", "--os", "hello");
  expect(name.code).toBe(4);
  expect(name.stderr).toContain("first");
  const second = await create("second", "--os", "hello", "--publish", String(port));
  expect(second.code).toBe(4);
  expect(second.stderr).toContain(`port ${port}`);
  expect(second.stderr).toContain('"first"');
  const twice = await create(
    "third",
    "--os",
    "hello",
    "--publish",
    String(port + 1),
    "--publish",
    String(port + 1),
  );
  expect(twice.code).toBe(2);
  expect(twice.stderr).toContain("twice");
  const request = helloRequest("third", 1, [port + 1, port + 1]);
  expect((await failure(cluster().api.instances.create(request))).code).toBe("INVALID");
  expect(await names()).toEqual(["first"]);
  expect((await cluster().dvs(["instance", "rm", "first"])).code).toBe(0);
});

test("of two commands that create the same name at once exactly one wins, ten times", async () => {
  for (let round = 0; round < 10; round++) {
    const both = await Promise.all([1, 2].map(() => create("same", "--os", "hello", "--timeout", "30s")));
    expect(both.map((r) => r.code).sort((a, b) => a - b)).toEqual([0, 4]);
    expect(await names()).toEqual(["same"]);
    expect((await cluster().dvs(["instance", "rm", "same"])).code).toBe(0);
  }
});

test("a port that another program has on one node: the creation fails with its name, and is rolled back", async () => {
  const port = await freePort();
  const [, victim] = cluster().nodes;
  const stranger = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => stranger.listen(port, victim!.address, resolve));
  try {
    const refused = await create("blocked", "--os", "hello", "--nodes", "2", "--publish", String(port));
    expect(refused.code).toBe(8);
    expect(refused.stderr).toContain(victim!.name);
    expect(refused.stderr).toContain(`port ${port}`);
    expect(refused.stderr).toContain("in use by another program");
    await cluster().until("nothing is left of it", async () => (await names()).length === 0);
    expect(await refuses(cluster().nodes[0]!.address, port)).toBe(true);
    for (const node of cluster().nodes) {
      expect((await node.processes()).filter((p) => p.kind === "container")).toEqual([]);
    }
  } finally {
    stranger.close();
  }
  // Name and port are free again.
  const again = await create("blocked", "--os", "hello", "--nodes", "2", "--publish", String(port));
  expect({ code: again.code, stderr: again.code === 0 ? "" : again.stderr }).toEqual({ code: 0, stderr: "" });
  for (const { address } of cluster().nodes) expect((await get(address, port)).status).toBe(200);
  expect((await cluster().dvs(["instance", "rm", "blocked"])).code).toBe(0);
});

test("what needs more nodes than there are waits and says so; the command's wait ends with 7, and a node that joins helps", async () => {
  const early = await create("large", "--os", "hello", "--nodes", "3", "--timeout", "1s");
  expect(early.code).toBe(7);
  expect(early.stderr).toContain("needs 3 nodes, 2 are up");
  const view = await cluster().api.instances.get("large");
  expect(view.phase).toBe("pending");
  expect(view.conditions).toEqual([{ reason: "unschedulable", message: "needs 3 nodes, 2 are up" }]);
  expect(view.containers).toEqual([]);
  const labelled = await create("picky", "--os", "hello", "--on", "disk=ssd", "--timeout", "1s");
  expect(labelled.code).toBe(7);
  expect(labelled.stderr).toContain("0 match on disk=ssd");

  const { token } = await cluster().api.tokens.create({ kind: "join" });
  cluster().newNode().join(token, ["--label", "disk=ssd"]);
  expect((await cluster().phase("large", "running")).ready).toBe(3);
  const picky = await cluster().phase("picky", "running");
  expect(picky.containers.map((c) => c.nodeName)).toEqual(["n3"]);
});

test("what does not exist is told with exit code 3, and no coordinator with 6", async () => {
  for (const args of [
    ["instance", "inspect"],
    ["instance", "rm"],
    ["instance", "stop"],
    ["node", "inspect"],
    ["image", "rm"],
  ]) {
    const refused = await cluster().dvs([...args, "nothing"]);
    expect({ args, code: refused.code }).toEqual({ args, code: 3 });
    expect(refused.stderr).toContain("nothing");
  }
  const nobody = await cluster().dvs(["status"], { DVS_ADDR: `${cluster().subnet}.249:1` });
  expect(nobody.code).toBe(6);
  const json = await cluster().dvs(["instance", "inspect", "nothing", "-o", "json"]);
  expect(JSON.parse(json.stderr)).toMatchObject({ error: { code: "NOT_FOUND" } });
  expect(json.stdout).toBe("");
});
