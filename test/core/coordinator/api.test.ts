import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { createApi, type Api } from "../../../core/api/client.ts";
import { digestsPerRequestMax } from "../../../core/limits.ts";
import { createClient, type Client } from "../../../core/transport/client.ts";
import { FakeAgent } from "./fake-agent.ts";
import { codeOf, failure, hello, Lab, until } from "./lab.ts";

setDefaultTimeout(30_000);

let lab: Lab;
let api: Api;
let http: Client;
const tokens: Record<string, string> = {};

beforeAll(async () => {
  lab = await Lab.start();
  api = lab.api;
  const { apiAddress, ca, adminToken } = lab.running.ready;
  http = createClient({ addresses: [apiAddress], trust: { ca } });
  lab.onClose(() => http.close());
  tokens["admin"] = adminToken;
  for (const role of ["operator", "viewer"] as const) {
    tokens[role] = (await api.tokens.create({ kind: "api", role })).token;
  }
  await (await FakeAgent.join(lab, "n1")).run();
});
afterAll(() => lab.close());

interface Asked {
  status: number;
  code: string | undefined;
  message: string;
}

async function ask(
  method: string,
  path: string,
  options: {
    token?: string | undefined;
    body?: string | ReadableStream<Uint8Array>;
    headers?: Record<string, string>;
  } = {},
): Promise<Asked> {
  const { token = tokens["admin"], body, headers = {} } = options;
  const response = await http.request({
    method,
    path,
    headers: { ...(token === "" ? {} : { authorization: `Bearer ${token}` }), ...headers },
    ...(body === undefined ? {} : { body }),
  });
  const text = await response.text();
  let error: { code: string; message: string } | undefined;
  try {
    error = (JSON.parse(text) as { error?: { code: string; message: string } }).error;
  } catch {
    error = undefined;
  }
  return { status: response.status, code: error?.code, message: error?.message ?? text };
}

describe("who may do what", () => {
  const roles = ["viewer", "operator", "admin"];
  // Every route that does something, with the least role for it. None of these succeeds: they fail behind the check.
  const routes: [string, string, string][] = [
    ["viewer", "GET", "/v1/status"],
    ["viewer", "GET", "/v1/plugins"],
    ["viewer", "GET", "/v1/nodes"],
    ["viewer", "GET", "/v1/nodes/none"],
    ["viewer", "GET", "/v1/instances"],
    ["viewer", "GET", "/v1/instances/none"],
    ["viewer", "GET", "/v1/instances/none/logs"],
    ["viewer", "GET", "/v1/images"],
    ["viewer", "GET", "/v1/images/none"],
    ["viewer", "GET", "/v1/events"],
    ["operator", "POST", "/v1/instances"],
    ["operator", "DELETE", "/v1/instances/none"],
    ["operator", "POST", "/v1/instances/none/stop"],
    ["operator", "POST", "/v1/instances/none/start"],
    ["operator", "POST", "/v1/images"],
    ["operator", "POST", "/v1/images/missing"],
    ["operator", "POST", "/v1/images/upload"],
    ["operator", "DELETE", "/v1/images/none"],
    ["operator", "PUT", "/v1/not-made-yet"],
    ["admin", "GET", "/v1/tokens"],
    ["admin", "POST", "/v1/tokens"],
    ["admin", "DELETE", "/v1/tokens/000000000000"],
    ["admin", "POST", "/v1/nodes/none/leave"],
    ["admin", "DELETE", "/v1/nodes/none"],
  ];
  for (const [least, method, path] of routes) {
    test(`${method} ${path} needs the role ${least}`, async () => {
      for (const role of roles) {
        const { status } = await ask(method, path, { token: tokens[role] });
        expect([role, status === 403]).toEqual([role, roles.indexOf(role) < roles.indexOf(least)]);
        expect(status).not.toBe(401);
      }
    });
  }

  test("nobody gets in with a token that is unknown, damaged, for joining, expired or removed: each reads alike", async () => {
    const expired = await api.tokens.create({ kind: "api", role: "admin", ttlSeconds: 1 });
    const removed = await api.tokens.create({ kind: "api", role: "admin" });
    await api.tokens.remove(removed.id);
    const joining = await api.tokens.create({ kind: "join" });
    const other = await api.tokens.create({ kind: "api", role: "viewer" });
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const body = (t: string) => JSON.parse(Buffer.from(t.split(".")[1]!, "base64url").toString()) as object;
    const wrongSecret = `dvsa1.${Buffer.from(JSON.stringify({ ...body(other.token), s: "x".repeat(43) })).toString("base64url")}`;
    const answers = [];
    for (const token of ["x", "dvsa1.AAAA", wrongSecret, joining.token, expired.token, removed.token]) {
      answers.push(await ask("GET", "/v1/nodes", { token }));
    }
    expect(new Set(answers.map((a) => JSON.stringify(a))).size).toBe(1);
    expect(answers[0]).toMatchObject({ status: 401, code: "UNAUTHENTICATED" });
    for (const path of ["/v1/nodes", "/v1/nothing", "/v1/instances/watch"]) {
      expect(await ask("GET", path, { token: "" })).toMatchObject({ status: 401 });
    }
  });

  test("a token is shown once; its hash never", async () => {
    const created = await api.tokens.create({ kind: "api", role: "viewer", description: "for me" });
    const text = JSON.stringify(await api.tokens.list());
    expect(text).toContain("for me");
    expect(text).not.toContain("secretHash");
    expect(text).not.toContain(created.token);
    expect(await codeOf(api.tokens.remove("nonsense"))).toBe("INVALID");
    expect(await codeOf(api.tokens.remove("000000000000"))).toBe("NOT_FOUND");
  });

  test("nobody removes the token that he uses", async () => {
    const { token, id } = await api.tokens.create({ kind: "api", role: "admin" });
    expect(await ask("DELETE", `/v1/tokens/${id}`, { token })).toMatchObject({ status: 409 });
  });
});

