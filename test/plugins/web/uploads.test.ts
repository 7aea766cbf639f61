/** What may be written over HTTP: PUT, DELETE and WebDAV, as RFC 9110 and RFC 4918 have them. */
import { afterAll, beforeAll, describe, expect, test, setDefaultTimeout } from "bun:test";
import { createHash } from "node:crypto";
import type { VolumeClient } from "../../../core/files/client/volume-client.ts";
import { openLone } from "../../../core/files/lone.ts";
import { PathCalls } from "../../../core/files/path-calls.ts";
import { WorkArea } from "../../../plugins/web/dav/work-area.ts";
import { workName } from "../../../plugins/web/volume/paths.ts";
import { type Ask, WebVolume } from "./volume-harness.ts";

/** Others may need the processor. */
setDefaultTimeout(60_000);

const tree = {
  "/index.html": "home",
  "/files/kept.txt": "kept",
  "/files/.hidden": "hidden",
  "/files/sub/a.txt": "a",
  "/files/sub/deep/b.txt": "b",
  "/files/out": { link: "../index.html" },
  "/files/away": { link: "../docs" },
  "/docs/index.html": "docs",
  "/flat/dir/x.txt": "x",
};
const uploads = { paths: ["/files/**", "/flat/*"], tokens: null, fileBytesMax: 100_000 };

let web: WebVolume;
let one: Ask;
let two: Ask;
let files: VolumeClient;
beforeAll(async () => {
  web = await WebVolume.open(tree);
  one = (await web.container({ uploads })).ask;
  const second = await web.container({ uploads });
  two = second.ask;
  files = second.files;
}, 60_000);
afterAll(() => web.close(), 60_000);

const put = (path: string, body: string, headers: Record<string, string> = {}) =>
  one(path, { method: "PUT", body, headers });
const names = async (path: string) =>
  (await new PathCalls(files).list(path)).map(({ name }) => name).toSorted();
/** Uploads that have ended leave nothing behind. */
const leftover = async () => ((await names("/")).includes(workName) ? names(`/${workName}`) : []);

