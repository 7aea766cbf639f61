/** A site that is served from the volume: what is written through one node is served by every other at once. */
import { afterAll, beforeAll, describe, expect, test, setDefaultTimeout } from "bun:test";
import { kinds } from "../../../core/files/attributes.ts";
import type { VolumeClient } from "../../../core/files/client/volume-client.ts";
import { openPath } from "../../../core/files/paths.ts";
import { PathCalls } from "../../../core/files/path-calls.ts";
import { rootIno } from "../../../core/files/file-system.ts";
import { WebOptions } from "../../../plugins/web/options.ts";
import { type Ask, WebVolume } from "./volume-harness.ts";

/** Others may need the processor. */
setDefaultTimeout(60_000);

const big = "0123456789".repeat(150_000);
const tree = {
  "/index.html": "home",
  "/404.html": "lost",
  "/app.js": "plain",
  "/app.js.br": "br",
  "/docs/index.html": "docs",
  "/docs/two words.html": "two words",
  "/empty.txt": "",
  "/big.bin": big,
  "/.env": "SECRET",
  "/link.txt": { link: "docs/index.html" },
  "/dangling": { link: "nowhere" },
  "/files/old.txt": "old",
};
const options = { cacheFileBytesMax: 64 * 1024 };

let web: WebVolume;
let one: Ask;
let two: Ask;
let files: VolumeClient;
beforeAll(async () => {
  web = await WebVolume.open(tree);
  const [first, second] = [await web.container(options), await web.container(options)];
  one = first.ask;
  two = second.ask;
  files = first.files;
}, 60_000);
afterAll(() => web.close(), 60_000);

/** As somebody does it who has the volume mounted. */
async function write(path: string, content: string, flags = { truncate: true }): Promise<void> {
  const { file } = await openPath(files, path, { create: 0o644, write: true, ...flags });
  await file.write(0, Buffer.from(content));
  await file.close();
}

describe("what the volume begins with", () => {
  test.each([
    ["/", 200, "home"],
    ["/docs/", 200, "docs"],
    ["/docs/two%20words.html", 200, "two words"],
    ["/empty.txt", 200, ""],
    ["/link.txt", 200, "docs"],
    ["/big.bin", 200, big],
    ["/nothing", 404, "lost"],
    ["/dangling", 404, "lost"],
    ["/.env", 404, "lost"],
    ["/files/", 404, "lost"],
    ["/index.html/", 404, "lost"],
    ["/docs//index.html", 404, "lost"],
    ["/docs%2findex.html", 400, "400 Bad Request\n"],
    ["/docs/../index.html%00", 400, "400 Bad Request\n"],
    ["/.dvs-uploads/x", 404, "lost"],
  ])("%s", async (path, status, body) => {
    const answer = await one(path);
    expect(answer.status).toBe(status);
    expect(answer.body).toBe(body);
  });
  test("a directory leads to its index", async () => {
    expect((await one("/docs")).headers.get("location")).toBe("/docs/");
  });
  test("all of it is there when a container is, and a second one brings nothing twice", async () => {
    const names = async () => (await new PathCalls(files).list("/")).map(({ name }) => name);
    const before = await names();
    await web.container(options);
    expect(await names()).toEqual(before);
    expect(before.toSorted()).toEqual([
      ".env",
      "404.html",
      "app.js",
      "app.js.br",
      "big.bin",
      "dangling",
      "docs",
      "empty.txt",
      "files",
      "index.html",
      "link.txt",
    ]);
  });
  test("what was removed does not come back with the next container", async () => {
    await new PathCalls(files).unlink("/files/old.txt");
    const { ask } = await web.container(options);
    expect((await ask("/files/old.txt")).status).toBe(404);
  });
});

describe("a file that is changed by somebody on another node", () => {
  test("is served by every node at the next request, under one entity tag", async () => {
    await write("/page.html", "first");
    const [first, again] = [await one("/page.html"), await two("/page.html")];
    expect([first.body, again.body]).toEqual(["first", "first"]);
    expect(first.etag).toMatch(/^"[\w.-]+"$/);
    expect(again.etag).toBe(first.etag);
    await write("/page.html", "other");
    const [changed, there] = [await two("/page.html"), await one("/page.html")];
    expect([changed.body, there.body]).toEqual(["other", "other"]);
    expect(changed.etag).not.toBe(first.etag);
    expect(there.etag).toBe(changed.etag);
  });
  test("is not said to be the same by its old tag, nor when its time is set back", async () => {
    await write("/same.html", "aaaa");
    const { etag } = await one("/same.html");
    const headers = { "if-none-match": etag };
    expect((await two("/same.html", { headers })).status).toBe(304);
    const attributes = await files.lookup(rootIno, "same.html");
    await write("/same.html", "bbbb");
    await files.setAttributes(attributes.ino, { mtime: attributes.mtime });
    expect(await two("/same.html", { headers })).toMatchObject({ status: 200, body: "bbbb" });
  });
  test("is gone when it is removed, and new when it is made again", async () => {
    await write("/brief.html", "1");
    expect((await two("/brief.html")).status).toBe(200);
    await new PathCalls(files).unlink("/brief.html");
    expect((await two("/brief.html")).status).toBe(404);
    await write("/brief.html", "1");
    expect((await two("/brief.html")).status).toBe(200);
  });
  test("has a compressed neighbour only if that is of its content", async () => {
    const headers = { "accept-encoding": "br" };
    expect(await one("/app.js", { headers })).toMatchObject({ body: "br" });
    await write("/app.js", "changed");
    expect(await one("/app.js", { headers })).toMatchObject({ body: "changed" });
    await write("/app.js.br", "br of changed");
    const answer = await one("/app.js", { headers });
    expect(answer.body).toBe("br of changed");
    expect(answer.headers.get("content-encoding")).toBe("br");
    expect((await one("/app.js")).body).toBe("changed");
  });
  test("a neighbour that comes later is found, though there was none before", async () => {
    const headers = { "accept-encoding": "gzip" };
    await write("/late.js", "plain");
    expect((await two("/late.js", { headers })).body).toBe("plain");
    expect((await two("/late.js", { headers })).body).toBe("plain");
    await write("/late.js.gz", "packed");
    expect((await two("/late.js", { headers })).body).toBe("packed");
  });
});

