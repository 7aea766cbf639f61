/** What `serveHttp` takes and gives, the same for each runtime. */
import { DvsError } from "../errors.ts";

/** PEM texts. TLS 1.3 and nothing older. */
export interface HttpTls {
  /** The server's certificate, followed by those that lead to its authority. */
  certificate: string;
  key: string;
  /** Where given, a client must show a certificate that this authority signed, or gets no connection. */
  ca?: string;
}

/** The connection that a request came by. */
export interface HttpConnection {
  /** Address of the other end, "" on a Unix socket. */
  readonly peer: string;
}

export interface HttpServeOptions {
  /** A TCP address (port 0: any free one), or the path of a Unix socket, which must not exist yet. */
  listen: { host: string; port: number } | { unix: string };
  tls?: HttpTls;
  fetch: (request: Request, connection: HttpConnection) => Response | Promise<Response>;
  /** A request with a larger body is refused with 413. No limit where not given. */
  maxBodyBytes?: number;
  /** A connection on which nothing moved for this long is closed; at most 255, 0 (the default) never. */
  idleTimeoutSeconds?: number;
  /** How long the old certificate is shown beside the new one after `reload`, where a runtime needs it (Bun). */
  handoverMs?: number;
  /** Told what `fetch` threw; the client gets a bare 500. */
  onError?: (error: unknown, request: Request) => void;
}

/** Longer than our ingress keeps an idle connection (8 s): whoever still uses one has learnt that it closes. */
export const handoverMs = 10_000;

export interface HttpServer {
  /** 0 on a Unix socket. */
  readonly port: number;
  /**
   * With TLS on TCP: the certificate, key and authority for connections from now on. Nothing under way is disturbed, and no
   * request is lost: on Bun some new connections get the old certificate until `handoverMs` have passed. Throws INVALID
   * when the certificate cannot be used; nothing changes then.
   */
  reload?: (tls: HttpTls) => void;
  /**
   * Accepts no further connection, closes the idle ones and waits until every request under way was answered, at
   * most `graceMs`; what is left then is cut, or answered with 503 where the runtime cannot cut.
   */
  stop: (graceMs: number) => Promise<void>;
}

/** The same response, telling the client to leave the connection. */
export function closing(response: Response): Response {
  try {
    response.headers.set("connection", "close");
    return response;
  } catch {
    // Headers of Response.redirect and of fetched responses cannot be changed.
    const headers = new Headers(response.headers);
    headers.set("connection", "close");
    return new Response(response.body, { status: response.status, headers });
  }
}

/** The answer to a request whose handler failed: nothing of the error leaves the host process. */
export function failedResponse(): Response {
  return new Response("Internal Server Error\n", { status: 500, headers: { "content-type": "text/plain" } });
}

/** An error of listen(2) as people should read it. */
export function listenError(listen: HttpServeOptions["listen"], cause: unknown): DvsError {
  const at = "unix" in listen ? listen.unix : `${listen.host}:${listen.port}`;
  const { code, name, message } = cause as { code?: string; name?: string; message?: string };
  if (code === "EADDRINUSE" || name === "AddrInUse") {
    return new DvsError("CONFLICT", `Cannot listen on ${at}: it is in use. Choose another or end its user.`, {
      cause,
    });
  }
  if (code === "EACCES" || name === "PermissionDenied") {
    return new DvsError("FORBIDDEN", `Cannot listen on ${at}: permission denied.`, { cause });
  }
  return new DvsError("INVALID", `Cannot listen on ${at}: ${message ?? String(cause)}`, { cause });
}

/** Resolves when `done` did or `graceMs` passed; true when it was the first. */
export async function within(graceMs: number, done: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), graceMs);
  });
  const first = await Promise.race([done.then(() => true), late]);
  clearTimeout(timer);
  return first;
}
