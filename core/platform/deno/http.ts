/**
 * `serveHttp` on Deno: Deno.serve for plain HTTP (TCP and Unix), node:http2 with HTTP/1.1 allowed for TLS, because
 * Deno.serve silently ignores client certificates and cannot change its own.
 */
import type { Http2SecureServer } from "node:http2";
import type { Socket } from "node:net";
import { createPrivateKey, X509Certificate } from "node:crypto";
import {
  failedResponse,
  listenError,
  within,
  type HttpServeOptions,
  type HttpServer,
  type HttpTls,
} from "../http-types.ts";
import { limitedBody, overLimit, tooLargeResponse } from "../body-limit.ts";

export function serveHttp(options: HttpServeOptions): Promise<HttpServer> {
  return options.tls ? serveTls(options, options.tls) : servePlain(options);
}

/** The handler with what Bun.serve does by itself: the body's limit, and an answer to whatever was thrown. */
async function answer(options: HttpServeOptions, request: Request, peer: string): Promise<Response> {
  const max = options.maxBodyBytes;
  try {
    if (max === undefined || !request.body) return await options.fetch(request, { peer });
    if (overLimit(request, max)) return tooLargeResponse();
    const limited = limitedBody(request, max);
    try {
      const response = await options.fetch(limited.request, { peer });
      return limited.exceeded() ? tooLargeResponse() : response;
    } catch (e) {
      if (limited.exceeded()) return tooLargeResponse();
      throw e;
    }
  } catch (e) {
    options.onError?.(e, request);
    return failedResponse();
  }
}

// oxlint-disable-next-line require-await -- asynchronous like its sister
async function servePlain(options: HttpServeOptions): Promise<HttpServer> {
  const { listen } = options;
  const common = { onListen: () => undefined, onError: failedResponse };
  // Deno can wait for connections or drop them, and not drop those that it waits for: at the end of the grace every
  // request that has no answer yet gets this one. A body that flows still is left to the end of the host process.
  const unanswered = new Set<(response: Response) => void>();
  const handle = (request: Request, peer: string): Promise<Response> =>
    new Promise((resolve) => {
      const settle = (response: Response): void => {
        unanswered.delete(settle);
        resolve(response);
      };
      unanswered.add(settle);
      void answer(options, request, peer).then(settle);
    });
  try {
    const server =
      "unix" in listen
        ? Deno.serve({ ...common, path: listen.unix }, (request) => handle(request, ""))
        : Deno.serve({ ...common, hostname: listen.host, port: listen.port }, (request, info) =>
            handle(request, info.remoteAddr.hostname ?? ""),
          );
    return {
      port: server.addr.port ?? 0,
      async stop(graceMs) {
        const ended = server.shutdown();
        if (await within(graceMs, ended)) return;
        const headers = { connection: "close" };
        for (const settle of unanswered)
          settle(new Response("Service Unavailable\n", { status: 503, headers }));
        await within(100, ended);
      },
    };
  } catch (e) {
    throw listenError(listen, e);
  }
}

async function serveTls(options: HttpServeOptions, tls: HttpTls): Promise<HttpServer> {
  const [http2, { getRequestListener }] = await Promise.all([
    import("node:http2"),
    import("@hono/node-server"),
  ]);
  const sockets = new Set<Socket>();
  let underWay = 0;
  let idle: (() => void) | undefined;
  let server: Http2SecureServer;
  try {
    server = http2.createSecureServer({
      ...secureContext(tls),
      allowHTTP1: true,
      handshakeTimeout: 10_000,
    });
  } catch (e) {
    throw listenError(options.listen, e);
  }
  const listener = getRequestListener(
    (request, bindings) => {
      const { incoming } = bindings as { incoming: { socket: { remoteAddress?: string } } };
      return answer(options, request, incoming.socket.remoteAddress ?? "");
    },
    { overrideGlobalObjects: false },
  );
  server.on("request", (incoming, outgoing) => {
    underWay++;
    outgoing.once("close", () => {
      if (--underWay === 0) idle?.();
    });
    void listener(incoming, outgoing);
  });
  server.on("secureConnection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    const seconds = options.idleTimeoutSeconds ?? 0;
    if (seconds > 0) socket.setTimeout(seconds * 1000, () => socket.destroy());
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (e) => reject(listenError(options.listen, e)));
    const { listen } = options;
    if ("unix" in listen) server.listen(listen.unix, resolve);
    else server.listen(listen.port, listen.host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : 0,
    reload(next) {
      try {
        server.setSecureContext(secureContext(next));
      } catch (e) {
        throw listenError(options.listen, e);
      }
    },
    async stop(graceMs) {
      server.close();
      const answered = new Promise<void>((resolve) => {
        idle = resolve;
        if (underWay === 0) resolve();
      });
      await within(graceMs, answered);
      for (const socket of sockets) socket.destroy();
    },
  };
}

function secureContext(tls: HttpTls) {
  // Deno takes any text here and fails at each handshake.
  const pems = tls.ca === undefined ? [tls.certificate] : [tls.certificate, tls.ca];
  if (!pems.every((pem) => new X509Certificate(pem).subject !== undefined)) throw new Error("no certificate");
  createPrivateKey(tls.key);
  return {
    cert: tls.certificate,
    key: tls.key,
    minVersion: "TLSv1.3" as const,
    ...(tls.ca === undefined ? {} : { ca: tls.ca, requestCert: true, rejectUnauthorized: true }),
  };
}
