import { expect, test } from "bun:test";
import { listPlugins, registry } from "../../plugins/registry.ts";
import { imageOf } from "./test-image.ts";
import { vosSuite } from "./vos-suite.ts";

vosSuite("hello", {
  load: async () => (await import("../../plugins/hello/plugin.ts")).default,
  options: { greeting: "good morning" },
  image: async () => null,
  refused: [{ greeting: "" }, { greeting: 5 }, { greeting: "x".repeat(1_001) }],
});

vosSuite("web", {
  load: async () => (await import("../../plugins/web/plugin.ts")).default,
  options: {},
  image: () => imageOf({ "/index.html": "<h1>home</h1>" }),
  refused: [
    { index: ["a/b"] },
    { spaFallback: "index.html" },
    { redirects: [{ from: "/a", to: "//evil.test/" }] },
    { redirects: [{ from: "/a", to: "javascript:alert(1)" }] },
    { redirects: [{ from: "/a", to: "/b", status: 200 }] },
    { redirects: [{ from: "a", to: "/b" }] },
    { headers: [{ path: "/**/**/**", set: {} }] },
    { headers: [{ path: "/**", set: { "x-a": "b\r\nx-c: d" } }] },
    { headers: [{ path: "/**", set: { "bad name": "b" } }] },
    { headers: [{ path: "/**", set: { "Content-Length": "5" } }] },
    { cacheBytes: -1 },
    { echo: "/echo/" },
    { modifiedAt: "yesterday" },
  ],
});

test("the registry knows its plugins without loading them, and no others", async () => {
  expect(registry.names()).toEqual(listPlugins().map(({ name }) => name));
  expect(await registry.load("plan9")).toBeUndefined();
  expect((await registry.load("web"))?.name).toBe("web");
});

test("hello counts the requests of its own container and names its node", async () => {
  const plugin = await registry.load("hello");
  const vos = await plugin?.boot(
    {
      tenant: "default",
      instance: "greeter",
      uid: "u",
      node: { id: "n", name: "node-7" },
      incarnation: "i",
      kernel: null,
      state: null,
      image: null,
      log: () => undefined,
      accessLog: () => undefined,
    },
    { greeting: "hi" },
  );
  await vos?.fetch(new Request("http://h/"), { peer: "" });
  const answer = await vos?.fetch(new Request("http://h/"), { peer: "" });
  expect(await answer?.json()).toEqual({ greeting: "hi", instance: "greeter", node: "node-7", requests: 2 });
});
