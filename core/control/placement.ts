/**
 * Where the containers of an instance run. Pure machine: a function of what is known now, so that any leader decides
 * alike, and stable: nothing that is well placed moves.
 *
 * - New containers go to nodes that are up, not draining, carry the labels and have room; the emptiest first.
 * - A node that is lost (down for replaceAfterMs) keeps its container only while no other node can take it.
 * - A draining node keeps its container until enough others are ready. One that leaves gives it up also when there is
 *   no other node for it, but never the last container that serves.
 */
import type { Labels } from "../names.ts";
import type { NodeState } from "./node-liveness.ts";

export interface PlacementNode {
  id: string;
  state: NodeState;
  /** Down for so long that its containers get another place. */
  lost: boolean;
  /** It drains or leaves: nothing new is placed on it. */
  draining: boolean;
  leaving: boolean;
  labels: Labels;
  /** 0 = no limit. */
  containersMax: number;
  /** Containers placed on it now, of all instances. */
  containers: number;
}

export interface PlacementRequest {
  /** Number of nodes asked for. */
  wanted: number;
  on: Labels;
  current: readonly string[];
  /** Place all or nothing: a new instance does not start with half of its nodes. */
  allOrNothing: boolean;
  /** It has not served yet, so nothing is lost by leaving a node as soon as that is down. */
  impatient: boolean;
  /** Whether its container on the node is known to serve now. */
  ready(node: string): boolean;
  /** Whether it may serve, for all that is known: also unheard of for the moment. */
  mayServe(node: string): boolean;
}

export interface PlacementResult {
  placement: string[];
  /** How many of the wanted containers have no good place; `unschedulable.ts` says why. */
  missing: number;
}

export function place(request: PlacementRequest, nodes: ReadonlyMap<string, PlacementNode>): PlacementResult {
  const current = request.current.flatMap((id) => nodes.get(id) ?? []);
  const gone = (node: PlacementNode) => node.lost || (request.impatient && node.state === "down");
  const good = current.filter((node) => !node.draining && !gone(node));
  const kept = good.length > request.wanted ? leastLoss(good, request) : good;
  const open = request.wanted - kept.length;
  const added = open > 0 ? candidates(request, nodes).slice(0, open) : [];
  const missing = open - added.length;
  if (request.allOrNothing && missing > 0) return { placement: [...request.current], missing };

  const staying = new Set([...kept, ...added].map((node) => node.id));
  const serving = [...staying].filter((id) => request.ready(id)).length;
  for (const node of current.filter((n) => n.draining && !gone(n))) {
    if (keepsDraining(node, request, { missing, serving })) staying.add(node.id);
  }
  // What is lost may come back: it stays named while nobody can take its place.
  let unfilled = missing;
  for (const node of current.filter((n) => gone(n) && !n.leaving)) {
    if (unfilled-- > 0) staying.add(node.id);
  }
  const placement = request.current.filter((id) => staying.has(id));
  return { placement: [...placement, ...added.map((node) => node.id)], missing };
}

/** Nodes that could take a container of this request, best first. */
export function candidates(
  request: Pick<PlacementRequest, "on" | "current">,
  nodes: ReadonlyMap<string, PlacementNode>,
): PlacementNode[] {
  return [...nodes.values()]
    .filter((n) => n.state === "up" && !n.draining && matches(n.labels, request.on) && hasRoom(n))
    .filter((n) => !request.current.includes(n.id))
    .sort((a, b) => a.containers - b.containers || (a.id < b.id ? -1 : 1));
}

export function matches(labels: Labels, on: Labels): boolean {
  return Object.entries(on).every(([key, value]) => labels[key] === value);
}

export function hasRoom(node: PlacementNode): boolean {
  return node.containersMax === 0 || node.containers < node.containersMax;
}

function keepsDraining(
  node: PlacementNode,
  request: PlacementRequest,
  others: { missing: number; serving: number },
): boolean {
  if (others.serving >= request.wanted) return false;
  if (others.missing > 0) {
    // Nobody to take over: a node that drains goes on; one that leaves gives up all but the last that serves.
    return !node.leaving || (others.serving === 0 && request.mayServe(node.id));
  }
  return request.mayServe(node.id);
}

/** Fewer are wanted than are placed: those that serve stay, then the first placed. */
function leastLoss(good: PlacementNode[], request: PlacementRequest): PlacementNode[] {
  const rank = (node: PlacementNode) => (request.ready(node.id) ? 0 : node.state === "down" ? 2 : 1);
  const ranked = good.map((node, index) => ({ node, index }));
  ranked.sort((a, b) => rank(a.node) - rank(b.node) || a.index - b.index);
  return ranked.slice(0, request.wanted).map((r) => r.node);
}