describe("what is asked", () => {
  test("unknown paths and methods are NOT_FOUND and name themselves", async () => {
    expect(await ask("GET", "/v1/nothing")).toMatchObject({
      status: 404,
      code: "NOT_FOUND",
      message: "There is no GET /v1/nothing in this API.",
    });
    expect(await ask("PUT", "/v1/instances")).toMatchObject({ status: 404, code: "NOT_FOUND" });
    expect(await ask("GET", "/")).toMatchObject({ status: 404 });
  });

  test("HEAD answers as GET without a body, and subscribes to nothing", async () => {
    const head = await http.request({
      method: "HEAD",
      path: "/v1/instances/watch",
      headers: { authorization: `Bearer ${tokens["viewer"]}` },
    });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(head.headers.get("content-type")).toBe("application/x-ndjson");
    expect((await ask("HEAD", "/v1/nodes", { token: "" })).status).toBe(401);
  });

  test("a body that is no JSON, or is another thing, is INVALID with every mistake", async () => {
    expect(await ask("POST", "/v1/instances", { body: "{" })).toMatchObject({ status: 400, code: "INVALID" });
    expect(await ask("POST", "/v1/instances")).toMatchObject({ status: 400 });
    const { message } = await ask("POST", "/v1/instances", {
      body: JSON.stringify({ name: "A", spec: { os: "hello", nodes: 0, publish: [{ port: 0 }], more: 1 } }),
    });
    for (const path of ["name", "spec.nodes", "spec.publish.0.port", "more"]) expect(message).toContain(path);
    expect((await ask("POST", "/v1/instances", { body: "[".repeat(200_000) })).status).toBe(400);
  });

  test("a body beyond the limit is refused before it is read, whether its length was told or not", async () => {
    let sent = 0;
    const endless = () =>
      new ReadableStream<Uint8Array>({
        pull(controller) {
          sent += 65_536;
          controller.enqueue(new Uint8Array(65_536).fill(0x20));
        },
      });
    expect(await ask("POST", "/v1/instances", { body: endless() })).toMatchObject({
      status: 413,
      code: "TOO_LARGE",
    });
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    sent = 0;
    const told = { "content-length": String(1024 * 1024 * 1024) };
    expect(await ask("POST", "/v1/tokens", { body: endless(), headers: told })).toMatchObject({
      status: 413,
    });
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    // Anybody may ask to join: less is read of him.
    const { status } = await ask("POST", "/v1/join", { token: "", body: JSON.stringify("x".repeat(70_000)) });
    expect(status).toBe(413);
  });

  test("numbers and flags of a query are checked", async () => {
    for (const query of ["limit=0", "limit=-1", "limit=1001", "limit=x", "limit=", "limit=1e3"]) {
      expect(await ask("GET", `/v1/instances?${query}`)).toMatchObject({ status: 400, code: "INVALID" });
    }
    expect(await ask("GET", "/v1/events?follow=maybe")).toMatchObject({ status: 400 });
    expect(await ask("DELETE", "/v1/nodes/n1?force=yes")).toMatchObject({ status: 400 });
  });

  test("as many digests as the client sends at once are answered, one more is refused", async () => {
    const digests = Array.from(
      { length: digestsPerRequestMax },
      (_, i) => `sha256:${createHash("sha256").update(String(i)).digest("hex")}`,
    );
    expect(await api.images.remote().missing(digests)).toHaveLength(digestsPerRequestMax);
    expect(await codeOf(api.images.remote().missing([...digests, digests[0]!]))).toBe("INVALID");
  });
});

