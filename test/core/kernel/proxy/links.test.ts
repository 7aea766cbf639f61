/** Proxies on real sockets: Unix sockets on one node, mutual TLS between nodes, and who is refused there. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as netConnect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as tlsConnect } from "node:tls";
import type { KernelMessage } from "../../../../core/kernel/messages.ts";
import { type Links, type LinksOptions, openLinks } from "../../../../core/kernel/proxy/links.ts";
import type { KernelId, Member } from "../../../../core/kernel/view.ts";
import { copyFrameBytes } from "../../../../core/limits.ts";
import type { TlsIdentity } from "../../../../core/transport/dial.ts";
import type { Authority } from "../../../../core/trust/authority.ts";
import { containerUri, instanceUri } from "../../../../core/trust/identity.ts";
import { authority, forged, issued } from "../../trust/lab.ts";
import { data, request } from "./lab.ts";

const instance = { clusterId: "c1", tenant: "default", instance: "web", uid: "i1" };
const uri = (nodeId: string, of = instance) => containerUri({ ...of, nodeId });
let dir: string;
let workload: Authority;
let certificates: { n1: TlsIdentity; n2: TlsIdentity };
const opened: Links[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "dvs-links-"));
  workload = await authority("dvs workload c1");
  certificates = { n1: await issued(workload, uri("n1")), n2: await issued(workload, uri("n2")) };
});
afterAll(() => {
  for (const links of opened) links.close();
  rmSync(dir, { recursive: true, force: true });
});

let sockets = 0;

class Half {
  links!: Links;
  readonly received: KernelMessage[] = [];
  readonly reports: string[] = [];
  readonly path = join(dir, `${sockets++}.sock`);
  readonly kernel: KernelId;
  readonly node: string;

  constructor(kernel: KernelId, node: string) {
    this.kernel = kernel;
    this.node = node;
  }

  async open(tls: TlsIdentity | null, changes: Partial<LinksOptions> = {}): Promise<this> {
    this.links = await openLinks({
      instance: instance.uid,
      incarnation: `incarnation-${this.kernel}`,
      unix: { path: this.path, secret: Buffer.from("sixteen bytes at least"), node: this.node },
      tls: tls && {
        listen: { host: "127.0.0.1", port: 0 },
        instanceUri: instanceUri(instance),
        certificate: () => ({ ...tls, ca: workload.certificate }),
      },
      deliver: (_from, message) => this.received.push(message),
      writable: () => {},
      report: (text) => this.reports.push(text),
      ...changes,
    });
    opened.push(this.links);
    this.links.proxies.join(this.kernel);
    return this;
  }

  get member(): Member {
    return {
      kernel: this.kernel,
      incarnation: `incarnation-${this.kernel}`,
      node: this.node,
      cpu: 0,
      unix: this.path,
      host: "127.0.0.1",
      port: this.links.port,
      protocol: 1,
      protocolMin: 1,
    };
  }
  link(to: KernelId) {
    return this.links.proxies.peers.get(to)?.calls.link ?? null;
  }
}

function meet(a: Half, b: Half): void {
  a.links.proxies.add(b.member);
  b.links.proxies.add(a.member);
}

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 1_000 && !holds(); i++) await Bun.sleep(10);
  expect(holds()).toBe(true);
}

for (const kind of ["unix", "tls"] as const) {
  async function pair(): Promise<[Half, Half]> {
    const tls = kind === "tls";
    const a = await new Half(1, "n1").open(tls ? certificates.n1 : null);
    const b = await new Half(2, tls ? "n2" : "n1").open(tls ? certificates.n2 : null);
    meet(a, b);
    return [a, b];
  }

  describe(`links by ${kind}`, () => {
    test("carry messages of every size in both directions, in order", async () => {
      const [a, b] = await pair();
      const body = (i: number) => new Uint8Array(i % 50 === 0 ? 40_000 : i).fill(i);
      for (let i = 1; i <= 1_000; i++) {
        a.links.proxies.transmit(2, request(i, body(i)));
        b.links.proxies.transmit(1, request(i, { i }));
        if (i % 10 === 0) a.links.proxies.transmit(2, data(i, new Uint8Array(copyFrameBytes)));
      }
      await until(() => b.received.length === 1_100 && a.received.length === 1_000);
      const requests = b.received.filter((message) => message[0] === request(0, null)[0]);
      expect(requests.map((message) => message[2])).toEqual(Array.from({ length: 1_000 }, (_, i) => i + 1));
      expect(
        requests.every((message, i) => Buffer.compare(message[7] as Uint8Array, body(i + 1)) === 0),
      ).toBe(true);
      expect(a.received.map((message) => (message[7] as { i: number }).i)).toEqual(
        requests.map((m) => m[2] as number),
      );
      expect([...a.reports, ...b.reports]).toEqual([]);
    });

    test("break and resume; nothing is lost or doubled", async () => {
      const [a, b] = await pair();
      let sent = 0;
      for (let round = 0; round < 10; round++) {
        for (let i = 0; i < 200; i++)
          a.links.proxies.transmit(2, request(++sent, new Uint8Array(sent % 3_000)));
        await until(() => a.link(2) !== null && b.link(1) !== null);
        (round % 2 === 0 ? a.link(2)! : b.link(1)!).wire!.destroy();
      }
      await until(() => b.received.length >= sent);
      expect(b.received.map((message) => message[2])).toEqual(Array.from({ length: sent }, (_, i) => i + 1));
      expect(a.links.proxies.peers.get(2)!.calls.counters.resumes).toBeGreaterThan(0);
    });

    test("end with a bye, which is no broken connection", async () => {
      const [a, b] = await pair();
      await until(() => a.link(2) !== null && b.link(1) !== null);
      b.links.close();
      await until(() => a.link(2) === null);
      expect(a.links.proxies.peers.get(2)!.calls.counters.broken).toBe(0);
    });
  });
}

test("a container with another secret is refused on the Unix socket", async () => {
  const a = await new Half(1, "n1").open(null);
  const b = new Half(2, "n1");
  await b.open(null, { unix: { path: b.path, secret: Buffer.from("another instance's one"), node: "n1" } });
  meet(a, b);
  await until(() => [...a.reports, ...b.reports].some((text) => /proof is not good/.test(text)));
  expect([a.link(2), b.link(1)]).toEqual([null, null]);
});

test("a socket that an earlier process has left is replaced", async () => {
  const a = new Half(1, "n1");
  await Bun.write(a.path, "");
  await a.open(null);
  const b = await new Half(2, "n1").open(null);
  meet(a, b);
  await until(() => a.link(2) !== null);
});

test("without a certificate there is no way to another node, which is said", async () => {
  const a = await new Half(1, "n1").open(null);
  const b = await new Half(2, "n2").open(null);
  meet(a, b);
  await until(() => a.reports.some((text) => /no way to kernel 2 on node n2/.test(text)));
});

describe("between nodes, a link is refused to", () => {
  const strangers: Record<string, () => Promise<TlsIdentity>> = {
    "a container of another instance of the same name": () =>
      issued(workload, uri("n2", { ...instance, uid: "i2" })),
    "a container on another node than the view says": () => issued(workload, uri("n3")),
    "a container of another cluster": async () =>
      issued(workload, uri("n2", { ...instance, clusterId: "c2" })),
    "a node's agent": () => issued(workload, "spiffe://c1/node/n2"),
    "two names at once": () => forged(workload, { uris: [uri("n2"), uri("n1")] }),
    "a self-signed certificate": () => forged(workload, { uris: [uri("n2")], selfSigned: true }),
    "another authority's certificate": async () => issued(await authority(), uri("n2")),
    "an expired certificate": () =>
      forged(workload, { uris: [uri("n2")], notAfter: new Date(Date.now() - 1_000) }),
  };
  for (const [who, certificate] of Object.entries(strangers)) {
    test(who, async () => {
      const a = await new Half(1, "n1").open(certificates.n1);
      const b = await new Half(2, "n2").open(await certificate());
      meet(a, b);
      a.links.proxies.transmit(2, request(1, "for n2 only"));
      b.links.proxies.transmit(1, request(1, "from nobody"));
      // Both have dialled by then, and been refused.
      await Bun.sleep(400);
      expect([a.link(2), b.link(1), a.received.length, b.received.length]).toEqual([null, null, 0, 0]);
    });
  }

  test("whoever has no certificate at all, or speaks TLS 1.2, or none", async () => {
    const a = await new Half(1, "n1").open(certificates.n1);
    const address = { host: "127.0.0.1", port: a.links.port };
    const ended = (socket: NodeJS.EventEmitter) =>
      new Promise((resolve) => socket.on("close", resolve).on("error", () => {}));
    const bare = tlsConnect({ ...address, rejectUnauthorized: false });
    const old = tlsConnect({
      ...address,
      ca: workload.certificate,
      maxVersion: "TLSv1.2",
      rejectUnauthorized: false,
    });
    const plain = netConnect(address);
    plain.write("GET / HTTP/1.1\r\n\r\n");
    for (const socket of [bare, old, plain]) socket.resume();
    await Promise.all([bare, old, plain].map(ended));
    expect(a.received).toEqual([]);
  });
});

test("a renewed certificate is used by links from then on, and the old link stays", async () => {
  let current = certificates.n1;
  const a = new Half(1, "n1");
  await a.open(null, {
    tls: {
      listen: { host: "127.0.0.1", port: 0 },
      instanceUri: instanceUri(instance),
      certificate: () => ({ ...current, ca: workload.certificate }),
    },
  });
  const b = await new Half(2, "n2").open(certificates.n2);
  meet(a, b);
  await until(() => a.link(2) !== null && b.link(1) !== null);
  const link = a.link(2)!;
  current = await issued(workload, uri("n1"));
  a.links.renewed();
  expect(a.link(2)).toBe(link);
  link.wire!.destroy();
  a.links.proxies.transmit(2, request(1, "again"));
  await until(() => b.received.length === 1);
  expect([...a.reports, ...b.reports]).toEqual([]);
});
