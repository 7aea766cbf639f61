/** Certificates of a cluster for tests: a container's, and an ingress's that it admits. */
import { createAuthority, issueCertificate, type Authority } from "../../../core/trust/authority.ts";
import { containerUri, nodeUri } from "../../../core/trust/identity.ts";
import { createKeyAndCsr } from "../../../core/trust/key.ts";

export interface TlsPem {
  certificate: string;
  key: string;
  ca: string;
}

export interface TestTrust {
  cluster: Authority;
  workload: Authority;
  /** A container's, for boot.json. */
  container(): Promise<TlsPem>;
  /** An ingress's of this cluster, for clients. */
  ingress(): Promise<TlsPem>;
}

export async function createTrust(): Promise<TestTrust> {
  const [cluster, workload] = await Promise.all([createAuthority("cluster"), createAuthority("workload")]);
  const issue = async (authority: Authority, uri: string, ca: Authority): Promise<TlsPem> => {
    const { key, csr } = await createKeyAndCsr("test");
    const certificate = await issueCertificate(authority, { csr, uri, days: 1 });
    return { certificate, key, ca: ca.certificate };
  };
  const of = { clusterId: "c1", tenant: "default", instance: "test", uid: "u1", nodeId: "n1" };
  return {
    cluster,
    workload,
    container: () => issue(workload, containerUri(of), cluster),
    ingress: () => issue(cluster, nodeUri("c1", "n2"), workload),
  };
}
