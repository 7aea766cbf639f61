import { afterEach, expect, setDefaultTimeout, test } from "bun:test";
import { createClient } from "../../../core/transport/client.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";
import { parseIdentity, uriOf } from "../../../core/trust/identity.ts";
import { derOf } from "../../../core/trust/certificate.ts";
import { freePort } from "../../tools/free-port.ts";
import { FakeAgent, join } from "./fake-agent.ts";
import { codeOf, failure, hello, Lab, until } from "./lab.ts";

setDefaultTimeout(30_000);

let lab: Lab;
afterEach(() => lab.close());

const phase = async (name: string) => (await lab.api.instances.get(name)).phase;

test("an instance runs when its agents have done what they were told, and is gone when they have undone it", async () => {
  lab = await Lab.start();
  const agents = await Promise.all(["n1", "n2"].map(async (name) => (await FakeAgent.join(lab, name)).run()));
  const port = await freePort();
  await lab.api.instances.create(hello("web", 2, [port]));
  await until(async () => (await phase("web")) === "running");
  for (const agent of agents) {
    expect(agent.desired?.containers.map((c) => c.instance)).toEqual(["web"]);
    // What the other has ready comes with the next message, if it has not come yet.
    await until(() => agent.desired?.routes[0]?.upstreams.length === 2);
  }
  await lab.api.instances.remove("web");
  await until(async () => (await codeOfOr(lab.api.instances.get("web"))) === "NOT_FOUND");
  expect(agents.every((agent) => agent.desired?.containers.length === 0)).toBe(true);
});

test("after a restart nothing goes to agents before all have reported: no upstream is ever taken away", async () => {
  lab = await Lab.start();
  const agents = await Promise.all(["n1", "n2"].map(async (name) => (await FakeAgent.join(lab, name)).run()));
  await lab.api.instances.create(hello("web", 2, [await freePort()]));
  await until(async () => (await phase("web")) === "running");
  for (const agent of agents) agent.close();
  expect(await lab.stop()).toBe(0);
  await lab.start();
  const [one, two] = await Promise.all(
    agents.map(async (old) => {
      const agent = await FakeAgent.of(lab, old.enrolled);
      agent.desired = old.desired;
      return agent;
    }),
  );
  // The first is heard, the second is not: it is taken for alive, and its upstream is not known yet.
  expect((await one!.listen()).type).toBe("ping");
  expect((await one!.beat()).reportWanted).toBe(false);
  await one!.beat();
  expect(one!.messages.filter((m) => m.type === "desired")).toEqual([]);
  await two!.beat();
  const told = await one!.told("desired");
  expect(told.desired.routes[0]?.upstreams).toHaveLength(2);
  expect(
    one!.messages.flatMap((m) => (m.type === "desired" ? [m.desired.routes[0]!.upstreams.length] : [])),
  ).toEqual([2]);
});

test("an agent that is new to this coordinator is asked for its report", async () => {
  lab = await Lab.start();
  const agent = await FakeAgent.join(lab, "n1");
  expect(await agent.beat(null)).toMatchObject({ reportWanted: true });
  expect(await agent.beat()).toMatchObject({ reportWanted: false });
  expect(await agent.beat(null)).toMatchObject({ reportWanted: false });
});

test("a node that is removed is told so on its stream, and refused from then on", async () => {
  lab = await Lab.start();
  const agent = await FakeAgent.join(lab, "n1");
  await agent.beat();
  await agent.listen();
  expect(await codeOf(lab.api.nodes.remove("n1"))).toBe("CONFLICT");
  await lab.api.nodes.remove("n1", true);
  await agent.told("removed");
  await until(() => agent.streamEnded);
  expect(await codeOf(agent.beat())).toBe("NOT_FOUND");
  const { csr } = await createKeyAndCsr("n");
  expect(await codeOf(agent.link.renewNodeCertificate(csr, new AbortController().signal))).toBe("NOT_FOUND");
  // Who was away then hears it when it comes back.
  const again = await FakeAgent.of(lab, agent.enrolled);
  expect(await again.listen()).toEqual({ type: "removed" });
  expect(await lab.api.nodes.list()).toEqual([]);
});

