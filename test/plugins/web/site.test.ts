/** What options change, asked of a site without a container around it. */
import { describe, expect, test } from "bun:test";
import plugin from "../../../plugins/web/plugin.ts";
import { WebOptions } from "../../../plugins/web/options.ts";
import type { Vos } from "../../../core/vos.ts";
import type { Tree } from "../../core/container/test-image.ts";
import { imageOf } from "../test-image.ts";

const tree: Tree = {
  "/index.html": "home",
  "/app.html": "app",
  "/about.html": "about",
  "/both.html": "file",
  "/both/index.html": "directory",
  "/docs/index.html": "docs",
  "/docs/default.htm": "default",
  "/.env": "SECRET",
  "/a.txt": "a",
  "/a.txt.gz": "gz",
  "/a.txt.br": "br",
};

async function siteOf(options: Record<string, unknown>, files: Tree = tree) {
  const access: string[] = [];
  const vos = await plugin.boot(
    {
      tenant: "default",
      instance: "test",
      uid: "u1",
      node: { id: "n1", name: "node-1" },
      incarnation: "i1",
      kernel: null,
      state: null,
      image: await imageOf(files),
      log: () => undefined,
      accessLog: (line) => access.push(line),
    },
    WebOptions.parse(options),
  );
  return { get: getter(vos), access };
}

function getter(vos: Vos) {
  return async (path: string, init: RequestInit = {}) => {
    const request = new Request(`http://site.test${path}`, init);
    const response = await vos.fetch(request, { peer: "127.0.0.1" });
    return {
      status: response.status,
      headers: response.headers,
      location: response.headers.get("location"),
      body: await response.text(),
    };
  };
}

describe("single-page app", () => {
  test("a path that names no file and has no extension gets the fallback, with 200", async () => {
    const { get } = await siteOf({ spaFallback: "/app.html" });
    expect(await get("/users/7")).toMatchObject({ status: 200, body: "app" });
    expect(await get("/users/7")).toMatchObject({ status: 200, body: "app" });
  });
  test("a missing asset stays missing", async () => {
    const { get } = await siteOf({ spaFallback: "/app.html" });
    expect((await get("/users/app.js")).status).toBe(404);
  });
  test("what is hidden stays hidden, and what is refused refused", async () => {
    const { get } = await siteOf({ spaFallback: "/app.html" });
    expect((await get("/.git")).status).toBe(404);
    expect((await get("/a%2fb")).status).toBe(400);
  });
  test("a fallback that the image has not got is a mistake of the options", async () => {
    const failed = await siteOf({ spaFallback: "/nope.html" }).catch((e: Error) => e);
    expect(failed).toMatchObject({ code: "INVALID", message: expect.stringContaining("/nope.html") });
  });
});

describe("clean URLs", () => {
  test("a page answers without its extension, and the long form leads to the short one", async () => {
    const { get } = await siteOf({ cleanUrls: true });
    expect(await get("/about")).toMatchObject({ status: 200, body: "about" });
    expect(await get("/about.html?x=1")).toMatchObject({ status: 308, location: "/about?x=1" });
    expect(await get("/docs/index.html")).toMatchObject({ status: 308, location: "/docs/" });
    expect(await get("/index.html")).toMatchObject({ status: 308, location: "/" });
    expect(await get("/a.txt")).toMatchObject({ status: 200 });
  });
  test("a page goes before a directory of its name, which keeps its slash", async () => {
    const { get } = await siteOf({ cleanUrls: true });
    expect(await get("/both")).toMatchObject({ status: 200, body: "file" });
    expect(await get("/both/")).toMatchObject({ status: 200, body: "directory" });
  });
  test("without the option there are none", async () => {
    const { get } = await siteOf({});
    expect((await get("/about")).status).toBe(404);
    expect((await get("/about.html")).body).toBe("about");
  });
});

test("index files are tried in order", async () => {
  const { get } = await siteOf({ index: ["default.htm", "index.html"] });
  expect((await get("/docs/")).body).toBe("default");
  expect((await get("/")).body).toBe("home");
});

test("dot files are served when they are allowed", async () => {
  const { get } = await siteOf({ dotFiles: true });
  expect((await get("/.env")).body).toBe("SECRET");
});

test("a 404 without a page of one's own is a line of text", async () => {
  const { get } = await siteOf({});
  expect(await get("/nowhere")).toMatchObject({ status: 404, body: "404 Not Found\n" });
});

test("without modifiedAt nothing is told of dates, and dates are not judged", async () => {
  const { get } = await siteOf({});
  const since = { "if-modified-since": "Sat, 03 Jan 2099 00:00:00 GMT" };
  const answer = await get("/a.txt", { headers: since });
  expect(answer.status).toBe(200);
  expect(answer.headers.has("last-modified")).toBe(false);
});

test("headers that nobody asked for can be switched off", async () => {
  const { get, access } = await siteOf({
    securityHeaders: false,
    cacheControl: null,
    charset: "",
    accessLog: false,
  });
  const { headers } = await get("/index.html");
  const names = [...headers.keys()].sort();
  expect(names.filter((name) => name !== "content-length")).toEqual([
    "accept-ranges",
    "content-type",
    "etag",
  ]);
  expect(headers.get("content-type")).toBe("text/html");
  expect(access).toEqual([]);
});

test("precompressed neighbours are files like others when they are not wanted", async () => {
  const { get } = await siteOf({ precompressed: false });
  const answer = await get("/a.txt", { headers: { "accept-encoding": "br" } });
  expect(answer).toMatchObject({ body: "a" });
  expect(answer.headers.has("vary")).toBe(false);
  expect((await get("/a.txt.gz")).headers.get("content-type")).toBe("application/gzip");
});

test("equal files have equal tags on every node, different ones different tags", async () => {
  const [one, two] = [await siteOf({}), await siteOf({})];
  const tag = async (site: typeof one, path: string) => (await site.get(path)).headers.get("etag");
  expect(await tag(one, "/a.txt")).toBe(await tag(two, "/a.txt"));
  expect(await tag(one, "/a.txt")).not.toBe(await tag(one, "/about.html"));
});

test("the first and the hundredth answer are the same", async () => {
  const { get } = await siteOf({ nodeHeader: true });
  const first = await get("/a.txt", { headers: { "accept-encoding": "br" } });
  for (let i = 0; i < 100; i++) {
    const again = await get("/a.txt", { headers: { "accept-encoding": "br" } });
    expect([...again.headers]).toEqual([...first.headers]);
    expect(again.body).toBe("br");
  }
});

test("a cache smaller than the site serves all of it", async () => {
  const files: Tree = {};
  for (let i = 0; i < 50; i++) files[`/f${i}.txt`] = `${i}`.repeat(1_000);
  const { get } = await siteOf({ cacheBytes: 8_000, cacheFileBytesMax: 1_500 }, files);
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 50; i++) expect((await get(`/f${i}.txt`)).body).toBe(`${i}`.repeat(1_000));
  }
});

test("no cache at all serves too", async () => {
  const { get } = await siteOf({ cacheBytes: 0 });
  for (let i = 0; i < 3; i++) expect((await get("/a.txt")).body).toBe("a");
});