describe("PUT", () => {
  test("makes a file, and each node serves it at once under the tag that was answered", async () => {
    const made = await put("/files/new.txt", "one");
    expect(made).toMatchObject({ status: 201, body: "" });
    const got = await two("/files/new.txt");
    expect(got).toMatchObject({ status: 200, body: "one", etag: made.etag });
    expect(got.headers.get("content-type")).toBe("text/plain; charset=utf-8");
  });
  test("replaces one, with 204 and another tag", async () => {
    const { etag } = await one("/files/kept.txt");
    const replaced = await put("/files/kept.txt", "replaced");
    expect(replaced.status).toBe(204);
    expect(replaced.etag).not.toBe(etag);
    expect(await two("/files/kept.txt")).toMatchObject({ body: "replaced", etag: replaced.etag });
  });
  test("an empty one, and one of many pieces", async () => {
    expect((await put("/files/empty", "")).status).toBe(201);
    expect(await two("/files/empty")).toMatchObject({ status: 200, body: "" });
    const long = "0123456789".repeat(9_999);
    expect((await put("/files/long", long)).status).toBe(201);
    expect((await two("/files/long")).body).toBe(long);
  });
  test("no reader ever sees a part of it", async () => {
    const chunks = Array.from({ length: 40 }, () => Buffer.alloc(2_000, "n"));
    const body = new ReadableStream({
      async pull(controller) {
        await Bun.sleep(1);
        const next = chunks.pop();
        if (next) controller.enqueue(next);
        else controller.close();
      },
    });
    await put("/files/whole.txt", "old");
    const writer = { isDone: false };
    const writing = one("/files/whole.txt", { method: "PUT", body }).finally(() => {
      writer.isDone = true;
    });
    const seen = new Set<string>();
    while (!writer.isDone) {
      seen.add((await two("/files/whole.txt")).body);
      await Bun.sleep(0);
    }
    expect((await writing).status).toBe(204);
    expect([...seen].filter((body) => body !== "old" && body !== "n".repeat(80_000))).toEqual([]);
    expect((await two("/files/whole.txt")).body).toBe("n".repeat(80_000));
  });
  test.each([
    ["a part of a file", "/files/x", { "content-range": "bytes 0-0/2" }, 400],
    ["a missing directory", "/files/no/x", {}, 409],
    ["a file on the way", "/files/kept.txt/x", {}, 409],
    ["a link on the way", "/files/away/x", {}, 403],
    ["a directory of this name", "/files/sub", {}, 405],
    ["a name of a directory", "/files/x/", {}, 405],
    ["more than is allowed", "/files/x", { "content-length": "100001" }, 413],
    ["what is shorter than it says", "/files/x", { "content-length": "7" }, 400],
    ["a hidden name", "/files/.x", {}, 405],
    ["where nothing may be written", "/index.html", {}, 405],
    ["the place of uploads", "/.dvs-uploads/x", {}, 405],
    ["a dot segment in disguise", "/files/%2e%2e/index.html", {}, 405],
    ["an encoded slash", "/files%2fx", {}, 400],
    ["a doubled slash", "/files//x", {}, 405],
    ["a tag that it has not", "/files/kept.txt", { "if-match": '"other"' }, 412],
    ["a tag of nothing", "/files/nothing", { "if-match": "*" }, 412],
    ["a lock that it has not", "/files/kept.txt", { if: "(<urn:uuid:1>)" }, 412],
    ["what must be new", "/files/kept.txt", { "if-none-match": "*" }, 412],
    [
      "what was changed since",
      "/files/kept.txt",
      { "if-unmodified-since": "Fri, 02 Jan 2026 03:04:05 GMT" },
      412,
    ],
  ])("refuses %s", async (_what, path, headers, status) => {
    const before = await names("/files");
    const body = new ReadableStream({
      start(controller) {
        controller.enqueue(Buffer.from("body"));
        controller.close();
      },
    });
    expect((await one(path, { method: "PUT", body, headers })).status).toBe(status);
    expect(await names("/files")).toEqual(before);
    expect(await leftover()).toEqual([]);
  });
  test("a body without length ends at the limit", async () => {
    const body = new ReadableStream({ pull: (controller) => controller.enqueue(Buffer.alloc(30_000)) });
    expect((await one("/files/endless", { method: "PUT", body })).status).toBe(413);
    expect((await one("/files/endless")).status).toBe(404);
    expect(await leftover()).toEqual([]);
  });
  test("a connection that breaks leaves what was there", async () => {
    await put("/files/broken.txt", "old");
    let pulls = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (pulls++ < 2) controller.enqueue(Buffer.alloc(10_000));
        else controller.error(new Error("reset"));
      },
    });
    expect((await one("/files/broken.txt", { method: "PUT", body })).status).toBe(400);
    expect((await two("/files/broken.txt")).body).toBe("old");
    expect(await leftover()).toEqual([]);
  });
  test("a link's name gets the file; what it led to stays", async () => {
    expect((await put("/files/out", "mine")).status).toBe(204);
    expect((await two("/files/out")).body).toBe("mine");
    expect((await two("/index.html")).body).toBe("home");
  });
  test("a full volume is 507, and leaves what was there", async () => {
    const full = await WebVolume.open({ "/files/a.txt": "a" });
    const { ask, files: client } = await full.container({ uploads });
    const { bytes } = await client.usage();
    full.setQuota(bytes + 10_000, 1_000);
    expect((await ask("/files/a.txt", { method: "PUT", body: "x".repeat(20_000) })).status).toBe(507);
    expect((await ask("/files/a.txt")).body).toBe("a");
    expect((await ask("/files/b.txt", { method: "PUT", body: "b" })).status).toBe(201);
    await full.close();
  });
});

