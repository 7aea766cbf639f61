/**
 * What serveHttp promises, as a list of named checks that runs on any runtime: `http.test.ts` runs it here and in
 * Deno. Prints one JSON line a check.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
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

/** A connection that is used again and again; null when it was not made. */
function connected(where: Where): Promise<{ socket: Socket; post(): Promise<string> } | null> {
  return new Promise((resolve) => {
    const socket = open(where);
    socket.on("error", () => resolve(null));
    socket.on("close", () => resolve(null));
    const post = (): Promise<string> =>
      new Promise((answered) => {
        if (socket.destroyed || socket.readableEnded) return answered("");
        const onData = (data: Buffer): void => done(data.toString());
        const onClose = (): void => done("");
        const done = (answer: string): void => {
          socket.off("data", onData).off("close", onClose);
          answered(answer);
        };
        socket.on("data", onData).on("close", onClose);
        socket.write(formatRequest({ method: "POST", body: "abc" }));
      });
    socket.on("secureConnect", () => resolve({ socket, post }));
  });
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
    const { port, reload } = await serve({ tls: await old.container(), handoverMs: 50 });
    const slow = ask({ port, tls: await old.ingress() }, { path: "/slow" });
    await ask({ port, tls: await old.ingress() });
    reload?.(await renewed.container());
    const where = { port, tls: await renewed.ingress() };
    // Until the old listener has gone it gets some of them.
    for (let good = 0; good < 12;) good = (await failureOf(ask(where))) === "" ? good + 1 : 0;
    equal(await failureOf(ask({ port, tls: await old.ingress() })), "broken");
    equal((await slow).status, 200);
  },
  "reload loses no request, on connections in use and on new ones": async () => {
    const trust = await createTrust();
    const { port, reload } = await serve({ tls: await trust.container(), handoverMs: 150 });
    const where = { port, tls: await trust.ingress() };
    const over = new AbortController();
    const outcomes = { answered: 0, lost: 0 };
    const client = async (pauseMs: number): Promise<void> => {
      let link: Awaited<ReturnType<typeof connected>> = null;
      while (!over.signal.aborted) {
        link ??= await connected(where);
        // Nothing was sent: no loss.
        if (!link) continue;
        const answer = await link.post();
        outcomes[answer === "" ? "lost" : "answered"]++;
        if (answer === "" || /^connection: close/im.test(answer)) {
          link.socket.destroy();
          link = null;
        }
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
      link?.socket.destroy();
    };
    const clients = Array.from({ length: 12 }, (_, i) => client(i % 6));
    for (let i = 0; i < 6; i++) {
      reload?.(await trust.container());
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    over.abort();
    await Promise.all(clients);
    equal([outcomes.answered > 100, outcomes.lost], [true, 0]);
  },
  "a port that a TLS server has is a conflict for the next one, with and without TLS": async () => {
    const tls = await (await createTrust()).container();
    const { port, reload } = await serve({ tls });
    equal(await failureOf(serve({ tls, listen: { host, port } })), "CONFLICT");
    reload?.(tls);
    equal(await failureOf(serve({ tls, listen: { host, port } })), "CONFLICT");
    equal(await failureOf(serve({ listen: { host, port } })), "CONFLICT");
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
