import { beforeAll, expect, test } from "bun:test";
import { type Socket, connect, createServer } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { once } from "node:events";
import type { IngressTable } from "../../../core/ingress/control.ts";
import { Ingress } from "../../../core/ingress/ingress.ts";
import { type Authority, createAuthority, issueCertificate } from "../../../core/trust/authority.ts";
import { containerUri, nodeUri } from "../../../core/trust/identity.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";
import { Client, eventually, ok, statusOf, tableOf } from "./harness.ts";
import { closedAfterEach } from "./to-close.ts";

const open = closedAfterEach();

interface Pair {
  certificate: string;
  key: string;
}
async function issue(authority: Authority, uri: string): Promise<Pair> {
  const { key, csr } = await createKeyAndCsr("x");
  return { certificate: await issueCertificate(authority, { csr, uri, days: 1 }), key };
}

let nodes: Authority;
let workloads: Authority;
let foreign: Authority;
let tls: IngressTable["tls"];
const of = { clusterId: "c1", tenant: "default", instance: "web", uid: "u1", nodeId: "b" };
beforeAll(async () => {
  [nodes, workloads, foreign] = await Promise.all(
    ["nodes", "workloads", "foreign"].map((n) => createAuthority(n)) as [
      Promise<Authority>,
      Promise<Authority>,
      Promise<Authority>,
    ],
  );
  tls = { ...(await issue(nodes, nodeUri("c1", "self"))), ca: workloads.certificate };
});

/** A container's TCP listener: demands a certificate of the nodes' authority. */
async function startContainer(pair: Pair) {
  const server = createTlsServer(
    {
      cert: pair.certificate,
      key: pair.key,
      ca: nodes.certificate,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: "TLSv1.3",
    },
    (socket: TLSSocket) => {
      socket.on("error", () => {});
      socket.on("data", (bytes: Buffer) => {
        const requests = bytes.toString("latin1").split("\r\n\r\n").length - 1;
        socket.write(ok("secret").repeat(requests));
      });
    },
  );
  server.on("tlsClientError", (_e, socket) => socket.destroy());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => server.close() });
  return {
    node: "b",
    host: "127.0.0.1",
    port: (server.address() as { port: number }).port,
    incarnation: "1",
  };
}

async function ask(
  container: Pair,
  own = tls,
  port?: number,
): Promise<{ status: number; reason: string; ingress: Ingress }> {
  const at = await startContainer(container);
  const ingress = new Ingress({ portsChanged() {} });
  open.push({ close: () => ingress.stop(0) });
  await ingress.apply(tableOf([{ ...at, port: port ?? at.port }], {}, own));
  const c = new Client(ingress.boundPort(0));
  open.push(c);
  c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  const response = (await c.responses(1))[0]!;
  return { status: statusOf(response), reason: /Dvs-Reason: (.*)\r\n/.exec(response)?.[1] ?? "", ingress };
}

test("a container of this instance on this node is served, and probed", async () => {
  const { status, ingress } = await ask(await issue(workloads, containerUri(of)));
  expect(status).toBe(200);
  await eventually(() => ingress.upstreams[0]!.healthy, "probed");
});

const wrong: [string, () => Promise<Pair>][] = [
  ["another node's container", () => issue(workloads, containerUri({ ...of, nodeId: "c" }))],
  ["another instance", () => issue(workloads, containerUri({ ...of, instance: "other" }))],
  [
    "an instance of the same name that was removed",
    () => issue(workloads, containerUri({ ...of, uid: "u0" })),
  ],
  ["another tenant", () => issue(workloads, containerUri({ ...of, tenant: "other" }))],
  ["another cluster", () => issue(workloads, containerUri({ ...of, clusterId: "c2" }))],
  ["a node", () => issue(workloads, nodeUri("c1", "b"))],
  ["the nodes' authority", () => issue(nodes, containerUri(of))],
  ["a foreign authority", () => issue(foreign, containerUri(of))],
];
for (const [name, make] of wrong) {
  test(`a peer with a certificate of ${name} gets no request`, async () => {
    const { status, reason, ingress } = await ask(await make());
    expect(status).toBe(503);
    expect(reason).not.toBe("");
    await eventually(() => !ingress.upstreams[0]!.healthy, "probes find it, too");
  });
}

test("also when the environment switches certificate checks off", async () => {
  process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
  try {
    expect((await ask(await issue(foreign, containerUri(of)))).status).toBe(503);
    expect((await ask(await issue(workloads, containerUri({ ...of, nodeId: "c" })))).status).toBe(503);
  } finally {
    delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  }
});

test("a container that refuses this node's certificate is not healthy", async () => {
  const own = { ...(await issue(foreign, nodeUri("c1", "self"))), ca: workloads.certificate };
  const { status } = await ask(await issue(workloads, containerUri(of)), own);
  expect([502, 503]).toContain(status);
});

test("a renewed certificate is used for the next connection", async () => {
  const own = { ...(await issue(foreign, nodeUri("c1", "self"))), ca: workloads.certificate };
  const { ingress } = await ask(await issue(workloads, containerUri(of)), own);
  await eventually(() => !ingress.upstreams[0]!.healthy, "it is refused");
  const port = ingress.boundPort(0);
  const [route] = tableOf([]).routes;
  const at = await startContainer(await issue(workloads, containerUri(of)));
  await ingress.apply({ ...tableOf([at], {}, tls), routes: [{ ...route!, upstreams: [at] }] });
  const c = new Client(port);
  open.push(c);
  c.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  expect(statusOf((await c.responses(1))[0]!)).toBe(200);
});

test("handshakes that stall are few, and cost no request when they go on, POST included", async () => {
  const at = await startContainer(await issue(workloads, containerUri(of)));
  const stalled: Socket[] = [];
  let slow = true;
  const through = (socket: Socket) => {
    const target = connect({ host: "127.0.0.1", port: at.port });
    for (const it of [socket, target]) it.on("error", () => {});
    socket.pipe(target).pipe(socket);
  };
  const door = createServer({ pauseOnConnect: true }, (socket) => {
    if (slow) stalled.push(socket);
    else through(socket);
  });
  door.listen(0, "127.0.0.1");
  await once(door, "listening");
  const ingress = new Ingress({ portsChanged() {} }, { connectingMax: 3 });
  open.push({ close: () => door.close() }, { close: () => ingress.stop(0) });
  const { port } = door.address() as { port: number };
  await ingress.apply(tableOf([{ ...at, port }], {}, tls));
  const clients = Array.from({ length: 40 }, (_, n) => {
    const c = new Client(ingress.boundPort(0));
    open.push(c);
    const method = n % 2 === 0 ? "GET" : "POST";
    return c.send(`${method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n`);
  });
  await eventually(() => ingress.counters.requests === 40, "all wait");
  await new Promise((resolve) => setTimeout(resolve, 100));
  // And those of probes, of which the first is given up after 250 ms.
  expect(stalled.length).toBeGreaterThan(0);
  expect(stalled.length).toBeLessThanOrEqual(3 + 2);
  await new Promise((resolve) => setTimeout(resolve, 900));
  slow = false;
  for (const socket of stalled.splice(0)) through(socket);
  for (const c of clients) expect(statusOf((await c.responses(1))[0]!)).toBe(200);
  expect(ingress.counters.failures).toBe(0);
});