describe("two that change one file", () => {
  test("the second one with the old tag is refused, whichever node it asks", async () => {
    const { etag } = await put("/files/shared.txt", "0");
    const headers = { "if-match": etag };
    const answers = await Promise.all([
      one("/files/shared.txt", { method: "PUT", body: "1", headers }),
      two("/files/shared.txt", { method: "PUT", body: "2", headers }),
    ]);
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([204, 412]);
    const winner = answers[0].status === 204 ? "1" : "2";
    expect((await two("/files/shared.txt")).body).toBe(winner);
  });
  test("a counter that everybody raises by its tag loses no step", async () => {
    await put("/files/count", "0");
    const raise = async (ask: Ask): Promise<void> => {
      for (;;) {
        const { body, etag } = await ask("/files/count");
        const headers = { "if-match": etag };
        const { status } = await ask("/files/count", {
          method: "PUT",
          body: String(Number(body) + 1),
          headers,
        });
        if (status === 204) return;
        expect(status).toBe(412);
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_, i) => raise(i % 2 === 0 ? one : two)));
    expect((await one("/files/count")).body).toBe("12");
  });
  test("of many that make one new file, one does", async () => {
    const headers = { "if-none-match": "*" };
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        (i % 2 ? one : two)("/files/first", { method: "PUT", body: `${i}`, headers }),
      ),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 201)).toHaveLength(1);
    expect(statuses.filter((status) => status === 412)).toHaveLength(7);
    expect((await one("/files/first")).body).toBe(String(statuses.indexOf(201)));
  });
});

describe("DELETE", () => {
  test("removes a file for every node", async () => {
    await put("/files/gone.txt", "x");
    expect((await two("/files/gone.txt", { method: "DELETE" })).status).toBe(204);
    expect((await one("/files/gone.txt")).status).toBe(404);
    expect((await one("/files/gone.txt", { method: "DELETE" })).status).toBe(404);
  });
  test("a file that is another by now stays", async () => {
    const { etag } = await put("/files/guarded.txt", "1");
    await put("/files/guarded.txt", "2");
    expect(
      (await two("/files/guarded.txt", { method: "DELETE", headers: { "if-match": etag } })).status,
    ).toBe(412);
    expect((await one("/files/guarded.txt")).body).toBe("2");
  });
  test("a collection goes with all that is in it", async () => {
    await one("/files/tree", { method: "MKCOL" });
    await one("/files/tree/sub", { method: "MKCOL" });
    for (let i = 0; i < 20; i++) await put(`/files/tree/sub/${i}`, "x");
    const { ino } = await new PathCalls(files).stat("/files/tree/sub/3");
    expect((await one("/files/tree/", { method: "DELETE", headers: { depth: "0" } })).status).toBe(400);
    expect((await one("/files/tree/", { method: "DELETE" })).status).toBe(204);
    expect((await two("/files/tree/sub/3")).status).toBe(404);
    const isGone = async () => (await leftover()).length === 0;
    while (!(await isGone())) await Bun.sleep(5);
    // Nothing names it any more: its space comes back with the time that it is kept for whoever may have it open.
    const names = await files.attributes(ino).then(
      ({ nlink }) => nlink,
      (e: unknown) => (e as { code: string }).code,
    );
    expect([0, "ESTALE"]).toContain(names);
  });
  test.each([
    ["/files/", 204],
    ["/flat/dir", 403],
    ["/", 405],
    ["/docs", 405],
    ["/files/away/index.html", 403],
  ])("%s: %i", async (path, status) => {
    const own = await WebVolume.open(tree);
    const { ask } = await own.container({ uploads });
    expect((await ask(path, { method: "DELETE" })).status).toBe(status);
    expect((await ask("/docs/")).status).toBe(200);
    await own.close();
  });
});

