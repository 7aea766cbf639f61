/** Data directories of the nodes that this machine is. */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { DvsError } from "../core/errors.ts";
import { defaultDataDir } from "./agent-config.ts";
import { homeDir } from "./context.ts";
import { paths, readDevCluster } from "./dev-cluster.ts";
import type { Io } from "./io.ts";

/**
 * The one that is given; else the machine's, where it has joined a cluster, and those of the development cluster. `name`:
 * only the node with this name. Throws UNAVAILABLE where there is none.
 */
export function localNodes(io: Io, given: string | undefined, name: string | undefined): string[] {
  const dev = join(homeDir(io), "dev");
  const nodes = Array.from({ length: readDevCluster(dev)?.nodes ?? 0 }, (_, i) => paths.node(dev, i + 1));
  const all = given === undefined ? [defaultDataDir(io, "node"), ...nodes] : [resolve(io.cwd, given)];
  const joined = all.filter((dir) => existsSync(join(dir, "identity.json")));
  const named = name === undefined ? joined : joined.filter((dir) => nameOf(dir) === name);
  if (named.length > 0) return named;
  const what = name === undefined ? "no node of a cluster" : `not node "${name}"`;
  throw new DvsError(
    "UNAVAILABLE",
    `This machine is ${what}: nothing has joined in ${all.join(", ")}. An instance is mounted on one of its nodes.`,
  );
}

function nameOf(dir: string): string {
  try {
    return (JSON.parse(readFileSync(join(dir, "identity.json"), "utf8")) as { name: string }).name;
  } catch {
    return "";
  }
}