test("a node that leaves goes when it is empty; asked twice is asked once", async () => {
  lab = await Lab.start();
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  const leave = () =>
    lab.api.nodes.leave("n1").then(
      (n) => n.leaving,
      () => true,
    );
  expect(await Promise.all([leave(), leave()])).toEqual([true, true]);
  await agent.told("removed");
  const events = [];
  for await (const event of lab.api.events()) events.push(event.reason);
  expect(events.filter((reason) => reason === "Leaving")).toHaveLength(1);
});

test("a second stream of a node ends the first, and gets what is wanted", async () => {
  lab = await Lab.start();
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  await lab.api.instances.create(hello("a"));
  await agent.told("desired");
  const twin = await FakeAgent.of(lab, agent.enrolled);
  expect(await twin.listen()).toMatchObject({ type: "desired" });
  await until(() => agent.streamEnded);
});

test("a container's certificate goes to the node that is to run it, and to no other", async () => {
  lab = await Lab.start();
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  await lab.api.instances.create(hello("a"));
  const { desired } = await agent.told("desired");
  await until(() => agent.desired!.containers.length === 1);
  const { uid } = agent.desired!.containers[0]!;
  const { csr } = await createKeyAndCsr("c");
  const { signal } = new AbortController();
  const { certificate } = await agent.link.containerCertificate(uid, csr, signal);
  const identity = parseIdentity(derOf(certificate))!;
  expect(uriOf(identity)).toBe(`spiffe://${desired.clusterId}/t/default/i/a/${uid}/node/${agent.id}`);
  const other = await (await FakeAgent.join(lab, "n2")).run();
  expect(await codeOf(other.link.containerCertificate(uid, csr, signal))).toBe("FORBIDDEN");
});

test("logs of two nodes come together; a node that dies in the middle says so", async () => {
  lab = await Lab.start();
  const agents = await Promise.all(["n1", "n2"].map(async (name) => (await FakeAgent.join(lab, name)).run()));
  await lab.api.instances.create(hello("web", 2));
  await until(async () => (await phase("web")) === "running");
  const cut = Promise.withResolvers<void>();
  const answer = (agent: FakeAgent, body: ReadableStream<Uint8Array>) =>
    void (async () => {
      const { id } = await agent.told("logs");
      await agent.link.sendStream(id, body, new AbortController().signal).catch(() => undefined);
    })();
  answer(agents[0]!, new Response("hello from n1\n").body!);
  answer(
    agents[1]!,
    new ReadableStream({
      async pull(controller) {
        controller.enqueue(new TextEncoder().encode("hello from n2\nhalf a li"));
        await cut.promise;
      },
    }),
  );
  const lines: string[] = [];
  for await (const { node, line } of lab.api.instances.logs("web", { follow: true })) {
    lines.push(`${node}: ${line}`);
    if (lines.length === 2) agents[1]!.close();
  }
  cut.resolve();
  expect(lines.slice(0, 2).sort()).toEqual(["n1: hello from n1", "n2: hello from n2"]);
  expect(lines[2]).toBe("n2: half a li");
  expect(lines[3]).toContain("n2: (The connection to the node broke");
});

test("a client that goes while it follows a log lets the agent go", async () => {
  lab = await Lab.start();
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  await lab.api.instances.create(hello("web"));
  await until(async () => (await phase("web")) === "running");
  let cancelled = false;
  const sent = (async () => {
    const { id } = await agent.told("logs");
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode("one\n")),
      cancel: () => {
        cancelled = true;
      },
    });
    await agent.link.sendStream(id, body, new AbortController().signal).catch(() => undefined);
  })();
  for await (const { line } of lab.api.instances.logs("web", { follow: true })) {
    expect(line).toBe("one");
    break;
  }
  await sent;
  await until(() => cancelled);
});