describe("MKCOL", () => {
  test("makes a directory, once", async () => {
    expect((await one("/files/made/", { method: "MKCOL" })).status).toBe(201);
    expect((await two("/files/made", { method: "MKCOL" })).status).toBe(405);
    expect((await two("/files/made/x", { method: "PUT", body: "x" })).status).toBe(201);
  });
  test.each([
    ["/files/no/made", undefined, 409],
    ["/files/with-body", "<x/>", 415],
    ["/files/kept.txt", undefined, 405],
    ["/elsewhere", undefined, 405],
  ])("%s %s: %i", async (path, body, status) => {
    expect((await one(path, { method: "MKCOL", ...(body && { body }) })).status).toBe(status);
  });
});

describe("COPY and MOVE", () => {
  const to = (destination: string, more: Record<string, string> = {}) => ({
    headers: { destination, ...more },
  });
  test("a file is copied, and then another one", async () => {
    await put("/files/source.txt", "source");
    const copy = { method: "COPY", ...to("http://site.test/files/copy.txt") };
    expect((await one("/files/source.txt", copy)).status).toBe(201);
    expect((await two("/files/source.txt", copy)).status).toBe(204);
    const [source, copied] = [await two("/files/source.txt"), await two("/files/copy.txt")];
    expect([source.body, copied.body]).toEqual(["source", "source"]);
    expect(source.etag).not.toBe(copied.etag);
    await put("/files/copy.txt", "changed");
    expect((await two("/files/source.txt")).body).toBe("source");
  });
  test("a file is moved, in the place of another", async () => {
    await put("/files/from.txt", "from");
    await put("/files/to.txt", "to");
    const refused = { method: "MOVE", ...to("/files/to.txt", { overwrite: "F" }) };
    expect((await one("/files/from.txt", refused)).status).toBe(412);
    expect((await one("/files/from.txt", { method: "MOVE", ...to("/files/to.txt") })).status).toBe(204);
    expect((await two("/files/to.txt")).body).toBe("from");
    expect((await two("/files/from.txt")).status).toBe(404);
  });
  test("a collection with all that is in it, and without", async () => {
    expect((await one("/files/sub", { method: "COPY", ...to("/files/sub2/") })).status).toBe(201);
    expect((await two("/files/sub2/deep/b.txt")).body).toBe("b");
    expect((await one("/files/sub/", { method: "COPY", ...to("/files/sub3", { depth: "0" }) })).status).toBe(
      201,
    );
    expect(await names("/files/sub3")).toEqual([]);
    expect((await one("/files/sub2", { method: "MOVE", ...to("/files/sub3") })).status).toBe(204);
    expect(await names("/files/sub3")).toEqual(["a.txt", "deep"]);
    expect((await two("/files/sub2/a.txt")).status).toBe(404);
    while ((await leftover()).length > 0) await Bun.sleep(5);
  });
  test.each([
    ["no destination", {}, 400],
    ["what is no URL", to("files/x"), 400],
    ["another server", to("http://other.test/files/x"), 502],
    ["where nothing may be written", to("/docs/x"), 403],
    ["the place of uploads", to("/.dvs-uploads/x"), 403],
    ["out of the volume", to("/files/../../x"), 400],
    ["an encoded way out", to("/files/%2e%2e/x"), 400],
    ["an encoded slash", to("/files/a%2fb"), 400],
    ["itself", to("/files/sub"), 403],
    ["into itself", to("/files/sub/inner"), 403],
    ["its parent", to("/files/"), 403],
    ["a missing directory", to("/files/no/x"), 409],
    ["over a link", to("/files/away/x"), 403],
    ["a depth that there is not", to("/files/y", { depth: "1" }), 400],
    ["an overwrite that there is not", to("/files/y", { overwrite: "maybe" }), 400],
  ])("refuses %s", async (_what, init, status) => {
    for (const method of ["COPY", "MOVE"]) {
      expect((await one("/files/sub/", { method, ...init })).status).toBe(status);
    }
    expect((await one("/files/sub/a.txt")).body).toBe("a");
    expect((await one("/docs/")).body).toBe("docs");
    expect(await leftover()).toEqual([]);
  });
});

