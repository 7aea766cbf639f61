/**
 * The ingress under Deno: `deno run -A test/deno/ingress.ts`. Also runs under Bun. Prints one line a check and exits
 * with 1 when one failed. Only what sockets of the runtimes might do differently; test/core/ingress has the rest.
 */
import { once } from "node:events";
import { createServer } from "node:net";
import process from "node:process";
import { createServer as createTlsServer } from "node:tls";
import { Ingress } from "../../core/ingress/ingress.ts";
import { createAuthority, issueCertificate } from "../../core/trust/authority.ts";
import { containerUri, nodeUri } from "../../core/trust/identity.ts";
import { createKeyAndCsr } from "../../core/trust/key.ts";
import {
  Client,
  type Seen,
  eventually,
  ok,
  startIngress,
  startUpstream,
  statusOf,
  tableOf,
} from "../core/ingress/harness.ts";

let failed = 0;
const open: { close(): unknown }[] = [];

async function check(fact: string, run: () => Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const limit = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error("took longer than 10 s")), 10_000);
    });
    await Promise.race([run(), limit]);
    console.log(`ok    ${fact}`);
  } catch (e) {
    failed++;
    console.log(`FAIL  ${fact}: ${e instanceof Error ? e.message : String(e)}`);
  } finally {
    clearTimeout(timer);
    for (const it of open.splice(0).reverse()) await it.close();
  }
}

function equal(found: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${a.slice(0, 300)} where ${b.slice(0, 300)} belongs`);
}

async function pair(first: ((seen: Seen) => void) | null | undefined, second?: (seen: Seen) => void) {
  const a = await startUpstream("a", first);
  const b = second ? await startUpstream("b", second) : null;
  const ingress = await startIngress(b ? [a.at, b.at] : [a.at]);
  open.push(a, ingress);
  if (b) open.push(b);
  return { port: ingress.port, ingress: ingress.ingress, a, b };
}

function client(port: number, keepText = true): Client {
  const it = new Client(port, keepText);
  open.push(it);
  return it;
}

const get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const withBody = (method: string) => `${method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody`;
const toB = (seen: Seen) => void seen.socket.write(ok("b"));

await check("requests on one connection, pipelined ones in order", async () => {
  const { port, a } = await pair(undefined);
  const c = client(port).send(get.repeat(10));
  equal(await c.responses(10), Array(10).fill(ok("a")));
  equal(a.seen[0]!.head.includes("X-Forwarded-For: 127.0.0.1\r\n"), true);
});

await check("a half-closed client gets its answer", async () => {
  const { port } = await pair((seen) => setTimeout(() => seen.socket.write(ok("late")), 50));
  const c = client(port);
  c.socket.end(get);
  equal(await c.end(), ok("late"));
});

await check("a response that ends with its connection", async () => {
  const { port } = await pair((seen) => seen.socket.end("HTTP/1.1 200 OK\r\n\r\nall"));
  equal(await client(port).send(get).end(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall");
});

for (const how of ["reset", "close"] as const) {
  const die = (seen: Seen) => void (how === "reset" ? seen.socket.resetAndDestroy() : seen.socket.end());
  for (const method of ["PUT", "DELETE"]) {
    await check(`${method} is sent again elsewhere after a ${how}`, async () => {
      const { port, b } = await pair(die, toB);
      equal(await client(port).send(withBody(method)).responses(1), [ok("b")]);
      equal(b!.seen[0]!.body, "body");
    });
  }
  await check(`POST is not (${how})`, async () => {
    const { port } = await pair(die, toB);
    const [response] = await client(port).send(withBody("POST")).responses(1);
    equal(statusOf(response!), 502);
  });
}

await check("a refused connection: POST goes elsewhere", async () => {
  const { port, a } = await pair(undefined, toB);
  a.close();
  await once(a.server, "close");
  equal(await client(port).send(withBody("POST")).responses(1), [ok("b")]);
});

await check("an upstream that answers no probes is found, its GET retried", async () => {
  const { port, a, ingress } = await pair(null, toB);
  a.answersProbes = false;
  equal(await client(port).send(get).responses(1), [ok("b")]);
  equal(ingress.counters.failures, 0);
});

await check("a malformed head gets 400 and its end", async () => {
  const { port } = await pair(undefined);
  const text = await client(port).send("GET / HTTP/1.1\nHost: h\r\n\r\n").end();
  equal(statusOf(text), 400);
});

await check("a tunnel passes bytes both ways, and its end", async () => {
  const { port, a } = await pair((seen) => {
    if (seen.head.includes("websocket")) {
      seen.socket.write("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    } else seen.socket.end("bye");
  });
  const c = client(port);
  c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  await c.until((text) => text.includes("101"));
  c.send("raw\r\n\r\n");
  equal((await c.end()).endsWith("bye"), true);
  equal(a.seen[1]!.head, "raw");
});

await check("a slow client stops the upstream, and gets everything", async () => {
  const total = 128 << 20;
  let produced = 0;
  const { port } = await pair(({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${total}\r\n\r\n`);
    const chunk = Buffer.alloc(1 << 20);
    const pump = () => {
      while (produced < total) {
        produced += chunk.length;
        if (!socket.write(chunk)) return void socket.once("drain", pump);
      }
    };
    pump();
  });
  const c = client(port, false);
  c.socket.pause();
  c.send(get);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  equal(produced < total / 2, true);
  c.socket.resume();
  await eventually(() => c.bytes > total, "all of it");
});

await check("a port that somebody else has", async () => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const ingress = new Ingress({ portsChanged() {} });
  open.push({ close: () => ingress.stop(0) });
  await ingress.apply(tableOf([], { port }));
  equal(ingress.ports[0]!.reason, `port ${port} on 127.0.0.1 is in use by another program`);
  server.close();
  await eventually(() => ingress.ports[0]!.state === "open", "the port is open");
});

const nodes = await createAuthority("nodes");
const workloads = await createAuthority("workloads");
const issue = async (authority: typeof nodes, uri: string) => {
  const { key, csr } = await createKeyAndCsr("x");
  return { certificate: await issueCertificate(authority, { csr, uri, days: 1 }), key };
};
const of = { clusterId: "c1", tenant: "default", instance: "web", uid: "u1", nodeId: "b" };
for (const [what, nodeId, wanted] of [
  ["the right one is served", "b", 200],
  ["another node's is not", "c", 503],
] as const) {
  await check(`a container's certificate: ${what}`, async () => {
    const { certificate, key } = await issue(workloads, containerUri({ ...of, nodeId }));
    const server = createTlsServer(
      { cert: certificate, key, ca: nodes.certificate, requestCert: true, rejectUnauthorized: true },
      (socket) => {
        socket.on("error", () => {});
        socket.on("data", () => socket.write(ok("secret")));
      },
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const own = await issue(nodes, nodeUri("c1", "self"));
    const ingress = new Ingress({ portsChanged() {} });
    open.push({ close: () => server.close() }, { close: () => ingress.stop(0) });
    const at = { node: "b", host: "127.0.0.1", port, incarnation: "1" };
    await ingress.apply(tableOf([at], {}, { ...own, ca: workloads.certificate }));
    const [response] = await client(ingress.boundPort(0)).send(get).responses(1);
    equal(statusOf(response!), wanted);
  });
}

process.exit(failed === 0 ? 0 : 1);
