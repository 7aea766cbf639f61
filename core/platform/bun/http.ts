/** `serveHttp` on Bun.serve: the fastest there is, plain, with TLS, with client certificates, on Unix sockets. */
import {
  failedResponse,
  listenError,
  within,
  type HttpConnection,
  type HttpServeOptions,
  type HttpServer,
  type HttpTls,
} from "../http-types.ts";

/** Bun takes the version as OpenSSL's number and ignores the name. */
const tls13 = 0x0304;

// oxlint-disable-next-line require-await -- asynchronous because Deno's is
export async function serveHttp(options: HttpServeOptions): Promise<HttpServer> {
  let server = listen(options, options.listen, options.tls);
  // Servers whose place another one took, until their last request is answered.
  const retired = new Set<Promise<void>>();

  const reload = (tls: HttpTls): void => {
    // Bun.serve cannot change certificates. Between these two calls nothing else runs: the port is free for some
    // microseconds, in which a client is refused before it wrote a byte.
    const port = server.port ?? 0;
    const { listen: at } = options;
    const next = "unix" in at ? at : { host: at.host, port };
    // A certificate that cannot be used must not cost the server that runs: try it on a port of its own first.
    listen(options, { host: "127.0.0.1", port: 0 }, tls).stop(true).catch(ignore);
    const old = server.stop(false).catch(ignore);
    retired.add(old);
    void old.then(() => retired.delete(old));
    server = listen(options, next, tls);
  };

  return {
    get port() {
      return "unix" in options.listen ? 0 : (server.port ?? 0);
    },
    ...(options.tls ? { reload } : {}),
    async stop(graceMs) {
      const all = Promise.all([server.stop(false), ...retired]);
      if (!(await within(graceMs, all))) await within(100, server.stop(true));
    },
  };
}

function ignore(): void {}

function listen(options: HttpServeOptions, at: HttpServeOptions["listen"], tls: HttpTls | undefined) {
  const common = {
    fetch: handler(options),
    // Bun's own default would answer 413 above 128 MiB.
    maxRequestBodySize: options.maxBodyBytes ?? Number.MAX_SAFE_INTEGER,
    idleTimeout: options.idleTimeoutSeconds ?? 0,
    error: failedResponse,
    development: false as const,
    // Without development mode Bun shares the port with whoever asks: two containers would split their requests.
    reusePort: false,
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
