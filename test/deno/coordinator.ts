/**
 * The coordinator under Deno: `deno run -A test/deno/coordinator.ts`. Also runs under Bun. Prints one line a check and
 * exits with 1 when one failed. Only what the runtimes' servers might do differently; test/core/coordinator has the
 * rest, and test/deno/cli.ts a whole cluster.
 */
import process from "node:process";
import { createClient } from "../../core/transport/client.ts";
import { FakeAgent } from "../core/coordinator/fake-agent.ts";
import { codeOf, hello, Lab, until } from "../core/coordinator/lab.ts";
import { streamFacts } from "../core/coordinator/stream-lab.ts";

let failed = 0;

async function check(fact: string, run: () => Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("took longer than 20 s")), 20_000);
  });
  try {
    await Promise.race([run(), limit]);
    console.log(`ok    ${fact}`);
  } catch (e) {
    failed++;
    console.log(`FAIL  ${fact}: ${e instanceof Error ? (e.stack ?? e.message) : String(e)}`);
  } finally {
    clearTimeout(timer);
  }
}

function ensure(condition: boolean, what: unknown): void {
  if (!condition) throw new Error(`not as it must be: ${JSON.stringify(what)}`);
}

for (const [fact, run] of Object.entries(streamFacts)) await check(fact, run);

const lab = await Lab.start();
const { apiAddress, adminToken, ca } = lab.running.ready;
const agent = await (await FakeAgent.join(lab, "n1")).run();

await check("an instance runs on an agent over mutual TLS, seen through a watch", async () => {
  const watch = lab.api.instances.watch();
  await lab.api.instances.create(hello("web"));
  for await (const event of watch)
    if (event.type === "instance" && event.instance.phase === "running") return;
});

await check("a log goes from the agent to the client", async () => {
  const sent = agent.told("logs").then(({ id }) => {
    return agent.link.sendStream(id, new Response("one\ntwo").body!, new AbortController().signal);
  });
  const lines: string[] = [];
  for await (const { line } of lab.api.instances.logs("web")) lines.push(line);
  await sent;
  ensure(lines.join() === "one,two", lines);
});

await check("a body beyond the limit is refused before all of it came", async () => {
  const client = createClient({ addresses: [apiAddress], trust: { ca } });
  let sent = 0;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      sent += 65_536;
      controller.enqueue(new Uint8Array(65_536).fill(0x20));
    },
  });
  const headers = { authorization: `Bearer ${adminToken}` };
  const response = await client.request({ method: "POST", path: "/v1/instances", body, headers });
  client.close();
  ensure(response.status === 413 && sent < 64 * 1024 * 1024, [response.status, sent]);
});

await check("a node that is removed hears it and is refused", async () => {
  await lab.api.nodes.remove("n1", true);
  await agent.told("removed");
  const code = await codeOf(agent.beat());
  ensure(code === "NOT_FOUND", code);
});

await check("it ends at once, with streams open", async () => {
  const watch = lab.api.instances.watch();
  await watch.next();
  const began = performance.now();
  const code = await lab.stop();
  const tookMs = performance.now() - began;
  for await (const _ of watch);
  ensure(code === 0 && tookMs < 1_900, [code, tookMs]);
});

await check("it starts again on its data directory, as the same cluster on the same ports", async () => {
  const { ready, api } = await lab.start();
  ensure(ready.apiAddress === apiAddress && ready.adminToken === adminToken, ready.apiAddress);
  await until(async () => (await api.instances.get("web")).name === "web");
});

await lab.close();
process.exit(failed === 0 ? 0 : 1);
