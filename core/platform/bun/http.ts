/** `serveHttp` on Bun.serve: the fastest there is, plain, with TLS, with client certificates, on Unix sockets. */
import { DvsError } from "../../errors.ts";
import {
  closing,
  failedResponse,
  handoverMs,
  listenError,
  within,
  type HttpConnection,
  type HttpServeOptions,
  type HttpServer,
  type HttpTls,
} from "../http-types.ts";

/** Bun takes the version as OpenSSL's number and ignores the name. */
const tls13 = 0x0304;

/** Tries to find a free port that nobody takes between the look and the use. */
const claimsMax = 5;

/**
 * One Bun server. Bun.serve cannot change certificates (server.reload ignores `tls`), and a server that is stopped closes
 * connections on which the next request may just have been written. So a new certificate gets a listener of its own
 * beside the old one, on the same port by SO_REUSEPORT; the old one answers with `Connection: close`, and is stopped when
 * every client that goes on has left it. (2 cores, 24 clients POSTing through 11 changes: 0 requests lost of 290,000;
 * 138 when the old one was stopped at once.)
 */
class Listener {
  readonly server: Bun.Server<undefined>;
  #leaving = false;

  constructor(options: HttpServeOptions, at: HttpServeOptions["listen"], tls: HttpTls | undefined) {
    const answer = handler(options);
    const leaving = (response: Response): Response => (this.#leaving ? closing(response) : response);
    this.server = listen(options, at, {
      tls,
      // Not without need: with it the system spreads connections over all who ask for the port.
      reusePort: tls !== undefined && !("unix" in at),
      fetch: tls
        ? (request, server) => {
            const response = answer(request, server);
            return response instanceof Promise ? response.then(leaving) : leaving(response);
          }
        : answer,
    });
  }

  leave(): void {
    this.#leaving = true;
  }
}

// oxlint-disable-next-line require-await -- asynchronous because Deno's is
export async function serveHttp(options: HttpServeOptions): Promise<HttpServer> {
  let current = open(options);
  const { port = 0 } = current.server;
  /** Listeners whose place another one took, until their last request is answered. */
  const left = new Map<Bun.Server<undefined>, ReturnType<typeof setTimeout>>();

  const reload = (host: string, tls: HttpTls): void => {
    const next = new Listener(options, { host, port }, tls);
    const { server } = current;
    current.leave();
    const timer = setTimeout(() => {
      const stopped = server.stop(false).catch(ignore);
      void stopped.then(() => left.delete(server));
    }, options.handoverMs ?? handoverMs);
    left.set(server, timer);
    current = next;
  };

  const { listen: at, tls } = options;
  return {
    port,
    ...(tls && !("unix" in at) ? { reload: (renewed: HttpTls) => reload(at.host, renewed) } : {}),
    async stop(graceMs) {
      for (const timer of left.values()) clearTimeout(timer);
      const servers = [current.server, ...left.keys()];
      const all = (now: boolean) => Promise.all(servers.map((server) => server.stop(now)));
      if (!(await within(graceMs, all(false)))) await within(100, all(true));
    },
  };
}

/** The first listener. One that others may join is no longer told when its port is taken, so that is found out before. */
function open(options: HttpServeOptions): Listener {
  const { listen: at, tls } = options;
  if (!tls || "unix" in at) return new Listener(options, at, tls);
  for (let claims = 1; ; claims++) {
    const claim = listen(options, at, { tls: undefined, reusePort: false, fetch: failedResponse });
    const { port = 0 } = claim;
    claim.stop(true).catch(ignore);
    try {
      return new Listener(options, { host: at.host, port }, tls);
    } catch (e) {
      const taken = e instanceof DvsError && e.code === "CONFLICT";
      if (!taken || at.port !== 0 || claims === claimsMax) throw e;
    }
  }
}

function ignore(): void {}

interface Manner {
  tls: HttpTls | undefined;
  reusePort: boolean;
  fetch: (request: Request, server: Bun.Server<undefined>) => Response | Promise<Response>;
}

function listen(
  options: HttpServeOptions,
  at: HttpServeOptions["listen"],
  { tls, reusePort, fetch }: Manner,
): Bun.Server<undefined> {
  const common = {
    fetch,
    // Bun's own default would answer 413 above 128 MiB.
    maxRequestBodySize: options.maxBodyBytes ?? Number.MAX_SAFE_INTEGER,
    idleTimeout: options.idleTimeoutSeconds ?? 0,
    error: failedResponse,
    development: false as const,
    // Without development mode Bun shares the port with whoever asks: two containers would split their requests.
    reusePort,
    ...(tls ? { tls: tlsOptions(tls) } : {}),
  };
  try {
    // Bun's types know no idle timeout on Unix sockets, yet its default of ten seconds cuts slow answers there too.
    return "unix" in at
      ? Bun.serve({ ...common, unix: at.unix } as unknown as Bun.Serve.Options<undefined>)
      : Bun.serve({ ...common, hostname: at.host, port: at.port });
  } catch (e) {
    throw listenError(at, e);
  }
}

function tlsOptions(tls: HttpTls): Bun.TLSOptions {
  const base = { cert: tls.certificate, key: tls.key, minVersion: tls13 as never };
  return tls.ca === undefined ? base : { ...base, ca: tls.ca, requestCert: true, rejectUnauthorized: true };
}

/** Looks the address up only when somebody asks: it costs a system call. */
class Connection implements HttpConnection {
  readonly #request: Request;
  readonly #server: Bun.Server<undefined>;
  constructor(request: Request, server: Bun.Server<undefined>) {
    this.#request = request;
    this.#server = server;
  }
  get peer(): string {
    return this.#server.requestIP(this.#request)?.address ?? "";
  }
}

function handler(options: HttpServeOptions) {
  const { fetch } = options;
  const failed = (error: unknown, request: Request): Response => {
    options.onError?.(error, request);
    return failedResponse();
  };
  return (request: Request, server: Bun.Server<undefined>): Response | Promise<Response> => {
    try {
      const response = fetch(request, new Connection(request, server));
      return response instanceof Promise ? response.catch((e: unknown) => failed(e, request)) : response;
    } catch (e) {
      return failed(e, request);
    }
  };
}
