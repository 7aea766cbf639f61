/**
 * The instance's replicated state as a container has it: a client of its replicas, under the container's incarnation,
 * so that what it writes is carried out once. Which replicas there are, the agent says.
 */
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LocalFiles } from "../files/client/local-files.ts";
import { VolumeClient } from "../files/client/volume-client.ts";
import { localModule } from "../files/client/local-module.ts";
import { BlobReader } from "../image/blob-reader.ts";
import { KeyValue } from "../state/client/key-value.ts";
import { LocalReader } from "../state/client/local-reader.ts";
import { StateClient } from "../state/client/state-client.ts";
import { linkTls } from "../state/link/link-identity.ts";
import type { LinkIdentity } from "../state/link/listen.ts";
import { addressesOf, type ReplicaSet } from "../state/replica-set.ts";
import { kv } from "../state/modules/kv.ts";
import type { ImageReader, VosState } from "../vos.ts";
import type { ContainerBoot, ContainerTls } from "./control.ts";
import { StateRecords } from "./state-records.ts";

/** Otherwise it goes with the removal of the client. */
const releaseGraceMs = 200;

export class StateHost implements VosState {
  readonly kv: KeyValue;
  readonly files: VolumeClient;
  /** The order of the instance's records. */
  readonly records: StateRecords;
  readonly #client: StateClient;
  #tls: ContainerTls | null;
  readonly #node: string;
  /** The socket of the replica on this node, empty where there is none. */
  #beside = "";
  #reader: LocalReader | null = null;
  #near: LocalFiles | null = null;
  readonly #blobs: BlobReader;

  constructor(boot: ContainerBoot) {
    this.#tls = boot.tls;
    const { spec, node, incarnation } = boot;
    this.#node = node.id;
    this.#blobs = new BlobReader(boot.blobDir);
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
    this.files = VolumeClient.open({
      state: this.#client,
      client: incarnation,
      near: () => this.#near,
      readBlob: this.#readBlob,
    });
    this.records = new StateRecords(this.#client);
  }

  replicas(replicas: ReplicaSet): void {
    const addresses = addressesOf(replicas);
    this.#client.setReplicas(addresses);
    const beside = addresses.find(({ node }) => node === this.#node)?.unix ?? "";
    if (beside === this.#beside) return;
    this.#beside = beside;
    this.#reader?.close();
    this.#reader = beside === "" ? null : new LocalReader(dirname(beside), [kv, localModule], this.#readBlob);
    this.#near = this.#reader && new LocalFiles(this.#reader);
    this.#client.setReader(this.#reader);
  }

  seedFiles(image: ImageReader): Promise<void> {
    return this.files.seed(image);
  }

  /** For links from now on. */
  renewed(tls: ContainerTls): void {
    this.#tls = tls;
  }

  readonly #readBlob = (digest: string, position: number, length: number): Promise<Uint8Array> =>
    this.#blobs.read(digest, position, length);

  /** What it has open is given back, if that takes no longer. */
  async close(graceMs: number): Promise<void> {
    await Promise.race([this.files.close(), sleep(Math.min(graceMs, releaseGraceMs), null, { ref: false })]);
    this.#reader?.close();
    this.#client.close();
  }
}
