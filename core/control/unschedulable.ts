/** Why an instance has fewer nodes than it asks for, in words for people. Pure machine. */
import type { Condition } from "../records.ts";
import { hasRoom, matches, type PlacementNode, type PlacementRequest } from "./placement.ts";

/** `needs 3 nodes, 2 are up, 1 of 4 nodes is draining, 2 match on disk=ssd`. Names only what stands in the way. */
export function unschedulable(
  request: Pick<PlacementRequest, "wanted" | "on" | "current">,
  nodes: ReadonlyMap<string, PlacementNode>,
): Condition {
  const all = [...nodes.values()];
  const up = all.filter((node) => node.state === "up");
  const parts = [`needs ${count(request.wanted, "node")}`, `${up.length} ${isAre(up.length)} up`];
  const draining = up.filter((node) => node.draining).length;
  if (draining > 0) parts.push(`${draining} of ${count(all.length, "node")} ${isAre(draining)} draining`);
  const matching = all.filter((node) => matches(node.labels, request.on)).length;
  if (matching < all.length) {
    const labels = Object.entries(request.on).map(([key, value]) => `${key}=${value}`);
    parts.push(`${matching} ${matching === 1 ? "matches" : "match"} on ${labels.sort().join(",")}`);
  }
  const full = up.filter((node) => !hasRoom(node) && !request.current.includes(node.id)).length;
  if (full > 0) parts.push(`${full} ${full === 1 ? "has" : "have"} no room for another container`);
  return { reason: "unschedulable", message: parts.join(", ") };
}

export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

function isAre(n: number): string {
  return n === 1 ? "is" : "are";
}