test("on SIGTERM a coordinator with open streams and idle connections is gone well before its grace", async () => {
  lab = await Lab.start();
  const agent = await (await FakeAgent.join(lab, "n1")).run();
  const watch = lab.api.instances.watch();
  await watch.next();
  const events = lab.api.events({ follow: true });
  await events.next();
  const { apiAddress, ca } = lab.running.ready;
  const idle = createClient({ addresses: [apiAddress], trust: { ca } });
  await (await idle.request({ method: "GET", path: "/healthz" })).text();
  const began = performance.now();
  expect(await lab.stop()).toBe(0);
  const tookMs = performance.now() - began;
  idle.close();
  // Grace is 2 s; that it was used at all is what this looks for, with room for a busy machine.
  expect(tookMs).toBeLessThan(1_900);
  // Both ended as streams that are whole.
  for await (const _ of watch);
  for await (const _ of events);
  await until(() => agent.streamEnded);
});

test("the agents' port answers strangers, unknown paths and bad bodies in the language of agents", async () => {
  lab = await Lab.start();
  const agent = await FakeAgent.join(lab, "n1");
  const { identity, certificates } = agent.enrolled;
  const client = createClient({
    addresses: identity.agentAddresses,
    trust: { ca: certificates.clusterCa },
    identity: { certificate: certificates.certificate, key: certificates.key },
  });
  lab.onClose(() => client.close());
  const ask = async (method: string, path: string, body?: string) => {
    const response = await client.request({ method, path, ...(body === undefined ? {} : { body }) });
    return [
      response.status,
      ((await response.json().catch(() => null)) as { error?: { code: string } } | null)?.error?.code,
    ];
  };
  expect(await ask("GET", "/agent/v1/nothing")).toEqual([404, "NOT_FOUND"]);
  expect(await ask("POST", "/agent/v1/heartbeat", "{")).toEqual([400, "INVALID"]);
  expect(await ask("POST", "/agent/v1/heartbeat", "{}")).toEqual([400, "INVALID"]);
  expect(await ask("POST", "/agent/v1/heartbeat", "x".repeat(5 * 1024 * 1024))).toEqual([413, "TOO_LARGE"]);
  expect(await ask("POST", "/agent/v1/certificate", JSON.stringify({ csr: "?" }))).toEqual([400, "INVALID"]);
  expect(await ask("POST", "/agent/v1/blobs/fetch", JSON.stringify({ digests: ["../x"] }))).toEqual([
    400,
    "INVALID",
  ]);
  expect(await ask("GET", "/agent/v1/images/..%2Fx/manifest")).toEqual([400, "INVALID"]);
  expect(await ask("POST", "/agent/v1/streams/none", "x")).toEqual([404, "NOT_FOUND"]);
  // HEAD of a stream opens none.
  await agent.listen();
  expect((await client.request({ method: "HEAD", path: "/agent/v1/heartbeat" })).status).toBe(404);
});

test("a join that was sent twice with one key, at once or later, makes one node and uses the token once", async () => {
  lab = await Lab.start();
  const { token, id } = await lab.api.tokens.create({ kind: "join", uses: 1 });
  const pair = await createKeyAndCsr("node");
  const both = await Promise.all([join(token, { name: "n1" }, pair), join(token, { name: "n1" }, pair)]);
  const again = await join(token, { name: "n1" }, pair);
  expect(new Set([...both, again].map((e) => e.identity.nodeId)).size).toBe(1);
  expect(await lab.api.nodes.list()).toHaveLength(1);
  expect((await lab.api.tokens.list()).find((t) => t.id === id)?.usesLeft).toBe(0);
  const other = await failure(join(token, { name: "n2" }));
  expect([other.code, other.message]).toEqual(["UNAUTHENTICATED", expect.stringContaining("used up")]);
});

