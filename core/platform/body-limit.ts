/** A bound on the body of a request, for servers that have none of their own. */

/** Whether the request declares more than `maxBytes`. */
export function overLimit(request: Request, maxBytes: number): boolean {
  return Number(request.headers.get("content-length") ?? 0) > maxBytes;
}

/** The request with a body that fails after `maxBytes`; `exceeded` tells whether it did. */
export function limitedBody(
  request: Request,
  maxBytes: number,
): { request: Request; exceeded: () => boolean } {
  let bytes = 0;
  let exceeded = false;
  const counter = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, controller) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) {
        exceeded = true;
        controller.error(new Error(`Cannot take a body of more than ${maxBytes} bytes.`));
      } else controller.enqueue(chunk);
    },
  });
  const init = {
    method: request.method,
    headers: request.headers,
    body: request.body?.pipeThrough(counter) ?? null,
    duplex: "half",
  };
  return { request: new Request(request.url, init), exceeded: () => exceeded };
}

export function tooLargeResponse(): Response {
  return new Response("Content Too Large\n", { status: 413, headers: { "content-type": "text/plain" } });
}