describe("instances", () => {
  test("a create with the same key and body is one instance, also at once; with another body or name it is another", async () => {
    const key = "key-12345678";
    const both = await Promise.all([
      api.instances.create(hello("i1"), key),
      api.instances.create(hello("i1"), key),
    ]);
    const again = await api.instances.create(hello("i1"), key);
    expect(new Set([...both, again].map((i) => i.uid)).size).toBe(1);
    expect(await codeOf(api.instances.create(hello("i1", 2), key))).toBe("CONFLICT");
    const other = await api.instances.create(hello("i2"), key);
    expect(other.uid).not.toBe(again.uid);
    expect(await codeOf(api.instances.create(hello("i3"), "short"))).toBe("INVALID");
    const taken = await failure(api.instances.create(hello("i1")));
    expect([taken.code, taken.message]).toEqual(["CONFLICT", expect.stringContaining("exists already")]);
  });

  test("a port belongs to one instance; what is refused leaves nothing", async () => {
    await api.instances.create(hello("p1", 1, [18_080]));
    const e = await failure(api.instances.create(hello("p2", 1, [18_081, 18_080])));
    expect([e.code, e.message]).toEqual([
      "CONFLICT",
      expect.stringContaining('instance "p1" has it already'),
    ]);
    await api.instances.create(hello("p3", 1, [18_081]));
    expect(await codeOf(api.instances.create(hello("p4", 1, [18_082, 18_082])))).toBe("INVALID");
  });

  test("an unknown OS, bad options and an image that an OS does not take are told apart", async () => {
    const os = await failure(api.instances.create({ name: "x1", spec: { os: "plan9", nodes: 1 } }));
    expect(os.message).toContain("This cluster can run: web, hello");
    const options = { greeting: 1 };
    expect(await codeOf(api.instances.create({ name: "x1", spec: { os: "hello", nodes: 1, options } }))).toBe(
      "INVALID",
    );
    expect(
      (await failure(api.instances.create({ name: "x1", spec: { os: "web", nodes: 1 } }))).message,
    ).toContain("boots from an image");
    const image = `sha256:${"0".repeat(64)}`;
    expect(await codeOf(api.instances.create({ name: "x1", spec: { os: "hello", nodes: 1, image } }))).toBe(
      "INVALID",
    );
    expect(await codeOf(api.instances.create({ name: "x1", spec: { os: "web", nodes: 1, image } }))).toBe(
      "NOT_FOUND",
    );
  });

  test("pages have every instance once", async () => {
    const names = (await api.instances.list()).map((i) => i.name);
    expect(names).toEqual([...names].sort());
    const paged: string[] = [];
    for (let after: string | null = ""; after !== null;) {
      const page = await api.instances.page({ limit: 1, after });
      expect(page.instances).toHaveLength(1);
      paged.push(page.instances[0]!.name);
      after = page.next;
    }
    expect(paged).toEqual(names);
  });

  test("stop, start and remove answer with what is wanted now; of what is not there they say so", async () => {
    await api.instances.create(hello("s1"));
    expect((await api.instances.stop("s1")).desired).toBe("stopped");
    expect((await api.instances.stop("s1")).desired).toBe("stopped");
    expect((await api.instances.start("s1")).desired).toBe("running");
    expect((await api.instances.remove("s1")).desired).toBe("removed");
    await until(async () => (await api.instances.get("s1").catch(() => null)) === null);
    for (const change of ["stop", "start", "remove"] as const) {
      expect(await codeOf(api.instances[change]("s1"))).toBe("NOT_FOUND");
    }
    expect(await codeOf(api.instances.stop("Not-A-Name"))).toBe("INVALID");
  });

  test("a watch is what there is, `synced`, then what changes, and nothing of others when it names one", async () => {
    const abort = new AbortController();
    const watch = api.instances.watch({ name: "w1" }, abort.signal);
    expect((await watch.next()).value).toEqual({ type: "synced" });
    const { uid } = await api.instances.create(hello("w1"));
    await api.instances.create(hello("w2"));
    const first = (await watch.next()).value!;
    expect(first).toMatchObject({ type: "instance", instance: { name: "w1", uid } });
    await api.instances.remove("w1");
    for await (const event of watch) {
      if (event.type === "instance") expect(event.instance.name).toBe("w1");
      if (event.type !== "removed") continue;
      expect(event).toMatchObject({ name: "w1", uid, failure: null });
      break;
    }
  });

  test("logs of an instance or node that is not there are a proper 404, before any stream", async () => {
    expect(await ask("GET", "/v1/instances/none/logs")).toMatchObject({ status: 404 });
    await api.instances.create(hello("l1"));
    expect(await ask("GET", "/v1/instances/l1/logs?node=n9")).toMatchObject({ status: 404 });
    expect(await ask("GET", "/v1/instances/l1/logs?tail=x")).toMatchObject({ status: 400 });
  });
});

