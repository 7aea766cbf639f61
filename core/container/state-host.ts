/**
 * The instance's replicated state as a container has it: a client of its replicas, under the container's incarnation,
 * so that what it writes is carried out once. Which replicas there are, the agent says.
 */
import { KeyValue } from "../state/client/key-value.ts";
import { StateClient } from "../state/client/state-client.ts";
import { linkTls } from "../state/link/link-identity.ts";
import type { LinkIdentity } from "../state/link/listen.ts";
import { addressesOf, type ReplicaSet } from "../state/replica-set.ts";
import type { VosState } from "../vos.ts";
import type { ContainerBoot, ContainerTls } from "./control.ts";
import { StateRecords } from "./state-records.ts";

export class StateHost implements VosState {
  readonly kv: KeyValue;
  /** The order of the instance's records. */
  readonly records: StateRecords;
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
      tls: linkTls(() => this.#tls),
    };
    this.#client = new StateClient({ identity });
    this.kv = new KeyValue(this.#client);
    this.records = new StateRecords(this.#client);
  }

  replicas(replicas: ReplicaSet): void {
    this.#client.setReplicas(addressesOf(replicas));
  }

  /** For links from now on. */
  renewed(tls: ContainerTls): void {
    this.#tls = tls;
  }

  close(): void {
    this.#client.close();
  }
}
