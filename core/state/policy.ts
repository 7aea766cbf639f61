/** How an instance's OS state is to be kept: what people leave out, and what cannot be. */
import type { z } from "zod";
import type { Issue } from "../errors.ts";
import { replicaReplaceAfterMs } from "../limits.ts";
import { StatePolicy } from "../records.ts";

/** Three replicas go on after the loss of any one; more cost each write more than they give. */
const replicasDefault = 3;

export const StateRequest = StatePolicy.partial().strict();
export type StateRequest = z.infer<typeof StateRequest>;

/** Fields of a request, as they are also called in configurations and flags. */
export const stateFields = ["replicas", "minInSync", "durability", "replaceAfterMs"] as const;

/** Of an instance on so many nodes. */
export function completePolicy(request: StateRequest, nodes: number): StatePolicy {
  const replicas = request.replicas ?? Math.min(replicasDefault, nodes);
  return {
    replicas,
    // Two of three: what was acknowledged outlives any one machine, and writes go on without any one.
    minInSync: request.minInSync ?? (replicas >= 3 ? 2 : 1),
    durability: request.durability ?? "fsync",
    replaceAfterMs: request.replaceAfterMs ?? replicaReplaceAfterMs,
  };
}

/** What is wrong with it, each with its field; `keepsState`: the VOS has OS state at all. */
export function policyMistakes(request: StateRequest, nodes: number, keepsState: boolean): Issue[] {
  if (!keepsState) {
    const given = stateFields.filter((field) => request[field] !== undefined);
    return given.map((path) => ({
      path,
      message: "this VOS keeps no state that could be replicated: leave it out",
    }));
  }
  const { replicas, minInSync } = completePolicy(request, nodes);
  const issues: Issue[] = [];
  if (replicas > nodes) {
    const message = `${replicas} replicas need as many nodes, and it has ${nodes}: each node holds at most one`;
    issues.push({ path: "replicas", message });
  }
  if (minInSync > replicas) {
    const message = `${minInSync} of ${replicas} replicas are never in sync: every write would fail`;
    issues.push({ path: "minInSync", message });
  }
  return issues;
}
