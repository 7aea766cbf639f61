/**
 * What serveHttp promises, as a list of named checks that runs on any runtime: `http.test.ts` runs it here and in
 * Deno. Prints one JSON line a check.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DvsError } from "../../../core/errors.ts";
import { serveHttp, type HttpServeOptions, type HttpServer } from "../../../core/platform/http.ts";
import { createTrust } from "../container/certificates.ts";
import { ask, formatRequest, open, type Where } from "../container/raw-http.ts";

const host = "127.0.0.1";
const dir = mkdtempSync(join(tmpdir(), "dvs-"));
let sockets = 0;
const running: HttpServer[] = [];

const handler: HttpServeOptions["fetch"] = async (request, { peer }) => {
  const path = new URL(request.url).pathname;
  if (path === "/boom") throw new Error("secret");
  if (path === "/slow") await new Promise((resolve) => setTimeout(resolve, 300));
  if (path === "/stream") return new Response(request.body);
  return new Response(`${request.method} ${peer} ${(await request.arrayBuffer()).byteLength}`);
};

async function serve(options: Partial<HttpServeOptions> = {}): Promise<HttpServer & { where: Where }> {
  const listen = options.listen ?? { host, port: 0 };
  const server = await serveHttp({ fetch: handler, ...options, listen });
  running.push(server);
  return Object.assign(server, {
    where: "unix" in listen ? { socketPath: listen.unix } : { port: server.port },
  });
}

const newSocket = (): string => join(dir, `${++sockets}.sock`);
const failureOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "",
    (e: unknown) => (e instanceof DvsError ? e.code : "broken"),
  );

function equal(actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
  }
}

const checks: Record<string, () => Promise<void>> = {
  "plain TCP: method, body, peer": async () => {
    const { where } = await serve();
    const answer = await ask(where, { method: "PUT", body: "12345" });
    equal([answer.status, answer.body.toString()], [200, `PUT ${host} 5`]);
  },
  "Unix socket: no peer, the file goes with the server": async () => {
    const unix = newSocket();
    const { where, stop, port } = await serve({ listen: { unix } });
    equal([port, (await ask(where)).body.toString()], [0, "GET  0"]);
    await stop(1_000);
    equal(existsSync(unix), false);
  },
  "a port in use is a conflict": async () => {
    const { port } = await serve();
    equal(await failureOf(serve({ listen: { host, port } })), "CONFLICT");
  },
  "a Unix socket in use is a conflict": async () => {
    const unix = newSocket();
    const { where } = await serve({ listen: { unix } });
    equal(await failureOf(serve({ listen: { unix } })), "CONFLICT");
    equal((await ask(where)).status, 200);
  },
  "what the handler throws becomes a bare 500, and is told": async () => {
    const told: string[] = [];
    const { where } = await serve({ onError: (e) => told.push((e as Error).message) });
    const answer = await ask(where, { path: "/boom" });
    equal([answer.status, answer.body.includes("secret"), told], [500, false, ["secret"]]);
  },
  "a body over the limit is 413, with a length and in chunks; one at it is taken": async () => {
    for (const listen of [{ host, port: 0 }, { unix: newSocket() }]) {
      const { where } = await serve({ listen, maxBodyBytes: 1_000 });
      const status = async (what: Parameters<typeof ask>[1]): Promise<number> =>
        (await ask(where, what)).status;
      equal(await status({ method: "PUT", body: "x".repeat(1_000) }), 200);
      equal(await status({ method: "PUT", body: "x".repeat(1_001) }), 413);
      const chunks = ["x".repeat(600), "x".repeat(600)];
      equal(await status({ method: "PUT", chunks, headers: { "transfer-encoding": "chunked" } }), 413);
    }
  },
  "bodies stream through, both ways": async () => {
    const { where } = await serve();
    const body = "0123456789".repeat(200_000);
    const answer = await ask(where, { method: "PUT", path: "/stream", body });
    equal(answer.body.toString() === body, true);
  },
  "stop answers what is under way, then nothing more": async () => {
    const { where, stop } = await serve();
    const slow = ask(where, { path: "/slow" });
    await ask(where);
    await stop(5_000);
    equal((await slow).status, 200);
    equal(await failureOf(ask(where)), "broken");
  },
  "stop does not wait for idle connections": async () => {
    const { where, stop } = await serve();
    const socket = open(where);
    socket.on("error", () => undefined);
    const closed = new Promise((resolve) => socket.on("close", resolve));
    const answered = new Promise((resolve) => socket.once("data", resolve));
    socket.write(formatRequest({}));
    await answered;
    await stop(60_000);
    await closed;
  },
  "stop cuts what does not end within the grace": async () => {
    const { where, stop } = await serve({ fetch: () => new Promise<never>(() => undefined) });
    const stuck = ask(where).then(
      ({ status }) => status,
      () => 503,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    await stop(50);
    equal(await stuck, 503);
  },
  "TLS without client certificates": async () => {
    const trust = await createTrust();
    const tls = await trust.container();
    const { port } = await serve({ tls: { certificate: tls.certificate, key: tls.key } });
    equal((await ask({ port, tls: await trust.ingress() })).status, 200);
    equal(await failureOf(ask({ port })), "broken");
  },
  "TLS with client certificates: the right authority's and no others": async () => {
    const trust = await createTrust();
    const { port } = await serve({ tls: await trust.container() });
    const good = await trust.ingress();
    equal((await ask({ port, tls: good })).body.toString(), `GET ${host} 0`);
    const strangers = await (await createTrust()).ingress();
    equal(await failureOf(ask({ port, tls: { ...strangers, ca: good.ca } })), "broken");
    equal(await failureOf(ask({ port, tls: { ...(await trust.container()), ca: good.ca } })), "broken");
  },
  "reload: new connections get the new certificate, requests under way end well": async () => {
    const [old, renewed] = [await createTrust(), await createTrust()];
    const { port, reload } = await serve({ tls: await old.container() });
    const slow = ask({ port, tls: await old.ingress() }, { path: "/slow" });
    await ask({ port, tls: await old.ingress() });
    reload?.(await renewed.container());
    equal((await ask({ port, tls: await renewed.ingress() })).status, 200);
    equal(await failureOf(ask({ port, tls: await old.ingress() })), "broken");
    equal((await slow).status, 200);
  },
  "a certificate that is none is INVALID, at the start and at reload, and changes nothing": async () => {
    const junk = { certificate: "junk", key: "junk", ca: "junk" };
    equal(await failureOf(serve({ tls: junk })), "INVALID");
    const trust = await createTrust();
    const { port, reload } = await serve({ tls: await trust.container() });
    equal(await failureOf((async () => reload?.(junk))()), "INVALID");
    equal((await ask({ port, tls: await trust.ingress() })).status, 200);
  },
  "TLS: limit, failure and stop are as without": async () => {
    const trust = await createTrust();
    const { port, stop } = await serve({ tls: await trust.container(), maxBodyBytes: 10 });
    const where = { port, tls: await trust.ingress() };
    equal((await ask(where, { path: "/boom" })).status, 500);
    equal((await ask(where, { method: "PUT", body: "x".repeat(11) })).status, 413);
    const slow = ask(where, { path: "/slow" });
    await ask(where);
    await stop(5_000);
    equal((await slow).status, 200);
  },
};

for (const [name, check] of Object.entries(checks)) {
  let failure: string | null = null;
  try {
    await check();
  } catch (e) {
    failure = e instanceof Error ? e.message : String(e);
  }
  console.log(JSON.stringify({ name, failure }));
  for (const server of running.splice(0)) await server.stop(0);
}
rmSync(dir, { recursive: true, force: true });
process.exit(0);
