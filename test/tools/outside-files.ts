/** The files of a StateCluster as a host process of their own sees them: a client on one of its nodes, beside its replica. */
import { readFileSync } from "node:fs";
import { LocalFiles } from "../../core/files/client/local-files.ts";
import { localModule } from "../../core/files/client/local-module.ts";
import { VolumeClient } from "../../core/files/client/volume-client.ts";
import { LocalReader } from "../../core/state/client/local-reader.ts";
import { StateClient } from "../../core/state/client/state-client.ts";
import { linkTls } from "../../core/state/link/link-identity.ts";
import { type Outsider, uid } from "./state-cluster.ts";

export interface OutsideFiles {
  fs: VolumeClient;
  state: StateClient;
  close(): Promise<void>;
}

/** `file` holds what StateCluster.outsider() returned, as JSON. */
export function openOutsideFiles(file: string, name: string): OutsideFiles {
  const { node, secret, tls, replicas, runDir } = JSON.parse(readFileSync(file, "utf8")) as Outsider;
  const state = new StateClient({
    identity: {
      ...{ instance: uid, node, incarnation: name, disk: "" },
      secret: new Uint8Array(Buffer.from(secret, "hex")),
      tls: linkTls(() => tls),
    },
  });
  state.setReplicas(replicas);
  const reader = new LocalReader(runDir, [localModule]);
  const near = new LocalFiles(reader);
  state.setReader(reader);
  const fs = VolumeClient.open({ state, client: name, near: () => near });
  return {
    fs,
    state,
    async close() {
      await fs.close();
      reader.close();
      state.close();
    },
  };
}
