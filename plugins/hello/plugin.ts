/**
 * The smallest VOS, to be copied, and named in plugins/registry.ts: a schema of its options, a factory, and a function
 * that answers requests. GET / greets; POST /count counts one more on whichever node the counter is, GET /count looks.
 */
import { z } from "zod";
import type { CallError } from "../../core/kernel/call-error.ts";
import type { VosPlugin } from "../../core/vos.ts";
import { type Counted, Counter } from "./counter.ts";

const Options = z.strictObject({
  greeting: z.string().min(1).max(1_000).default("hello").describe("What each answer begins with."),
});

const hello: VosPlugin<typeof Options> = {
  name: "hello",
  summary: "answers each request with a greeting; the example to copy",
  options: Options,
  image: "none",
  needs: { kernel: true, state: true },
  async boot(host, { greeting }) {
    const { kernel, state, node, instance } = host;
    const counter = kernel && state && new Counter(kernel, state);
    let requests = 0;
    host.log("info", "hello booted", { greeting });
    async function count(n: number): Promise<Response> {
      // Without a lease nobody may say what the count is: another may hold it by now.
      const reason = kernel?.state === "running" ? "" : `this kernel is ${kernel?.state ?? "absent"}`;
      if (!counter || reason) return Response.json({ reason }, { status: 503 });
      const counted = await counter
        .add(n)
        .catch(({ outcome, message }: CallError): Counted => ({ outcome, reason: message }));
      return Response.json({ ...counted, node: node.name }, { status: "outcome" in counted ? 503 : 200 });
    }

    return {
      fetch(request) {
        const isCount = /^[^?]*\/count(\?|$)/.test(request.url);
        if (isCount && request.method === "POST") return count(1);
        if (request.method !== "GET" && request.method !== "HEAD") {
          return new Response("Method Not Allowed\n", { status: 405, headers: { allow: "GET, HEAD" } });
        }
        requests++;
        if (isCount) return count(0);
        return Response.json({ greeting, instance, node: node.name, requests });
      },
    };
  },
};

export default hello;
