/**
 * The instance's replicated state as a container has it: a client of its replicas, under the container's incarnation,
 * so that what it writes is carried out once. Which replicas there are, the agent says.
 */
import { KeyValue } from "../state/client/key-value.ts";
import { type StateAddress, StateClient } from "../state/client/state-client.ts";
import type { LinkIdentity } from "../state/link/listen.ts";
import type { ReplicaSet } from "../state/replica-set.ts";
import { derOf } from "../trust/certificate.ts";
import { instanceUri, parseIdentity } from "../trust/identity.ts";
import type { VosState } from "../vos.ts";
import type { ContainerBoot, ContainerTls } from "./control.ts";

export class StateHost implements VosState {
  readonly kv: KeyValue;
  readonly #client: StateClient;
  #tls: ContainerTls | null;

  constructor(boot: ContainerBoot) {
    this.#tls = boot.tls;
    const { spec, node, incarnation } = boot;
    const identity: LinkIdentity = {
      instance: spec.uid,
      node: node.id,
      incarnation,
      disk: "",
      // Without one, from an agent that does not know of links, it is one that nobody else has.
      secret: boot.kernelSecret
        ? new Uint8Array(Buffer.from(boot.kernelSecret, "hex"))
        : crypto.getRandomValues(new Uint8Array(32)),
      tls: this.#link(boot.tls),
    };
    this.#client = new StateClient({ identity });
    this.kv = new KeyValue(this.#client);
  }

  replicas({ wanted, leaving }: Pick<ReplicaSet, "wanted" | "leaving">): void {
    this.#client.setReplicas([...wanted, ...leaving].flatMap(addressOf));
  }

  /** For links from now on. */
  renewed(tls: ContainerTls): void {
    this.#tls = tls;
  }

  close(): void {
    this.#client.close();
  }

  #link(tls: ContainerTls | null): LinkIdentity["tls"] {
    if (!tls?.workloadCa) return null;
    const identity = parseIdentity(derOf(tls.certificate));
    if (identity?.kind !== "container") return null;
    return {
      instanceUri: instanceUri(identity),
      certificate: () => {
        const { certificate, key, workloadCa } = this.#tls!;
        return { certificate, key, ca: workloadCa! };
      },
    };
  }
}

function addressOf({ disk, node, unix, host, port }: ReplicaSet["wanted"][number]): StateAddress[] {
  return disk === null ? [] : [{ disk, node, unix, host, port }];
}
