/** The diagnostic route: every method is answered with the request's own body, and the node that did it. */
import { KiB } from "../../core/limits.ts";

/** Up to here a body is gathered and sent with its length; longer ones flow through. */
const gatherBytesMax = 64 * KiB;

/** `headers` are changed. */
export async function echo(request: Request, node: string, headers: Headers): Promise<Response> {
  headers.set("x-dvs-node", node);
  headers.set("x-dvs-method", request.method);
  headers.set("cache-control", "no-store");
  // Never the request's own type: nobody shall run what somebody else made us say.
  headers.set("content-type", "application/octet-stream");
  if (request.method === "HEAD" || !request.body) return new Response(null, { headers });
  const length = request.headers.get("content-length");
  const gathered = length !== null && Number(length) <= gatherBytesMax;
  return new Response(gathered ? await request.arrayBuffer() : request.body, { headers });
}

/** Whether a path is the route or below it. */
export function isEcho(path: string, route: string | null): boolean {
  return (
    route !== null && path.startsWith(route) && (path.length === route.length || path[route.length] === "/")
  );
}
