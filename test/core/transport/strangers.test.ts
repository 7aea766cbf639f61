/** Who is refused: as a client by the server, and as a server by the client. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { connect } from "node:tls";
import { containerUri, coordinatorUri, nodeUri } from "../../../core/trust/identity.ts";
import { fingerprint } from "../../../core/trust/authority.ts";
import { peerOf } from "../../../core/transport/peer.ts";
import { authority, dayMs, forged, hourMs, issued } from "../trust/lab.ts";
import type { Forgery } from "../trust/lab.ts";
import { refusal, world } from "./link.ts";
import type { World } from "./link.ts";

let w: World;
let address: string;
const container = { clusterId: "c1", tenant: "default", instance: "web", uid: "u1", nodeId: "n1" };

beforeAll(async () => {
  w = await world();
  ({ address } = await w.serve());
});
afterAll(() => w.end());

const get = { method: "GET", path: "/secret" };

describe("a server refuses a client", () => {
  async function refuse(identity: Awaited<ReturnType<typeof issued>> | undefined): Promise<string> {
    const before = w.seen.length;
    const answer = await refusal(w.client(address, { identity: () => identity }).request(get));
    // TLS decided: the handler never heard of it.
    expect(w.seen.length).toBe(before);
    return answer;
  }

  test("without a certificate", async () => {
    expect(await refuse(undefined)).toMatch(/^UNAUTHENTICATED: .* refused this side's certificate/);
  });

  test("of another authority, even one of the same name", async () => {
    const rogue = await authority();
    expect(await refuse(await issued(rogue, nodeUri("c1", "n1")))).toMatch(
      /^(UNAUTHENTICATED|UNAVAILABLE): /,
    );
  });

  const wrong: Record<string, Forgery> = {
    "with a self-signed certificate": { uris: [nodeUri("c1", "n1")], selfSigned: true },
    "with an expired certificate": {
      uris: [nodeUri("c1", "n1")],
      notBefore: new Date(Date.now() - dayMs),
      notAfter: new Date(Date.now() - hourMs),
    },
    "with a certificate that is not valid yet": {
      uris: [nodeUri("c1", "n1")],
      notBefore: new Date(Date.now() + hourMs),
      notAfter: new Date(Date.now() + dayMs),
    },
    "with a certificate for servers only": { uris: [nodeUri("c1", "n1")], use: ["server"] },
  };
  for (const [name, forgery] of Object.entries(wrong)) {
    test(name, async () => {
      expect(await refuse(await forged(w.ca, forgery))).toMatch(/^(UNAUTHENTICATED|UNAVAILABLE): /);
    });
  }

  test("that speaks TLS 1.2 only", async () => {
    const { host, port } = new URL(`https://${address}`);
    const socket = connect({
      host: host.split(":")[0]!,
      port: Number(port),
      ca: w.ca.certificate,
      cert: w.node.certificate,
      key: w.node.key,
      rejectUnauthorized: false,
      maxVersion: "TLSv1.2",
    });
    const outcome = await new Promise<string>((resolve) => {
      socket.once("secureConnect", () => resolve("connected"));
      socket.once("error", () => resolve("refused"));
      socket.once("close", () => resolve("refused"));
    });
    socket.destroy();
    expect(outcome).toBe("refused");
  });
});

describe("a server answers 403 to a certificate of its authority", () => {
  async function forbidden(uris: string[]): Promise<string> {
    const before = w.seen.length;
    const identity = await forged(w.ca, { uris });
    const response = await w.client(address, { identity }).request(get);
    expect(response.status).toBe(403);
    expect(w.seen.length).toBe(before);
    return ((await response.json()) as { error: { message: string } }).error.message;
  }

  test("of a coordinator where a node belongs", async () => {
    expect(await forbidden([coordinatorUri("c1", "k1")])).toContain("not a node");
  });
  test("of a container where a node belongs", async () => {
    expect(await forbidden([containerUri(container)])).toContain("not a node");
  });
  test("of another cluster", async () => {
    expect(await forbidden([nodeUri("c2", "n1")])).toContain("of another cluster than c1");
  });
  test("with two URIs", async () => {
    expect(await forbidden([nodeUri("c1", "n1"), nodeUri("c1", "n2")])).toContain("exactly one URI");
  });
  test("with a URI that looks like two in a text form", async () => {
    expect(await forbidden(["spiffe://c1/node/n1, URI:spiffe://c1/node/n2"])).toContain("exactly one URI");
  });
});

test("the handler gets the identity of each client, and nobody else's", async () => {
  const n2 = await issued(w.ca, nodeUri("c1", "n2"));
  const clients = [w.client(address), w.client(address, { identity: n2 })];
  for (let round = 0; round < 3; round++) {
    const ids = await Promise.all(
      clients.map(async (c) => (await c.request(get)).json() as Promise<unknown>),
    );
    expect(ids).toEqual([
      { kind: "node", clusterId: "c1", nodeId: "n1" },
      { kind: "node", clusterId: "c1", nodeId: "n2" },
    ]);
  }
});

describe("a client refuses a server", () => {
  async function refuse(forgery: Forgery, from = w.ca): Promise<string> {
    const before = w.seen.length;
    const server = await w.serve(await forged(from, forgery));
    const answer = await refusal(
      w.client(server.address, { checkPeer: peerOf(["coordinator"], "c1") }).request(get),
    );
    expect(w.seen.length).toBe(before);
    return answer;
  }
  const uris = [coordinatorUri("c1", "k1")];

  test("of another authority, even one of the same name", async () => {
    expect(await refuse({ uris }, await authority())).toStartWith("UNAUTHENTICATED: Refused to talk to");
  });
  test("with a self-signed certificate", async () => {
    expect(await refuse({ uris, selfSigned: true })).toStartWith("UNAUTHENTICATED: Refused to talk to");
  });
  test("with an expired certificate", async () => {
    const notBefore = new Date(Date.now() - dayMs);
    const notAfter = new Date(Date.now() - hourMs);
    expect(await refuse({ uris, notBefore, notAfter })).toContain("has expired");
  });
  test("with a certificate that is not valid yet", async () => {
    const notBefore = new Date(Date.now() + hourMs);
    expect(await refuse({ uris, notBefore })).toContain("not valid yet");
  });
  test("with a certificate for clients only", async () => {
    expect(await refuse({ uris, use: ["client"] })).toContain("not one of a server");
  });
  test("that is a node", async () => {
    const answer = await refuse({ uris: [nodeUri("c1", "n2")] });
    expect(answer).toMatch(/^FORBIDDEN: .*spiffe:\/\/c1\/node\/n2, not a coordinator/);
  });
  test("that is a container", async () => {
    expect(await refuse({ uris: [containerUri(container)] })).toMatch(/^FORBIDDEN: .*not a coordinator/);
  });
  test("of another cluster", async () => {
    expect(await refuse({ uris: [coordinatorUri("c2", "k1")] })).toMatch(
      /^FORBIDDEN: .*another cluster than c1/,
    );
  });
  test("with two URIs", async () => {
    expect(await refuse({ uris: [...uris, nodeUri("c1", "n1")] })).toMatch(/^FORBIDDEN: .*exactly one URI/);
  });
  test("with a URI that looks like two in a text form", async () => {
    const injected = "spiffe://c1/node/n1, URI:spiffe://c1/coordinator/k1";
    expect(await refuse({ uris: [injected] })).toMatch(/^FORBIDDEN: .*exactly one URI/);
  });
  test("whose chain does not include the pinned authority", async () => {
    const pin = fingerprint((await authority()).certificate);
    const client = w.client(address, { trust: { pin } });
    expect(await refusal(client.request(get))).toMatch(/^UNAUTHENTICATED: .*do not include the authority/);
  });
});
