/**
 * A web instance on its volume, on real host processes: what is put through one node's port is served by every other at
 * the next request, and what was acknowledged is there whatever dies. Two replicas: one node of three has none.
 */
import { beforeAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { freePort } from "../tools/free-port.ts";
import type { TestNode } from "./cluster.ts";
import { clusterForFile, pages, stateInSync, writeSite } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 3 });
const token = "an-upload-token";
let port = 0;
let uid = "";

beforeAll(async () => {
  port = await freePort();
  const { files } = pages(300);
  const site = writeSite(cluster(), "volume", { ...files, "large.bin": "0123456789".repeat(300_000) });
  const request = {
    kind: "instance",
    name: "volume",
    os: "web",
    nodes: 3,
    replicas: 2,
    publish: [port],
    site,
    options: {
      files: "volume",
      nodeHeader: true,
      uploads: {
        paths: ["/files/**"],
        tokens: [createHash("sha256").update(token).digest("hex")],
      },
    },
  };
  const path = join(cluster().dir, "volume.yaml");
  writeFileSync(path, stringify(request));
  const created = await cluster().dvs(["instance", "create", "--file", path]);
  if (created.code !== 0) throw new Error(`create ended with ${created.code}: ${created.stderr}`);
  ({ uid } = await stateInSync(cluster(), "volume"));
  expect([201, 405]).toContain((await ask(cluster().nodes[0]!, "/files", { method: "MKCOL" })).status);
}, 120_000);

/**
 * Asks again where the instance is not at hand just now, as on a machine that has too much to do: a request may so be
 * carried out twice, and say so with 204, 404, 405 or 412 in place of what the first one would have.
 */