test("events come once each, oldest first, and a follower misses none", async () => {
  const abort = new AbortController();
  const seen: string[] = [];
  const following = (async () => {
    for await (const event of api.events({ follow: true, limit: 0 }, abort.signal)) seen.push(event.message);
  })().catch(() => undefined);
  await api.instances.create(hello("e1"));
  await until(() => seen.some((m) => m.includes("e1")));
  abort.abort();
  await following;
  // So that nothing more happens between the two looks.
  await until(async () => (await api.instances.list()).every((i) => i.phase === "running"));
  const limited = [];
  for await (const event of api.events({ limit: 2 })) limited.push(event);
  expect(limited).toHaveLength(2);
  const all = [];
  for await (const event of api.events()) all.push(event);
  expect(all.slice(-2)).toEqual(limited);
  expect(new Set(seen).size).toBe(seen.length);
});

test("status and plugins tell what this cluster is and can run", async () => {
  const status = await api.status();
  expect(status.clusterId).toBe(lab.running.ready.clusterId);
  expect(status.nodes.up).toBe(1);
  expect(status.store.driver).toBe("sqlite");
  expect((await api.plugins()).map((p) => p.name)).toEqual(["web", "hello"]);
});

test("a client needs the coordinator's authority, and its token is not sent to anybody else", async () => {
  const stranger = await Lab.start();
  const { apiAddress } = stranger.running.ready;
  const client = createApi({ addresses: [apiAddress], token: tokens["admin"]! });
  expect(await codeOf(client.status())).toBe("UNAUTHENTICATED");
  client.close();
  await stranger.close();
});
