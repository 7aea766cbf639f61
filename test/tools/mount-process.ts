/**
 * Serves one mount of a StateCluster's files, as a client on one of its nodes: the process that programs on the mount wait
 * for must not be theirs. `bun mount-process.ts OUTSIDER.json DIR CACHE`: says "mounted" when it is.
 */
import { cachePolicies } from "../../core/fuse/cache-policy.ts";
import { serveMount } from "../../core/fuse/serve-mount.ts";
import { openOutsideFiles } from "./outside-files.ts";

const [file, dir, cacheName] = process.argv.slice(2) as [string, string, string];
const cache = cachePolicies.find((name) => name === cacheName);
if (!cache) throw new Error(`cache is one of ${cachePolicies.join(", ")}`);
// Beside the node's replica, as a mount of an agent's.
const files = openOutsideFiles(file, `mount-${process.pid}-${Math.floor(performance.timeOrigin)}`);
const log = (message: string) => console.error(message);
const mounted = await serveMount({ fs: files.fs, dir, source: "dvs:test", cache, log });
const end = () => void mounted.end();
process.once("SIGTERM", end);
process.once("SIGINT", end);
console.log("mounted");
await mounted.ended;
await files.close();
process.exit(0);