describe("ranges and conditions", () => {
  test("a part of a large file, and of one in memory", async () => {
    const large = await one("/big.bin", { headers: { range: "bytes=1000001-1000005" } });
    expect(large).toMatchObject({ status: 206, body: "12345" });
    expect(large.headers.get("content-range")).toBe(`bytes 1000001-1000005/${big.length}`);
    expect(await one("/docs/", { headers: { range: "bytes=-2" } })).toMatchObject({
      status: 206,
      body: "cs",
    });
  });
  test("several parts", async () => {
    const answer = await one("/big.bin", { headers: { range: "bytes=0-1,5-6" } });
    expect(answer.status).toBe(206);
    expect(answer.body).toContain("\r\n\r\n01\r\n");
    expect(answer.body).toContain("\r\n\r\n56\r\n");
  });
  test("a part of what it was gets all of what it is", async () => {
    await write("/ranged.txt", "0123456789");
    const { etag } = await one("/ranged.txt");
    await write("/ranged.txt", "abcdefghij");
    const headers = { range: "bytes=2-3", "if-range": etag };
    expect(await two("/ranged.txt", { headers })).toMatchObject({ status: 200, body: "abcdefghij" });
  });
  test("HEAD says what GET would", async () => {
    const [head, get] = [await one("/docs/", { method: "HEAD" }), await one("/docs/")];
    expect(head.body).toBe("");
    for (const name of ["etag", "last-modified", "content-type"]) {
      expect(head.headers.get(name)).toBe(get.headers.get(name));
    }
  });
});

describe("a file that changes while it is sent", () => {
  test("ends without its rest where it was written to: two contents are never mixed", async () => {
    await write("/mixed.bin", "a".repeat(3_000_000));
    const { vos } = await web.container(options);
    const response = await vos.fetch(new Request("http://site.test/mixed.bin"), { peer: "" });
    const reader = response.body!.getReader();
    const first = await reader.read();
    expect(new Set(first.value)).toEqual(new Set(Buffer.from("a")));
    await write("/mixed.bin", "b".repeat(3_000_000), { truncate: false });
    const bytes = new Set(first.value);
    const rest = async () => {
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        for (const byte of next.value) bytes.add(byte);
      }
    };
    const end = await rest().then(
      () => "whole",
      () => "cut",
    );
    expect({ end, bytes: [...bytes] }).toEqual({ end: "cut", bytes: [...Buffer.from("a")] });
  });
  test("is sent to its end where another one took its name", async () => {
    await write("/replaced.bin", "a".repeat(3_000_000));
    const { vos } = await web.container(options);
    const response = await vos.fetch(new Request("http://site.test/replaced.bin"), { peer: "" });
    const reader = response.body!.getReader();
    let bytes = (await reader.read()).value!.length;
    await write("/other.bin", "b");
    await new PathCalls(files).rename("/other.bin", "/replaced.bin");
    for (let next = await reader.read(); !next.done; next = await reader.read()) bytes += next.value.length;
    expect(bytes).toBe(3_000_000);
    expect((await two("/replaced.bin")).body).toBe("b");
  });
});

test("a hot file costs the lookup of its name and of its directory, and no byte of it", async () => {
  const calls: string[] = [];
  const { ask } = await web.container(options, (client) => {
    const watched = Object.create(client) as VolumeClient;
    for (const name of ["lookup", "attributes", "open", "entries", "readLink"] as const) {
      Object.defineProperty(watched, name, {
        value: (...given: never[]) => {
          calls.push(name);
          return (client[name] as (...of: never[]) => unknown)(...given);
        },
      });
    }
    return watched;
  });
  await ask("/docs/index.html");
  calls.length = 0;
  expect((await ask("/docs/index.html")).body).toBe("docs");
  expect(calls).toEqual(["lookup", "lookup", "attributes"]);
});

test("neither a pipe nor a directory is sent as a file", async () => {
  await files.makeNode(rootIno, "pipe", kinds.fifo | 0o644);
  await files.makeDirectory(rootIno, "bare", 0o755);
  expect((await one("/pipe")).status).toBe(404);
  expect((await one("/bare")).status).toBe(404);
});

test("a link leads nowhere but into the volume", async () => {
  await new PathCalls(files).symlink("../../../../etc/passwd", "/out.txt");
  await new PathCalls(files).symlink("/../docs/index.html", "/in.txt");
  expect((await one("/out.txt")).status).toBe(404);
  expect((await one("/in.txt")).body).toBe("docs");
});

test("nothing is written where uploads are not allowed, and they cannot be to an image", async () => {
  expect((await one("/new.txt", { method: "PUT", body: "x" })).status).toBe(405);
  const refused = WebOptions.safeParse({ uploads: { paths: ["/**"], tokens: null } });
  expect(JSON.stringify(refused.error?.issues)).toContain("files: volume");
});