test("a token for one node that two machines use at once makes one node", async () => {
  lab = await Lab.start();
  const { token } = await lab.api.tokens.create({ kind: "join", uses: 1 });
  const joins = await Promise.allSettled([join(token, { name: "a" }), join(token, { name: "b" })]);
  expect(joins.map((j) => j.status).sort()).toEqual(["fulfilled", "rejected"]);
  expect(await lab.api.nodes.list()).toHaveLength(1);
});

test("a request that is refused uses up nothing and leaves no node", async () => {
  lab = await Lab.start();
  const { token, id } = await lab.api.tokens.create({ kind: "join", uses: 1 });
  const { csr } = await createKeyAndCsr("node");
  // The last byte of the signature is another one: whoever sends this does not have the key.
  const der = Buffer.from(csr.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  der[der.length - 1]! ^= 1;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
  for (const bad of [forged, "no request at all"]) {
    expect(await codeOf(join(token, { name: "n1" }, { key: "", csr: bad }))).toBe("INVALID");
  }
  expect(await lab.api.nodes.list()).toEqual([]);
  expect((await lab.api.tokens.list()).find((t) => t.id === id)?.usesLeft).toBe(1);
});

test("wrong, removed, expired and foreign tokens join nobody; a name that is taken says whose it is", async () => {
  lab = await Lab.start();
  const { token, id } = await lab.api.tokens.create({ kind: "join" });
  await join(token, { name: "n1" });
  const taken = await failure(join(token, { name: "n1" }));
  expect([taken.code, taken.message]).toEqual([
    "CONFLICT",
    expect.stringContaining('another node is named "n1"'),
  ]);
  const wrong = await failure(join(token, { name: "n2", secret: "x".repeat(43) }));
  await lab.api.tokens.remove(id);
  const removed = await failure(join(token, { name: "n2" }));
  // Who guesses does not learn which ids there are.
  expect([wrong.code, wrong.message]).toEqual([removed.code, removed.message]);
  const short = await lab.api.tokens.create({ kind: "join", ttlSeconds: 1 });
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  expect((await failure(join(short.token, { name: "n2" }))).message).toContain("expired");
  const { token: apiToken, id: apiId } = await lab.api.tokens.create({ kind: "api", role: "admin" });
  expect(apiToken).toStartWith("dvsa1.");
  expect(await codeOf(join(token, { name: "n2", id: apiId }))).toBe("UNAUTHENTICATED");
});

test("the key of a node that is there joins under its own name and address only", async () => {
  lab = await Lab.start();
  const { token } = await lab.api.tokens.create({ kind: "join" });
  const pair = await createKeyAndCsr("node");
  await join(token, { name: "n1" }, pair);
  for (const other of [{ name: "n2" }, { name: "n1", address: "127.0.0.9" }]) {
    const e = await failure(join(token, other, pair));
    expect([e.code, e.message]).toEqual([
      "CONFLICT",
      expect.stringContaining('is node "n1" at 127.0.0.1 already'),
    ]);
  }
});

async function codeOfOr(action: Promise<unknown>): Promise<string> {
  return action.then(
    () => "",
    (e: { code: string }) => e.code,
  );
}

test("a node that is given up is replaced at once; one that is up is only with force", async () => {
  lab = await Lab.start();
  const gone = await (await FakeAgent.join(lab, "gone")).run();
  await lab.api.instances.create(hello("web"));
  await until(async () => (await lab.api.instances.get("web")).phase === "running");
  const spare = await (await FakeAgent.join(lab, "spare")).run();
  const refusal = await failure(lab.api.nodes.remove("gone"));
  expect([refusal.code, refusal.message]).toEqual([
    "CONFLICT",
    expect.stringContaining("dvs node leave gone"),
  ]);
  gone.close();
  // Long before anybody would call it lost.
  await lab.api.nodes.remove("gone", true);
  await until(async () => (await lab.api.instances.get("web")).phase === "running");
  expect((await lab.api.instances.get("web")).containers.map((c) => c.nodeName)).toEqual(["spare"]);
  spare.close();
});
