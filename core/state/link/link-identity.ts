/** Who a host process of an instance is on links of its OS state, from what its agent has given it. */
import { derOf } from "../../trust/certificate.ts";
import { instanceUri, parseIdentity } from "../../trust/identity.ts";
import type { LinkIdentity } from "./listen.ts";

/** PEM. `workloadCa` may be missing from an agent that does not know of links. */
export interface LinkPems {
  certificate: string;
  key: string;
  workloadCa?: string | undefined;
}

/** `current()` gives those in force, at each dial. Null where there are none: only host processes of the node are reached. */
export function linkTls(current: () => LinkPems | null): LinkIdentity["tls"] {
  const first = current();
  const identity = first?.workloadCa ? parseIdentity(derOf(first.certificate)) : null;
  if (identity?.kind !== "container") return null;
  return {
    instanceUri: instanceUri(identity),
    certificate() {
      const { certificate, key, workloadCa } = current()!;
      return { certificate, key, ca: workloadCa! };
    },
  };
}
