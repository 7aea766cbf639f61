/**
 * Links between kernels under Deno: `deno run -A test/deno/links.ts`. Also runs under Bun. Prints one line a check and
 * exits with 1 when one failed. Only what sockets of the runtimes might do differently; test/core/kernel/proxy has the
 * rest.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { endpointOf } from "../../core/kernel/endpoint.ts";
import { type KernelMessage, messageTable } from "../../core/kernel/messages.ts";
import { type Links, openLinks } from "../../core/kernel/proxy/links.ts";
import { createAuthority, issueCertificate } from "../../core/trust/authority.ts";
import { containerUri, instanceUri } from "../../core/trust/identity.ts";
import { createKeyAndCsr } from "../../core/trust/key.ts";

const instance = { clusterId: "c1", tenant: "default", instance: "web", uid: "i1" };
const source = endpointOf(1, 1);
const dir = mkdtempSync(join(tmpdir(), "dvs-links-"));
const authority = await createAuthority("dvs workload c1");
let failed = 0;

async function check(fact: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
    console.log(`ok    ${fact}`);
  } catch (e) {
    failed++;
    console.log(`FAIL  ${fact}: ${e instanceof Error ? e.message : String(e)}`);
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 20));
  if (!holds()) throw new Error(`not within ten seconds: ${what}`);
}

async function certificate(uid: string, nodeId: string) {
  const { key, csr } = await createKeyAndCsr("test");
  const uri = containerUri({ ...instance, uid, nodeId });
  return {
    key,
    certificate: await issueCertificate(authority, { csr, uri, days: 1 }),
    ca: authority.certificate,
  };
}

interface Pair {
  links: [Links, Links];
  received: KernelMessage[];
}

/** Kernels 1 and 2; what the second receives. `uid` is in the second one's certificate. */
async function pair(nodes: [string, string], uid: string | null): Promise<Pair> {
  const received: KernelMessage[] = [];
  const open = async (i: number) => {
    const pem = uid === null ? null : await certificate(i === 1 ? uid : instance.uid, nodes[i]!);
    return openLinks({
      instance: instance.uid,
      incarnation: `incarnation${i}`,
      unix: { path: join(dir, `${i}.sock`), secret: new Uint8Array(16).fill(7), node: nodes[i]! },
      tls: pem && {
        listen: { host: "127.0.0.1", port: 0 },
        instanceUri: instanceUri(instance),
        certificate: () => pem,
      },
      deliver: (_from, message) => {
        if (i === 1) received.push(message);
      },
      writable: () => {},
      report: () => {},
    });
  };
  const links: [Links, Links] = [await open(0), await open(1)];
  for (const i of [0, 1]) {
    const other = 1 - i;
    links[i]!.proxies.join(i + 1);
    links[i]!.proxies.add({
      kernel: other + 1,
      incarnation: `incarnation${other}`,
      node: nodes[other]!,
      cpu: 0,
      unix: join(dir, `${other}.sock`),
      host: "127.0.0.1",
      port: links[other]!.port,
      protocol: 1,
      protocolMin: 1,
    });
  }
  return { links, received };
}

for (const [kind, nodes, uid] of [
  ["a Unix socket", ["n1", "n1"], null],
  ["mutual TLS", ["n1", "n2"], instance.uid],
] as const) {
  await check(
    `messages of every size arrive once and in order over ${kind}, also when it breaks`,
    async () => {
      const { links, received } = await pair([...nodes], uid);
      const { proxies } = links[0];
      let sent = 0;
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < 300; i++) {
          const body = new Uint8Array(i % 50 === 0 ? 40_000 : i);
          proxies.transmit(2, [messageTable.request.number, source, ++sent, source, 0, 0, 1, body]);
        }
        await until("a link", () => !!proxies.peers.get(2)?.calls.link);
        proxies.peers.get(2)!.calls.link!.wire!.destroy();
      }
      await until("all messages", () => received.length >= sent);
      const wrong = received.findIndex((message, i) => message[2] !== i + 1);
      for (const each of links) each.close();
      if (wrong >= 0 || received.length !== sent)
        throw new Error(`${received.length} of ${sent}, wrong at ${wrong}`);
    },
  );
}

await check("a container of another instance is refused", async () => {
  const { links, received } = await pair(["n1", "n2"], "i2");
  links[0].proxies.transmit(2, [messageTable.taken.number, source, 1]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const linked = links.some(({ proxies }) => [...proxies.peers.values()].some((peer) => peer.calls.link));
  for (const each of links) each.close();
  if (linked || received.length > 0) throw new Error("it was let in");
});

rmSync(dir, { recursive: true, force: true });
process.exit(failed === 0 ? 0 : 1);
