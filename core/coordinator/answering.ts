/**
 * HEAD as the web wants it: what GET would answer, without its body. Hono runs the GET and leaves the body behind;
 * that of a stream would stay subscribed for ever, so it is cancelled here.
 */
export function answering<Rest extends unknown[]>(
  fetch: (request: Request, ...rest: Rest) => Response | Promise<Response>,
): (request: Request, ...rest: Rest) => Promise<Response> {
  return async (request, ...rest) => {
    if (request.method !== "HEAD") return fetch(request, ...rest);
    const get = new Request(request.url, { headers: request.headers, signal: request.signal });
    const { body, status, headers } = await fetch(get, ...rest);
    await body?.cancel();
    return new Response(null, { status, headers });
  };
}
