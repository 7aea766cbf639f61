/** Who is refused, tried from outside with the real commands on real ports. */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createApi } from "../../core/api/client.ts";
import { createAuthority } from "../../core/trust/authority.ts";
import { coordinatorUri, nodeUri } from "../../core/trust/identity.ts";
import { parseJoinToken } from "../../core/trust/tokens.ts";
import { clusterForFile, codeOf, helloRequest } from "./fixture.ts";
import { agentsPort, ask, impostor, madeBy, nodePair } from "./tls.ts";

const cluster = clusterForFile({ nodes: 1 });
let machines = 0;

/** A machine that tries to join, and nothing more. */
function enroll(token: string, env: Record<string, string> = {}, name = `m${++machines}`) {
  const dataDir = join(cluster().dir, name);
  const args = ["--enroll", "--token", token, "--name", name, "--data-dir", dataDir];
  return cluster()
    .dvs(["node", "join", ...args, "--address", `${cluster().subnet}.${100 + machines}`], env)
    .then((result) => ({ ...result, name, joined: existsSync(join(dataDir, "identity.json")) }));
}

function forged(token: string, change: object): string {
  const body = JSON.parse(Buffer.from(token.split(".")[1]!, "base64url").toString()) as object;
  return `dvsj1.${Buffer.from(JSON.stringify({ ...body, ...change })).toString("base64url")}`;
}

test("a join token with another authority's fingerprint is refused before its secret is sent", async () => {
  const { token, id } = await cluster().api.tokens.create({ kind: "join", uses: 1 });
  const refused = await enroll(forged(token, { c: "ab".repeat(32) }));
  expect(refused).toMatchObject({ code: 5, joined: false });
  expect(refused.stderr).toContain("abab");
  const left = (await cluster().api.tokens.list()).find((t) => t.id === id);
  expect(left?.usesLeft).toBe(1);
  expect(await enroll(token)).toMatchObject({ code: 0, joined: true });
});

test("a join token that was cut off when it was copied is told as such", async () => {
  const { token } = await cluster().api.tokens.create({ kind: "join" });
  const refused = await enroll(token.slice(0, -9));
  expect(refused).toMatchObject({ code: 2, joined: false });
  expect(refused.stderr).toContain("cut off");
});

test("a machine that has joined stays in its cluster: its token is not used again, another cluster's refused", async () => {
  const { token, id } = await cluster().api.tokens.create({ kind: "join", uses: 2 });
  const { name, code } = await enroll(token);
  expect(code).toBe(0);
  const again = await enroll(token, {}, name);
  expect(again).toMatchObject({ code: 0, joined: true });
  expect(again.stderr).toContain("has joined before");
  const left = (await cluster().api.tokens.list()).find((t) => t.id === id);
  expect(left?.usesLeft).toBe(1);
  const stranger = await enroll(forged(token, { c: "ab".repeat(32) }), {}, name);
  expect(stranger).toMatchObject({ code: 4, joined: true });
  expect(stranger.stderr).toContain("another cluster");
});

test("of two machines that use a token for one at once, exactly one joins", async () => {
  for (let round = 0; round < 5; round++) {
    const { token } = await cluster().api.tokens.create({ kind: "join", uses: 1 });
    const both = await Promise.all([enroll(token), enroll(token)]);
    expect(both.map((r) => r.code).sort((a, b) => a - b)).toEqual([0, 5]);
    expect(both.filter((r) => r.joined)).toHaveLength(1);
    expect(both.find((r) => !r.joined)!.stderr).toContain("used up");
    const names = (await cluster().api.nodes.list()).map((n) => n.name);
    for (const { name, joined } of both) expect(names.includes(name)).toBe(joined);
  }
});

test("an expired join token, a removed one and one with a wrong secret are refused", async () => {
  const brief = await cluster().api.tokens.create({ kind: "join", ttlSeconds: 1 });
  const removed = await cluster().api.tokens.create({ kind: "join" });
  await cluster().api.tokens.remove(removed.id);
  const wrong = forged((await cluster().api.tokens.create({ kind: "join" })).token, { s: "A".repeat(43) });
  await cluster().until("the token is expired", async () =>
    (await cluster().api.tokens.list()).some((t) => t.id === brief.id && t.expired),
  );
  const results = await Promise.all([brief.token, removed.token, wrong].map((t) => enroll(t)));
  expect(results.map((r) => [r.code, r.joined])).toEqual(Array.from({ length: 3 }, () => [5, false]));
  expect(results[0]!.stderr).toContain("expired");
  expect(results[1]!.stderr).toContain("unknown or was removed");
});

test("an API token is refused from the moment it is revoked, and one that is expired", async () => {
  const { token, id } = await cluster().api.tokens.create({ kind: "api", role: "admin" });
  const brief = await cluster().api.tokens.create({ kind: "api", role: "admin", ttlSeconds: 1 });
  expect((await cluster().dvs(["status"], { DVS_TOKEN: token })).code).toBe(0);
  expect((await cluster().dvs(["token", "rm", id])).code).toBe(0);
  const refused = await cluster().dvs(["status"], { DVS_TOKEN: token });
  expect(refused.code).toBe(5);
  expect(refused.stderr).toContain("not valid");
  await cluster().until("the token is expired", async () =>
    (await cluster().api.tokens.list()).some((t) => t.id === brief.id && t.expired),
  );
  expect((await cluster().dvs(["status"], { DVS_TOKEN: brief.token })).code).toBe(5);
  // A join token is none for people.
  const join = await cluster().api.tokens.create({ kind: "join" });
  expect((await cluster().dvs(["status"], { DVS_TOKEN: join.token })).code).toBe(2);
});