async function ask(node: TestNode, path: string, init: RequestInit = {}) {
  for (let again = 0; ; again++) {
    const answer = await askOnce(node, path, init);
    if (answer.status < 502 || answer.status > 504) return { ...answer, again };
    if (again === 40) throw new Error(`${path} is answered with ${answer.status} all the time`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function askOnce(node: TestNode, path: string, init: RequestInit = {}) {
  const response = await fetch(`http://${node.address}:${port}${path}`, {
    ...init,
    headers: { connection: "close", authorization: `Bearer ${token}`, ...(init.headers as object) },
    redirect: "manual",
    signal: AbortSignal.timeout(20_000),
  });
  const body = await response.text();
  return { status: response.status, headers: response.headers, body, etag: response.headers.get("etag") };
}

test("every node serves what the image began with, from a container of its own", async () => {
  const answers = await Promise.all(cluster().nodes.map((node) => ask(node, "/page-7.html")));
  const bodies = new Set(answers.map(({ body }) => body));
  expect([...bodies]).toEqual([`<p>page-7.html</p>${"x".repeat(49)}\n`]);
  expect(new Set(answers.map(({ etag }) => etag)).size).toBe(1);
  await cluster().until("each node answers by itself", async () => {
    const own = await Promise.all(cluster().nodes.map((node) => ask(node, "/")));
    return own.every(({ headers }, i) => headers.get("x-dvs-node") === cluster().nodes[i]!.name);
  });
  for (const node of cluster().nodes) {
    const part = await ask(node, "/large.bin", { headers: { range: "bytes=2000003-2000005" } });
    expect(part).toMatchObject({ status: 206, body: "345" });
    expect((await ask(node, "/large.bin")).body.length).toBe(3_000_000);
  }
});

test("what is put through one node is served by every other at once, under one tag, until it is removed", async () => {
  const { nodes } = cluster();
  for (let i = 0; i < 30; i++) {
    const writer = nodes[i % 3]!;
    const path = `/files/${i % 4}.txt`;
    const put = await ask(writer, path, { method: "PUT", body: `content ${i}` });
    expect([201, 204]).toContain(put.status);
    const answers = await Promise.all(nodes.map((node) => ask(node, path)));
    for (const { status, body, etag } of answers) {
      expect({ status, body, etag }).toEqual({ status: 200, body: `content ${i}`, etag: put.etag });
    }
  }
  const removed = await ask(nodes[1]!, "/files/1.txt", { method: "DELETE" });
  expect(removed.again === 0 ? [204] : [204, 404]).toContain(removed.status);
  const after = await Promise.all(nodes.map((node) => ask(node, "/files/1.txt")));
  expect(after.map(({ status }) => status)).toEqual([404, 404, 404]);
});

test("a large upload arrives whole, and half of one changes nothing", async () => {
  const { nodes } = cluster();
  const body = Buffer.alloc(5_000_000, "large");
  expect([201, 204]).toContain((await ask(nodes[2]!, "/files/large", { method: "PUT", body })).status);
  for (const node of nodes) expect((await ask(node, "/files/large")).body).toBe(body.toString());
  await sendHalf(nodes[0]!, "/files/large");
  await sendHalf(nodes[0]!, "/files/half");
  for (const node of nodes) {
    expect((await ask(node, "/files/large")).body.length).toBe(5_000_000);
    expect((await ask(node, "/files/half")).status).toBe(404);
  }
});

/** Says that 1 MB comes, and goes away in the middle: once with a length, once in chunks. */
async function sendHalf(node: TestNode, path: string): Promise<void> {
  const { createConnection } = await import("node:net");
  for (const framing of ["content-length: 1000000\r\n\r\n", "transfer-encoding: chunked\r\n\r\n7a120\r\n"]) {
    const socket = createConnection({ host: node.address, port });
    socket.on("error", () => undefined);
    const head = `PUT ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n${framing}`;
    await new Promise((resolve) => socket.write(head + "x".repeat(400_000), resolve));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await new Promise((resolve) => socket.destroy().once("close", resolve));
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
}

test("a tag that is no longer true is refused on every node", async () => {
  const [one, two, three] = cluster().nodes as [TestNode, TestNode, TestNode];
  const first = await ask(one, "/files/guarded", { method: "PUT", body: "1" });
  const headers = { "if-match": first.etag! };
  const second = await ask(two, "/files/guarded", { method: "PUT", body: "2", headers });
  expect(second.again === 0 ? [204] : [204, 412]).toContain(second.status);
  expect((await ask(three, "/files/guarded", { method: "PUT", body: "3", headers })).status).toBe(412);
  expect((await ask(one, "/files/guarded", { method: "DELETE", headers })).status).toBe(412);
  expect((await ask(one, "/files/guarded")).body).toBe("2");
});

test("the primary is killed while files are put: each that was acknowledged is there, and none is half", async () => {
  const { nodes } = cluster();
  const contentOf = (name: string) => `${name} `.repeat(20_000);
  const acknowledged: string[] = [];
  const tried: string[] = [];
  const stopping = new AbortController();
  const writers = nodes.map(async (node) => {
    for (let i = 0; !stopping.signal.aborted; i++) {
      const name = `${node.name}-${i}`;
      tried.push(name);
      const put = await askOnce(node, `/files/${name}`, { method: "PUT", body: contentOf(name) }).catch(
        () => null,
      );
      if (put?.status === 201) acknowledged.push(name);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  const more = async () => {
    const before = acknowledged.length;
    await cluster().until("more is acknowledged", () => acknowledged.length >= before + 6, 90_000);
  };
  await more();
  for (let kills = 0; kills < 2; kills++) {
    const { state } = await stateInSync(cluster(), "volume");
    process.kill(await cluster().node(state.primary!.nodeName).pid("state", uid), "SIGKILL");
    await more();
  }
  stopping.abort();
  await Promise.all(writers);
  await stateInSync(cluster(), "volume");
  for (const [i, name] of tried.entries()) {
    const { status, body } = await ask(nodes[i % 3]!, `/files/${name}`);
    if (status === 200) expect(body).toBe(contentOf(name));
    else
      expect({ name, status, acknowledged: acknowledged.includes(name) }).toEqual({
        name,
        status: 404,
        acknowledged: false,
      });
  }
});

test("a container that is killed comes back to the same files", async () => {
  const node = cluster().nodes[1]!;
  const before = await ask(node, "/files/guarded");
  process.kill(await node.pid("container", uid), "SIGKILL");
  await cluster().until("it serves again", async () => {
    const { status, headers } = await askOnce(node, "/files/guarded").catch(() => ({
      status: 0,
      headers: new Headers(),
    }));
    return status === 200 && headers.get("x-dvs-node") === node.name;
  });
  const { body, etag } = await ask(node, "/files/guarded");
  expect({ body, etag }).toEqual({ body: before.body, etag: before.etag });
});
