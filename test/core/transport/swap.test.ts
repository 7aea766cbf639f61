/** Certificates that change while the server runs. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { connect } from "node:tls";
import { coordinatorUri, nodeUri } from "../../../core/trust/identity.ts";
import { fingerprintOf } from "../../../core/trust/certificate.ts";
import { fingerprint } from "../../../core/trust/authority.ts";
import { readLines } from "../../../core/transport/ndjson.ts";
import { authority, issued, failure } from "../trust/lab.ts";
import { refusal, until, world } from "./link.ts";
import type { World } from "./link.ts";

let w: World;
let feed: ReadableStreamDefaultController<Uint8Array>;
beforeAll(async () => {
  w = await world();
});
afterAll(() => w.end());

const fetch = (request: Request) =>
  request.url.endsWith("/watch")
    ? new Response(new ReadableStream<Uint8Array>({ start: (controller) => void (feed = controller) }))
    : new Response("well");

async function shown(port: number): Promise<string> {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false });
  socket.on("error", () => {});
  await new Promise((resolve) => socket.once("secureConnect", resolve));
  const { raw } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprintOf(raw);
}

test("a new certificate is shown to new connections, and those that stand go on", async () => {
  const { address, server } = await w.serve({ fetch });
  const line = new TextEncoder().encode("on\n");
  const answer = await w.client(address).request({ method: "GET", path: "/watch" });
  const lines = readLines(answer.body);
  feed.enqueue(line);
  expect((await lines.next()).value).toBe("on");
  expect(await shown(server.port)).toBe(fingerprint(w.coordinator.certificate));

  const next = await issued(w.ca, coordinatorUri("c1", "k1"));
  server.setCertificate(next);
  expect(await shown(server.port)).toBe(fingerprint(next.certificate));
  feed.enqueue(line);
  expect((await lines.next()).value).toBe("on");
  await lines.return();

  // Who may connect is as strict as before.
  expect(await (await w.client(address).request({ method: "GET", path: "/" })).text()).toBe("well");
  const none = w.client(address, { identity: () => undefined });
  expect(await refusal(none.request({ method: "GET", path: "/" }))).toMatch(/^UNAUTHENTICATED/);
});

test("a new authority takes effect for new connections", async () => {
  const { address, server } = await w.serve({ fetch });
  const other = await authority("the next one");
  server.setCertificate({ ...w.coordinator, ca: other.certificate });
  expect(await refusal(w.client(address).request({ method: "GET", path: "/" }))).toMatch(/^UNA/);
  const identity = await issued(other, nodeUri("c1", "n1"));
  expect((await w.client(address, { identity }).request({ method: "GET", path: "/" })).status).toBe(200);
});

test("a client uses its renewed certificate from the next connection on", async () => {
  const { address } = await w.serve();
  let identity = w.node;
  const client = w.client(address, { identity: () => identity });
  const who = async () => (await client.request({ method: "GET", path: "/" })).json();
  expect(await who()).toMatchObject({ nodeId: "n1" });
  identity = await issued(w.ca, nodeUri("c1", "n2"));
  // The connection that stands is still n1's.
  expect(await who()).toMatchObject({ nodeId: "n1" });
  const held = client.request({ method: "GET", path: "/" });
  expect(await (await client.request({ method: "GET", path: "/" })).json()).toMatchObject({ nodeId: "n2" });
  expect((await held).status).toBe(200);
});

test("close() lets requests under way finish within the grace, and refuses new ones", async () => {
  let release = () => {};
  const gate = new Promise<void>((resolve) => (release = resolve));
  const { address, server } = await w.serve({
    fetch: async () => {
      await gate;
      return new Response("finished");
    },
  });
  const before = w.seen.length;
  const request = w.client(address).request({ method: "GET", path: "/" });
  await until(() => w.seen.length > before);
  const closing = server.close(60_000);
  const late = w.client(address).request({ method: "GET", path: "/", timeoutMs: 2_000 });
  expect(await refusal(late)).toMatch(/^UNAVAILABLE/);
  release();
  expect(await (await request).text()).toBe("finished");
  await closing;
});

test("a port that is in use is said to be", async () => {
  const { server } = await w.serve();
  expect(await failure(w.serve({ port: server.port }))).toContain("the port is in use");
});
