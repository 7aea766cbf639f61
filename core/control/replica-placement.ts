/**
 * Which nodes of an instance hold a replica of its OS state. Pure machine: a function of what is known now, and stable:
 * a replica that is well placed stays, since another one has to be copied. Nobody is promoted here: who is the primary
 * the replicas settle among themselves.
 *
 * - Replicas are on nodes that have a container of the instance, at most one on each.
 * - One whose node is gone (down for the instance's `replaceAfterMs`) is replaced once another node can take it, but
 *   not while it is in sync: then it is among the last that have everything, and the others have nobody to learn from.
 * - One whose node drains, or has its container elsewhere by now, goes when enough others are in sync.
 */
import type { Condition } from "../records.ts";
import type { PlacementNode } from "./placement.ts";
import { count } from "./unschedulable.ts";

export interface ReplicaRequest {
  wanted: number;
  /** Nodes of the instance. */
  placement: readonly string[];
  current: readonly string[];
  inSync: (node: string) => boolean;
  /** Down for so long that its replica is given up. */
  gone: (node: string) => boolean;
}

export interface ReplicaPlacement {
  replicas: string[];
  /** How many of the wanted replicas have no place. */
  missing: number;
}

export function placeReplicas(
  request: ReplicaRequest,
  nodes: ReadonlyMap<string, PlacementNode>,
): ReplicaPlacement {
  const { placement, inSync, gone } = request;
  const current = request.current.flatMap((id) => nodes.get(id) ?? []);
  const isHome = (node: PlacementNode) => placement.includes(node.id) && !node.draining;
  // Among the last that have everything: nothing replaces it.
  const isIrreplaceable = (node: PlacementNode) =>
    inSync(node.id) && !current.some((other) => isAliveInSync(other));
  const isAliveInSync = (node: PlacementNode) => inSync(node.id) && node.state !== "down";

  const lost = current.filter((node) => gone(node.id) && !isIrreplaceable(node));
  const staying = current.filter((node) => !lost.includes(node) && (isHome(node) || node.state === "down"));
  const moving = current.filter((node) => !lost.includes(node) && !staying.includes(node));

  const candidates = placement
    .flatMap((id) => nodes.get(id) ?? [])
    .filter((node) => node.state === "up" && !node.draining && !request.current.includes(node.id));
  candidates.sort((a, b) => Number(inSync(b.id)) - Number(inSync(a.id)));
  const open = Math.max(0, request.wanted - staying.length);
  const added = candidates.slice(0, open);

  const next = new Set([...fewest(staying, request), ...added].map((node) => node.id));
  const enough = Math.max(1, Math.min(request.wanted, next.size));
  const synced = [...next].filter((id) => isAliveInSync(nodes.get(id)!)).length;
  if (synced < enough) for (const node of moving) next.add(node.id);
  // What is lost may come back: it stays named while nobody can take its place.
  const missing = Math.max(0, request.wanted - next.size);
  for (const node of lost.slice(0, missing)) next.add(node.id);
  const kept = request.current.filter((id) => next.has(id));
  const replicas = [...kept, ...added.map((node) => node.id)];
  return { replicas, missing: Math.max(0, request.wanted - staying.length - added.length) };
}

/** Why there are fewer replicas than asked for; null where there are enough, or soon will be. */
export function replicasMissing(request: ReplicaRequest, missing: number): Condition | null {
  if (missing === 0) return null;
  const { wanted, placement } = request;
  const message =
    `wants ${count(wanted, "replica")} of its state, and ${count(wanted - missing, "node")} of its ` +
    `${placement.length} can hold one: start the others, or add nodes`;
  return { reason: "replicas", message };
}

/** Fewer are wanted than there are: those in sync stay, then the first. */
function fewest(staying: PlacementNode[], { wanted, inSync }: ReplicaRequest): PlacementNode[] {
  if (staying.length <= wanted) return staying;
  const ranked = staying.toSorted((a, b) => Number(inSync(b.id)) - Number(inSync(a.id)));
  return ranked.slice(0, wanted);
}
