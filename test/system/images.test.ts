/** Images on real processes: sent once, verified where they are used, mended while they are served. */
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blobPath } from "../../core/image/blob-file.ts";
import { startLoad } from "../tools/load-process.ts";
import type { TestNode } from "./cluster.ts";
import { clusterForFile, createWeb, get, pages, writeSite } from "./fixture.ts";

const cluster = clusterForFile({ nodes: 2 });
const digestOf = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;
const { files } = pages(40);

async function build(dir: string, ...more: string[]) {
  const built = await cluster().dvs(["image", "build", dir, "-o", "json", ...more]);
  if (built.code !== 0) throw new Error(built.stderr);
  return JSON.parse(built.stdout) as { digest: string; files: number; sentFiles: number; sentBytes: number };
}

test("the second push of a directory sends nothing, and one changed file sends one", async () => {
  const dir = writeSite(cluster(), "docs", files);
  const first = await build(dir, "--name", "docs");
  expect(first).toMatchObject({ files: 41, sentFiles: 41 });
  const second = await build(dir, "--name", "docs");
  expect(second).toMatchObject({ digest: first.digest, sentFiles: 0, sentBytes: 0 });
  const changed = "<h1>another home</h1>\n";
  writeSite(cluster(), "docs", { "index.html": changed });
  const third = await build(dir, "--name", "docs");
  expect(third.digest).not.toBe(first.digest);
  expect(third).toMatchObject({ sentFiles: 1, sentBytes: changed.length });
  // The name moved to the newer one.
  const images = await cluster().api.images.list();
  expect(images.find((i) => i.digest === third.digest)?.names).toEqual(["docs"]);
  expect(images.find((i) => i.digest === first.digest)?.names).toEqual([]);
});

test("an image is removed when no instance uses it, and not before", async () => {
  const made = await cluster().dvs(["instance", "create", "docs", "--os", "web", "--image", "docs"]);
  expect(made.code).toBe(0);
  const refused = await cluster().dvs(["image", "rm", "docs"]);
  expect(refused.code).toBe(4);
  expect(refused.stderr).toContain('"docs" uses it');
  expect((await cluster().dvs(["instance", "stop", "docs"])).code).toBe(0);
  expect((await cluster().dvs(["image", "rm", "docs"])).code).toBe(4);
  expect((await cluster().dvs(["instance", "rm", "docs"])).code).toBe(0);
  expect((await cluster().dvs(["image", "rm", "docs"])).code).toBe(0);
  expect((await cluster().dvs(["image", "rm", "docs"])).code).toBe(3);
});

test("corrupted and deleted blobs of a node are found and fetched anew while it serves", async () => {
  const web = await createWeb(cluster(), "web", 2);
  const bad = cluster().node(web.view.containers[0]!.nodeName);
  const blob = (node: TestNode, page: string) =>
    blobPath(join(node.dataDir, "blobs"), digestOf(files[page]!));
  // Of half the pages that nobody has read yet, some lie, some are cut, and some are gone.
  const broken = Array.from({ length: 12 }, (_, i) => `page-${i + 20}.html`);
  for (const [i, page] of broken.entries()) {
    const file = blob(bad, page);
    expect(existsSync(file)).toBe(true);
    if (i % 3 === 0) rmSync(file);
    else writeFileSync(file, i % 3 === 1 ? "y".repeat(files[page]!.length) : "y");
  }
  const load = startLoad({ host: bad.address, rate: 200, seconds: 2, ...web });
  for (const page of broken) {
    const answer = await get(bad.address, web.port, `/${page}`);
    expect({ page, status: answer.status, text: answer.text }).toEqual({
      page,
      status: 200,
      text: files[page]!,
    });
    expect(answer.headers.get("x-dvs-node")).toBe(bad.name);
  }
  const report = await load.report;
  expect(report.failures).toEqual([]);
  expect(report.failed).toBe(0);
  for (const page of broken) expect(readFileSync(blob(bad, page), "utf8")).toBe(files[page]!);
});

test("a blob that is missing on the node and at the coordinator is an error of its own page, until it is pushed again", async () => {
  const { spec } = await cluster().api.instances.get("web");
  const port = spec.publish[0]!.port;
  const page = "page-39.html";
  const at = (dir: string) => blobPath(join(dir, "blobs"), digestOf(files[page]!));
  for (const dir of [cluster().coordinatorDir, ...cluster().nodes.map((n) => n.dataDir)]) rmSync(at(dir));
  const node = cluster().nodes[0]!;
  const refused = await get(node.address, port, `/${page}`);
  expect(refused.status).toBe(503);
  expect((await get(node.address, port, "/page-1.html")).status).toBe(200);
  expect(await build(join(cluster().dir, "sites", "web"))).toMatchObject({ sentFiles: 1 });
  await cluster().until("the page is whole again", async () => {
    const answer = await get(node.address, port, `/${page}`);
    return answer.status === 200 && answer.text === files[page];
  });
});
