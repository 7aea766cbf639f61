/**
 * Two host processes with a kernel each, as two containers of one instance have them: how either starts its own. Over
 * a Unix socket they count as two virtual CPUs of a node, over mutual TLS as two nodes.
 */
import { join } from "node:path";
import { type LinkedKernel, linkKernel } from "../core/kernel/linked-kernel.ts";
import type { RecordLog } from "../core/kernel/view.ts";
import { createAuthority, issueCertificate } from "../core/trust/authority.ts";
import { containerUri, instanceUri } from "../core/trust/identity.ts";
import { createKeyAndCsr } from "../core/trust/key.ts";

export type LinkKind = "unix" | "tls";

/** What both need to know; it goes from one to the other in a file, since it holds keys. */
export interface Plan {
  dir: string;
  /** Nodes of the two kernels: the same for Unix sockets. */
  nodes: [string, string];
  secret: string;
  tls: { ca: string; pairs: { certificate: string; key: string }[] } | null;
}

/** Bytes of the buffer that the far process opens to copies. */
export const vaultBytes = 64 * 1024 * 1024;
/** Groups of the processes that call, and of those that are called. */
export const groups = { callers: 1, servers: 2 };
export const toServers = { group: groups.callers, to: [groups.servers], from: [groups.servers] };
export const fromCallers = {
  level: "server" as const,
  group: groups.servers,
  to: [groups.callers],
  from: [groups.callers],
};

const instance = { clusterId: "c1", tenant: "default", instance: "bench", uid: "bench1" };

export async function planOf(kind: LinkKind, dir: string): Promise<Plan> {
  return {
    dir,
    nodes: kind === "unix" ? ["n1", "n1"] : ["n1", "n2"],
    secret: "a secret of this benchmark only",
    tls: kind === "tls" ? await certificates() : null,
  };
}

/** `index` 0 measures, 1 answers. */
export function startKernel(plan: Plan, index: 0 | 1, log: RecordLog): Promise<LinkedKernel> {
  const node = plan.nodes[index];
  return linkKernel({
    member: { incarnation: `incarnation${index}`, node, cpu: index, host: "127.0.0.1" },
    links: {
      instance: instance.uid,
      unix: { path: join(plan.dir, `${index}.sock`), secret: Buffer.from(plan.secret), node },
      tls: plan.tls && {
        listen: { host: "127.0.0.1", port: 0 },
        instanceUri: instanceUri(instance),
        certificate: () => ({ ...plan.tls!.pairs[index]!, ca: plan.tls!.ca }),
      },
      report: (text) => console.error(text),
    },
    log,
    host: {
      exit() {
        console.error(`kernel ${index} was removed from the view: it was stopped for too long`);
        // Of the other, every call ends with EXITED.
        if (index === 1) process.exit(1);
      },
    },
  });
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