describe("PROPFIND", () => {
  const find = (path: string, depth: string | null, body?: string) =>
    one(path, { method: "PROPFIND", headers: depth === null ? {} : { depth }, ...(body && { body }) });
  const hrefs = (body: string) => [...body.matchAll(/<D:href>(.*?)<\/D:href>/g)].map(([, href = ""]) => href);

  test("tells what is in a collection, but what is hidden or leads away", async () => {
    const own = await WebVolume.open(tree);
    const { ask } = await own.container({ uploads });
    const { status, body, headers } = await ask("/files", { method: "PROPFIND", headers: { depth: "1" } });
    expect(status).toBe(207);
    expect(headers.get("content-type")).toStartWith("application/xml");
    expect(hrefs(body).toSorted()).toEqual(["/files/", "/files/kept.txt", "/files/out", "/files/sub/"]);
    const { etag } = await ask("/files/kept.txt");
    expect(body).toContain(`<D:getetag>${etag}</D:getetag>`.replaceAll('"', '"'));
    expect(body).toContain("<D:getcontentlength>4</D:getcontentlength>");
    expect(body).toContain("<D:resourcetype><D:collection/></D:resourcetype>");
    await own.close();
  });
  test("names are as they are in URLs, and never XML", async () => {
    await put("/files/%3Ca%26%22b%3E%20%C3%BC.txt", "x");
    const { body } = await find("/files/", "1");
    expect(hrefs(body)).toContain("/files/%3Ca%26%22b%3E%20%C3%BC.txt");
    expect(body).toContain("<D:displayname>&lt;a&amp;&quot;b&gt; ü.txt</D:displayname>");
    expect((await one("/files/%3Ca%26%22b%3E%20%C3%BC.txt", { method: "DELETE" })).status).toBe(204);
  });
  test("one level only, unless it is asked for less", async () => {
    for (const depth of ["infinity", null]) {
      const { status, body } = await find("/files/", depth);
      expect(status).toBe(403);
      expect(body).toContain("propfind-finite-depth");
    }
    expect(hrefs((await find("/files/sub", "0")).body)).toEqual(["/files/sub/"]);
    expect((await find("/files/", "2")).status).toBe(400);
  });
  test("the properties that are asked for, and which there are not", async () => {
    const body = `<?xml version="1.0"?><a:propfind xmlns:a="DAV:" xmlns:z="urn:z"><a:prop><a:getcontentlength/><z:mine/></a:prop></a:propfind>`;
    const answer = await find("/files/sub/a.txt", "0", body);
    expect(answer.body).toContain(
      "<D:getcontentlength>1</D:getcontentlength></D:prop><D:status>HTTP/1.1 200 OK",
    );
    expect(answer.body).toContain('<mine xmlns="urn:z"/></D:prop><D:status>HTTP/1.1 404 Not Found');
    const quota =
      '<propfind xmlns="DAV:"><prop><quota-used-bytes/><quota-available-bytes/></prop></propfind>';
    expect((await find("/files/", "0", quota)).body).toMatch(
      /<D:quota-used-bytes>\d+<.*<D:quota-available-bytes>\d+</,
    );
    const called = await find("/files/", "0", '<propfind xmlns="DAV:"><propname/></propfind>');
    expect(called.body).toContain("<D:getlastmodified/>");
  });
  test.each([
    ["no XML", "<propfind"],
    ["another root", '<other xmlns="DAV:"/>'],
    ["no wish", '<propfind xmlns="DAV:"/>'],
    ["a document type", '<!DOCTYPE x [<!ENTITY a "b">]><propfind xmlns="DAV:"><allprop/></propfind>'],
  ])("refuses %s", async (_what, body) => {
    expect((await find("/files/", "0", body)).status).toBe(400);
  });
  test("more XML than anybody needs is refused", async () => {
    expect((await find("/files/", "0", `<a>${" ".repeat(70_000)}</a>`)).status).toBe(413);
  });
  test("what is not there, or not to be told", async () => {
    expect((await find("/files/nothing", "0")).status).toBe(404);
    expect((await find("/files/sub/a.txt/", "0")).status).toBe(404);
    expect((await find("/files/.hidden", "0")).status).toBe(405);
    expect((await find("/docs", "0")).status).toBe(405);
    expect((await find("/files/away", "0")).status).toBe(404);
    expect((await find("/files/away/index.html", "0")).status).toBe(403);
  });
});

