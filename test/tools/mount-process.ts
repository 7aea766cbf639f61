/**
 * Serves one mount of a StateCluster's files, as a client on one of its nodes: the process that programs on the mount wait
 * for must not be theirs. `bun mount-process.ts OUTSIDER.json DIR CACHE`: says "mounted" when it is.
 */
import { readFileSync } from "node:fs";
import { LocalFiles } from "../../core/files/client/local-files.ts";
import { localModule } from "../../core/files/client/local-module.ts";
import { VolumeClient } from "../../core/files/client/volume-client.ts";
import { cachePolicies } from "../../core/fuse/cache-policy.ts";
import { serveMount } from "../../core/fuse/serve-mount.ts";
import { LocalReader } from "../../core/state/client/local-reader.ts";
import { StateClient } from "../../core/state/client/state-client.ts";
import { linkTls } from "../../core/state/link/link-identity.ts";
import { type Outsider, uid } from "./state-cluster.ts";

const [file, dir, cacheName] = process.argv.slice(2) as [string, string, string];
const cache = cachePolicies.find((name) => name === cacheName);
if (!cache) throw new Error(`cache is one of ${cachePolicies.join(", ")}`);
const outsider = JSON.parse(readFileSync(file, "utf8")) as Outsider;
const name = `mount-${process.pid}-${Math.floor(performance.timeOrigin)}`;
const client = new StateClient({
  identity: {
    ...{ instance: uid, node: outsider.node, incarnation: name, disk: "" },
    secret: new Uint8Array(Buffer.from(outsider.secret, "hex")),
    tls: linkTls(() => outsider.tls),
  },
});
client.setReplicas(outsider.replicas);
// Beside the node's replica, as a mount of an agent's.
const reader = new LocalReader(outsider.runDir, [localModule]);
const near = new LocalFiles(reader);
client.setReader(reader);
const fs = VolumeClient.open({ state: client, client: name, near: () => near });
const log = (message: string) => console.error(message);
const mounted = await serveMount({ fs, dir, source: "dvs:test", cache, log });
const end = () => void mounted.end();
process.once("SIGTERM", end);
process.once("SIGINT", end);
console.log("mounted");
await mounted.ended;
await fs.close();
reader.close();
client.close();
process.exit(0);