test("a role allows what it says and no more", async () => {
  const as = async (role: "viewer" | "operator") => {
    const { token } = await cluster().api.tokens.create({ kind: "api", role });
    return createApi({ addresses: [cluster().coordinatorAddress], token });
  };
  const [viewer, operator] = await Promise.all([as("viewer"), as("operator")]);
  try {
    expect((await viewer.nodes.list()).length).toBeGreaterThan(0);
    expect(await codeOf(viewer.instances.create(helloRequest("no", 1)))).toBe("FORBIDDEN");
    expect(await codeOf(viewer.instances.remove("no"))).toBe("FORBIDDEN");
    expect(await codeOf(viewer.images.remove("no"))).toBe("FORBIDDEN");
    expect(await codeOf(viewer.tokens.list())).toBe("FORBIDDEN");
    await operator.instances.create(helloRequest("yes", 1));
    await operator.instances.remove("yes");
    expect(await codeOf(operator.tokens.create({ kind: "join" }))).toBe("FORBIDDEN");
    expect(await codeOf(operator.tokens.list())).toBe("FORBIDDEN");
    expect(await codeOf(operator.nodes.remove("n1", true))).toBe("FORBIDDEN");
    expect(await codeOf(operator.nodes.leave("n1"))).toBe("FORBIDDEN");
  } finally {
    viewer.close();
    operator.close();
  }
  const { token } = await cluster().api.tokens.create({ kind: "api", role: "viewer" });
  const refused = await cluster().dvs(["instance", "create", "no", "--os", "hello"], { DVS_TOKEN: token });
  expect(refused.code).toBe(5);
  expect(refused.stderr).toContain("needs the role operator");
});

test("the agents' port takes nodes of this cluster, and nobody whose certificate another authority made", async () => {
  const node = cluster().nodes[0]!;
  const [host, port] = agentsPort(node).split(":");
  const call = (pair?: Parameters<typeof ask>[3]) => ask(host!, Number(port), "/agent/v1/nothing", pair);
  const { clusterId } = await cluster().api.status();
  const stranger = await createAuthority(`dvs cluster ${clusterId}`);
  expect(await call(nodePair(node))).toBe(404);
  expect(await call(await madeBy(stranger, nodeUri(clusterId, node.id)))).toBeNull();
  expect(await call(await madeBy(stranger, coordinatorUri(clusterId, "coordinator-1")))).toBeNull();
  expect(await call()).toBeNull();
});

test("with TLS checks switched off by the environment, a false coordinator gets neither secret nor node", async () => {
  const { clusterId } = await cluster().api.status();
  const off = { NODE_TLS_REJECT_UNAUTHORIZED: "0" };
  const stranger = await createAuthority(`dvs cluster ${clusterId}`);
  const own = await madeBy(stranger, coordinatorUri(clusterId, "coordinator-1"));
  // The second shows the true authority in its chain: everybody can, only its key is secret.
  const leaf = own.certificate.slice(0, own.certificate.indexOf("-----END CERTIFICATE-----"));
  const borrowed = `${leaf}-----END CERTIFICATE-----\n${nodePair(cluster().nodes[0]!).clusterCa}`;
  for (const certificate of [own.certificate, borrowed]) {
    const fake = await impostor({ certificate, key: own.key }, `${cluster().subnet}.250`);
    try {
      const { token } = await cluster().api.tokens.create({ kind: "join" });
      const refused = await enroll(forged(token, { a: [fake.address] }), off);
      expect(refused).toMatchObject({ code: 5, joined: false });
      const status = await cluster().dvs(["status"], { ...off, DVS_ADDR: fake.address });
      expect(status.code).toBe(5);
      expect(fake.connections()).toBeGreaterThan(0);
      expect(fake.received()).toBe("");
      expect(refused.stderr).not.toContain(parseJoinToken(token).secret);
    } finally {
      fake.close();
    }
  }
  // And the true one is still good enough under that environment.
  const { token } = await cluster().api.tokens.create({ kind: "join" });
  expect(await enroll(token, off)).toMatchObject({ code: 0, joined: true });
});

test("a node that runs with TLS checks off does not follow a false coordinator on its coordinator's port", async () => {
  const node = cluster().newNode("careless");
  const { token } = await cluster().api.tokens.create({ kind: "join" });
  const agent = node.join(token, [], { NODE_TLS_REJECT_UNAUTHORIZED: "0" });
  await cluster().until("it is up", async () => (await cluster().api.nodes.get("careless")).state === "up");
  const { clusterId } = await cluster().api.status();
  const [host, port] = agentsPort(node).split(":");
  cluster().killCoordinator();
  await cluster().coordinatorGone();
  const stranger = await createAuthority(`dvs cluster ${clusterId}`);
  const pair = await madeBy(stranger, coordinatorUri(clusterId, "coordinator-1"));
  const fake = await impostor(pair, host!, Number(port));
  try {
    await cluster().until("the agents have tried the false one", () => fake.connections() >= 5);
    expect(fake.received()).toBe("");
  } finally {
    fake.close();
  }
  await cluster().startCoordinator();
  await cluster().until("it is back", async () => (await cluster().api.nodes.get("careless")).state === "up");
  expect(await node.pid("agent")).toBe(agent);
});
