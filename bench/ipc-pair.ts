/**
 * Two host processes with one kernel's proxies each, and nothing above them: what the links themselves cost. The
 * second process answers: a request with a reply of the same body, the data of a copy with acknowledgements.
 *
 * This file is both halves: imported by ipc-remote.ts, and run by it as the second process.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endpointOf } from "../core/kernel/endpoint.ts";
import { type KernelMessage, messageTable } from "../core/kernel/messages.ts";
import { type Links, type LinksOptions, openLinks } from "../core/kernel/proxy/links.ts";
import type { Member } from "../core/kernel/view.ts";
import { createAuthority, issueCertificate } from "../core/trust/authority.ts";
import { containerUri, instanceUri } from "../core/trust/identity.ts";
import { createKeyAndCsr } from "../core/trust/key.ts";

export const numbers = {
  request: messageTable.request.number,
  reply: messageTable.reply.number,
  data: messageTable.data.number,
  dataAck: messageTable.dataAck.number,
};
export const caller = endpointOf(1, 1);
export const server = endpointOf(2, 1);

const instance = { clusterId: "c1", tenant: "default", instance: "bench", uid: "bench1" };
const kernels = { here: 1, there: 2 };

/** What both halves need to know; a file, since it holds keys. */
interface Plan {
  dir: string;
  /** Nodes of the two kernels: the same for Unix sockets. */
  nodes: [string, string];
  secret: string;
  tls: { ca: string; pairs: { certificate: string; key: string }[] } | null;
}

export interface Pair {
  links: Links;
  /** Set by whoever measures. */
  onMessage: (message: KernelMessage) => void;
  close(): void;
}

export async function openPair(kind: "unix" | "tls"): Promise<Pair> {
  const dir = mkdtempSync(join(tmpdir(), "dvs-ipc-"));
  const plan: Plan = {
    dir,
    nodes: kind === "unix" ? ["n1", "n1"] : ["n1", "n2"],
    secret: "a secret of this benchmark only",
    tls: kind === "tls" ? await certificates() : null,
  };
  writeFileSync(join(dir, "plan.json"), JSON.stringify(plan), { mode: 0o600 });
  const pair: Pair = { links: undefined!, onMessage: () => {}, close };
  const up = Promise.withResolvers<void>();
  let child: ChildProcess | undefined;
  pair.links = await openHalf(plan, 0, (message) => pair.onMessage(message));
  child = spawn(process.execPath, [import.meta.filename, "half", dir, String(pair.links.port)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  child.stdout!.once("data", (line: Buffer) => {
    meet(pair.links, plan, 0, Number(line.toString()));
    up.resolve();
  });
  await up.promise;
  while (!pair.links.proxies.peers.get(kernels.there)?.calls.link) await Bun.sleep(5);
  while (!pair.links.proxies.peers.get(kernels.there)?.bulk.link) await Bun.sleep(5);
  return pair;

  function close(): void {
    child?.kill("SIGKILL");
    pair.links.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

function openHalf(plan: Plan, index: 0 | 1, deliver: (message: KernelMessage) => void): Promise<Links> {
  const node = plan.nodes[index];
  const options: LinksOptions = {
    instance: instance.uid,
    incarnation: `incarnation${index}`,
    unix: { path: join(plan.dir, `${index}.sock`), secret: Buffer.from(plan.secret), node },
    tls: plan.tls && {
      listen: { host: "127.0.0.1", port: 0 },
      instanceUri: instanceUri(instance),
      certificate: () => ({ ...plan.tls!.pairs[index]!, ca: plan.tls!.ca }),
    },
    deliver: (_from, message) => deliver(message),
    writable: () => {},
    report: (text) => console.error(text),
  };
  return openLinks(options);
}

/** Both are members from now on. `port` is the other's. */
function meet({ proxies }: Links, plan: Plan, index: 0 | 1, port: number): void {
  const other = index === 0 ? 1 : 0;
  const member: Member = {
    kernel: index === 0 ? kernels.there : kernels.here,
    incarnation: `incarnation${other}`,
    node: plan.nodes[other],
    cpu: 0,
    unix: join(plan.dir, `${other}.sock`),
    host: "127.0.0.1",
    port,
    protocol: 1,
    protocolMin: 1,
  };
  proxies.join(index === 0 ? kernels.here : kernels.there);
  proxies.add(member);
}

async function certificates(): Promise<NonNullable<Plan["tls"]>> {
  const authority = await createAuthority("dvs workload c1");
  const pairs = [];
  for (const nodeId of ["n1", "n2"]) {
    const { key, csr } = await createKeyAndCsr("bench");
    const uri = containerUri({ ...instance, nodeId });
    pairs.push({ key, certificate: await issueCertificate(authority, { csr, uri, days: 1 }) });
  }
  return { ca: authority.certificate, pairs };
}

/** The second process: answers until it is killed, or its parent is gone. */
async function half(dir: string, port: number): Promise<void> {
  const plan = JSON.parse(readFileSync(join(dir, "plan.json"), "utf8")) as Plan;
  let copied = 0;
  const links: Links = await openHalf(plan, 1, (message) => {
    switch (message[0]) {
      case numbers.request:
        proxies.transmit(kernels.here, [numbers.reply, message[1], message[2], message[5], message[6]]);
        return;
      case numbers.data:
        copied += message[4].length;
        proxies.transmit(kernels.here, [numbers.dataAck, message[1], message[2], message[3], copied]);
    }
  });
  const { proxies } = links;
  meet(links, plan, 1, port);
  console.log(links.port);
  process.stdin.on("close", () => process.exit(0));
  process.stdin.resume();
}

export function transmit(pair: Pair, message: KernelMessage): boolean {
  return pair.links.proxies.transmit(kernels.there, message);
}

if (process.argv[2] === "half" && import.meta.main) await half(process.argv[3]!, Number(process.argv[4]));
