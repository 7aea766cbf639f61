/**
 * An HTTP server on whichever runtime this is. Bun and Deno each have a native one that takes a fetch handler; where
 * theirs cannot do what is asked (client certificates and new certificates in Deno), node:http2 stands in.
 */
import type { HttpServeOptions, HttpServer } from "./http-types.ts";
import { serveHttp as serveOnBun } from "./bun/http.ts";
import { serveHttp as serveOnDeno } from "./deno/http.ts";
import { isDeno } from "./runtime.ts";

export { closing } from "./http-types.ts";
export type { HttpConnection, HttpServeOptions, HttpServer, HttpTls } from "./http-types.ts";

/**
 * Listens and answers with `options.fetch`. Rejects with CONFLICT when the address or socket file is in use, with
 * INVALID when the certificate or the address cannot be used. What `fetch` throws is answered with 500.
 */
export function serveHttp(options: HttpServeOptions): Promise<HttpServer> {
  return isDeno ? serveOnDeno(options) : serveOnBun(options);
}