test("PROPPATCH refuses each property by its name", async () => {
  const body = `<D:propertyupdate xmlns:D="DAV:" xmlns:z="urn:z"><D:set><D:prop><z:a>1</z:a></D:prop></D:set><D:remove><D:prop><z:b/></D:prop></D:remove></D:propertyupdate>`;
  const answer = await one("/files/sub/a.txt", { method: "PROPPATCH", body });
  expect(answer.status).toBe(207);
  expect(answer.body).toContain(
    '<a xmlns="urn:z"/><b xmlns="urn:z"/></D:prop><D:status>HTTP/1.1 403 Forbidden',
  );
  expect((await one("/files/nothing", { method: "PROPPATCH", body })).status).toBe(404);
});

test("OPTIONS says what may be done where", async () => {
  const there = await one("/files/x", { method: "OPTIONS" });
  expect(there.status).toBe(204);
  expect(there.headers.get("dav")).toBe("1");
  expect(there.headers.get("allow")).toBe(
    "GET, HEAD, OPTIONS, PUT, DELETE, MKCOL, COPY, MOVE, PROPFIND, PROPPATCH",
  );
  const elsewhere = await one("/index.html", { method: "OPTIONS" });
  expect(elsewhere.headers.get("dav")).toBeNull();
  expect((await one("/files/x", { method: "LOCK" })).status).toBe(405);
});

describe("tokens", () => {
  const token = "c2VjcmV0-token";
  const tokens = [
    createHash("sha256").update("another").digest("hex"),
    createHash("sha256").update(token).digest("hex"),
  ];
  let guarded: Ask;
  beforeAll(async () => {
    guarded = (await web.container({ uploads: { ...uploads, tokens } })).ask;
  });
  const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
  test.each([
    ["none", null, 401],
    ["a wrong one", "Bearer wrong", 401],
    ["its hash", `Bearer ${tokens[1]}`, 401],
    ["as a name", basic(`${token}:`), 401],
    ["nonsense", "Basic ???", 401],
    ["as a Bearer token", `Bearer ${token}`, 201],
    ["as a password", basic(`anybody:${token}`), 204],
  ])("%s", async (_what, authorization, status) => {
    const headers: Record<string, string> = authorization === null ? {} : { authorization };
    const answer = await guarded("/files/token.txt", { method: "PUT", body: "x", headers });
    expect(answer.status).toBe(status);
    if (status === 401) expect(answer.headers.get("www-authenticate")).toStartWith("Basic ");
  });
  test("whoever reads needs none; whoever lists does", async () => {
    expect((await guarded("/files/token.txt")).status).toBe(200);
    expect((await guarded("/files/", { method: "PROPFIND", headers: { depth: "0" } })).status).toBe(401);
  });
});

test("what a container has left behind is removed when it is old; what somebody is at work on stays", async () => {
  let now = Date.now() - 3_600_000;
  const volume = openLone({ now: () => now });
  const fs = volume.client("a");
  const area = new WorkArea(fs, (message) => expect(message).toBe(""));
  const mine = await area.file(0o644);
  await mine.file.close();
  const calls = new PathCalls(fs);
  await calls.mkdir(`/${workName}/left`, 0o755);
  await calls.mkdir(`/${workName}/left/sub`, 0o755);
  now = Date.now();
  await calls.mkdir(`/${workName}/fresh`, 0o755);
  await area.tidy();
  expect((await calls.list(`/${workName}`)).map(({ name }) => name)).toEqual([mine.name, "fresh"]);
  await area.close();
  await volume.close();
});
