/**
 * Between the HTTP servers and the VOS: answers the health path, counts requests, and while the container stops says
 * so on each response, so that clients which keep connections leave in their own time.
 */
import { closing, type HttpConnection } from "../platform/http.ts";
import type { Vos } from "../vos.ts";

/** Reserved in every instance: ingress probes it, the VOS never sees it. */
export const healthPath = "/.well-known/dvs/health";

export class Service {
  readonly #vos: Vos;
  #draining = false;
  /** Requests that the VOS was given since the start. */
  requests = 0;

  constructor(vos: Vos) {
    this.#vos = vos;
  }

  /** From now on health is 503 and each response closes its connection. */
  drain(): void {
    this.#draining = true;
  }

  readonly fetch = (request: Request, connection: HttpConnection): Response | Promise<Response> => {
    const { url } = request;
    if (url.endsWith(healthPath) && isHealthPath(url)) return this.#health(request.method);
    this.requests++;
    if (this.#draining) return this.#last(request, connection);
    return this.#vos.fetch(request, connection);
  };

  #health(method: string): Response {
    const load = this.#vos.load?.() ?? "";
    const headers = {
      "content-type": "text/plain",
      "cache-control": "no-store",
      ...(load === "" ? {} : { "x-dvs-load": load }),
    };
    if (method !== "GET" && method !== "HEAD") {
      return new Response("Method Not Allowed\n", {
        status: 405,
        headers: { ...headers, allow: "GET, HEAD" },
      });
    }
    if (!this.#draining) return new Response("ready\n", { headers });
    return new Response("stopping\n", { status: 503, headers: { ...headers, connection: "close" } });
  }

  async #last(request: Request, connection: HttpConnection): Promise<Response> {
    return closing(await this.#vos.fetch(request, connection));
  }
}

/** The path begins behind `http://host`; a URL without one comes from HTTP/1.0. */
function isHealthPath(url: string): boolean {
  const start = url.startsWith("/") ? 0 : url.indexOf("/", url.indexOf("//") + 2);
  return url.length - start === healthPath.length;
}
