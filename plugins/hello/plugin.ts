/**
 * The smallest VOS, to be copied: a schema of its options, a factory that boots it on the host that dvs gives it, and
 * a function that answers requests. A new one also needs a line in plugins/registry.ts.
 */
import { z } from "zod";
import type { VosPlugin } from "../../core/vos.ts";

const Options = z.strictObject({
  greeting: z.string().min(1).max(1_000).default("hello").describe("What each answer begins with."),
});

const hello: VosPlugin<typeof Options> = {
  name: "hello",
  summary: "answers each request with a greeting; the example to copy",
  options: Options,
  image: "none",
  async boot(host, options) {
    let requests = 0;
    host.log("info", "hello booted", { greeting: options.greeting });
    return {
      fetch(request) {
        if (request.method !== "GET" && request.method !== "HEAD") {
          return new Response("Method Not Allowed\n", { status: 405, headers: { allow: "GET, HEAD" } });
        }
        requests++;
        // This container's own count: the other nodes of the instance have theirs.
        return Response.json({
          greeting: options.greeting,
          instance: host.instance,
          node: host.node.name,
          requests,
        });
      },
    };
  },
};

export default hello;
