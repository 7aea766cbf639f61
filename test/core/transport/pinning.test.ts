/** A client that knows only the authority's hash, and somebody in between. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createServer } from "node:tls";
import type { AddressInfo } from "node:net";
import { fingerprint } from "../../../core/trust/authority.ts";
import { derOf } from "../../../core/trust/certificate.ts";
import { coordinatorUri } from "../../../core/trust/identity.ts";
import { authority, issued } from "../trust/lab.ts";
import { proxy, refusal, world } from "./link.ts";
import type { World } from "./link.ts";

const secret = "dvsa1.this-must-not-leak";
let w: World;
let rogue: { port: number; heard: string; close: () => void };

beforeAll(async () => {
  w = await world();
  // Knows everything public: the real authority's certificate, which it sends along.
  const fake = await issued(await authority(), coordinatorUri("c1", "k1"));
  const [leaf = ""] = fake.certificate.split(/(?<=-----END CERTIFICATE-----\n)/);
  const server = createServer({ key: fake.key, cert: leaf + w.ca.certificate }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => (rogue.heard += bytes.toString()));
  });
  server.on("tlsClientError", (_e, socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  rogue = { port, heard: "", close: () => server.close() };
});
afterAll(async () => {
  rogue.close();
  await w.end();
});

const post = { method: "POST", path: "/join", headers: { authorization: `Bearer ${secret}` } };

test("the authority is found by its hash, verified on a second connection, and can be kept", async () => {
  const { server } = await w.serve({ fetch: (r) => new Response(r.headers.get("authorization")) });
  const between = await proxy(() => server.port);
  const client = w.client(between.address, { trust: { pin: fingerprint(w.ca.certificate) } });
  expect(await (await client.request(post)).text()).toBe(`Bearer ${secret}`);
  expect(between.count).toBe(2);
  expect(derOf(await client.authority())).toEqual(derOf(w.ca.certificate));
  // Kept: neither is fetched again.
  expect(await (await client.request(post)).text()).toBe(`Bearer ${secret}`);
  expect(between.count).toBe(2);
  await between.close();
});

test("somebody who steps in between pinning and the second connection hears nothing", async () => {
  const { server } = await w.serve();
  const between = await proxy((n) => (n === 1 ? server.port : rogue.port));
  const before = w.seen.length;
  const client = w.client(between.address, { trust: { pin: fingerprint(w.ca.certificate) } });
  expect(await refusal(client.request(post))).toStartWith("UNAUTHENTICATED: Refused to talk to");
  expect(between.count).toBe(2);
  expect(rogue.heard).toBe("");
  expect(w.seen.length).toBe(before);
  await between.close();
});

test("somebody who shows the real authority's certificate without its key hears nothing", async () => {
  const between = await proxy(() => rogue.port);
  const client = w.client(between.address, { trust: { pin: fingerprint(w.ca.certificate) } });
  expect(await refusal(client.request(post))).toStartWith("UNAUTHENTICATED: Refused to talk to");
  // The hash was found in its chain, and the second connection refused.
  expect(between.count).toBe(2);
  expect(rogue.heard).toBe("");
  await between.close();
});

test("a node of the same cluster cannot pass for a coordinator after the pin", async () => {
  const impostor = await w.serve({ ...w.node });
  const before = w.seen.length;
  const client = w.client(impostor.address, { trust: { pin: fingerprint(w.ca.certificate) } });
  expect(await refusal(client.request(post))).toMatch(/^FORBIDDEN: .*not a coordinator/);
  expect(w.seen.length).toBe(before);
});
