/** `boot.json`: all that a state process is told before it starts (`dvs state --run-dir DIR`). Mode 0600. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { DvsError, parseOrThrow } from "../errors.ts";
import { Name } from "../names.ts";
import { aliveMsMin } from "../replica/timings.ts";
import { ReplicaIncarnation, ReplicaPolicySchema } from "./replica-set.ts";

/** PEM. Key and certificate are the instance's on this node; `workloadCa` signs those of its other nodes. */
export const StateTls = z.object({ certificate: z.string(), key: z.string(), workloadCa: z.string() });
export type StateTls = z.infer<typeof StateTls>;

export const StateBoot = z.object({
  clusterId: z.string(),
  tenant: Name,
  instance: Name,
  uid: z.string(),
  os: Name,
  policy: ReplicaPolicySchema,
  /** L (core/replica/timings.ts), from which all times of the replicas follow; absent: the default. */
  aliveMs: z.number().int().min(aliveMsMin).optional(),
  node: z.object({ id: z.string(), name: z.string(), address: z.string() }),
  /** `Holder.incarnation` of this process. */
  incarnation: ReplicaIncarnation,
  /** Holds control.sock, state.sock (links and clients of this node), transfer.sock and state.log. */
  runDir: z.string(),
  /** Holds log, database, blocks and snapshots, and nothing else does; outlives the process. Mode 0700. */
  dataDir: z.string(),
  /** Of the node's images, which files of the instance may begin with. Absent: from an agent that does not know of it. */
  blobDir: z.string().optional(),
  /** Links and clients of other nodes; port 0 = any. If the port is taken, any other. */
  listen: z.object({ host: z.string(), port: z.number().int() }),
  /** Null: no other node reaches it. */
  tls: StateTls.nullable(),
  /** Hex, the same for all host processes of the instance on this node: by it they know each other. */
  secret: z.string(),
});
export type StateBoot = z.infer<typeof StateBoot>;

/** Names below `runDir`. */
export const stateSockets = {
  control: "control.sock",
  links: "state.sock",
  /** Backups and restores: core/state/transfer.ts. */
  transfer: "transfer.sock",
} as const;

/** Rejects with INVALID when the file is absent, torn or wrong. */
export async function readStateBoot(runDir: string): Promise<StateBoot> {
  const path = join(runDir, "boot.json");
  // The text may hold a key: it never gets into a message.
  const unusable = (why: string, cause: unknown) =>
    new DvsError("INVALID", `Cannot start a state process in ${runDir}: boot.json ${why}.`, {
      cause: new Error((cause as Error).name),
    });
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw unusable("cannot be read", cause);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw unusable("is no JSON", cause);
  }
  return parseOrThrow(StateBoot, json, path);
}
