/**
 * What to do next with an instance. Pure machine: a function of the picture, so that any leader, at any time, after
 * any crash, takes up where the last one was cut off.
 *
 *              place                  every container was ready once,
 *   pending ───────────▶ creating ─── every port is open on every up node ──▶ established
 *      ▲                    │ a container fails for good, or                    │   ▲
 *      │                    │ a port is held by another program                 ▼   │ place: replace, drain
 *   created by the API      ▼ rollback                                       (degraded, down: views, not records)
 *                        removed ── no living node has anything of it ──▶ record and ports deleted
 *
 * Stopped instances keep their phase, their ports and their places.
 */
import type { Condition, InstanceRecord } from "../records.ts";
import type { ClusterPicture } from "./cluster-picture.ts";
import { place, type PlacementNode, type PlacementRequest, type PlacementResult } from "./placement.ts";
import type { InstanceEntry } from "./records-table.ts";
import { placeReplicas, type ReplicaRequest } from "./replica-placement.ts";

export type Decision =
  /** Fewer or other places than the record names; `replicas` as it follows from them. */
  | { kind: "place"; placement: string[]; added: string[]; dropped: string[]; replicas: string[] }
  | { kind: "prune"; placement: string[]; added: string[]; dropped: string[] }
  /** Other nodes are to hold its OS state. */
  | { kind: "replicas"; replicas: string[]; added: string[]; dropped: string[] }
  /** What these nodes registered is of no use any more: their replicas are neither wanted nor in sync. */
  | { kind: "unregister"; nodes: string[] }
  | { kind: "rollback"; failure: Condition }
  | { kind: "establish" }
  | { kind: "delete" };

/** Null: nothing to do now. `nodes` is the picture's, made once for many calls. */
export function decide(
  picture: ClusterPicture,
  entry: InstanceEntry,
  nodes: ReadonlyMap<string, PlacementNode>,
  desiredRevision: (node: string) => number | null,
): Decision | null {
  const { record } = entry;
  switch (record.desired) {
    case "removed":
      return picture.notYetRidOf(entry, desiredRevision).length === 0 ? { kind: "delete" } : null;
    case "stopped":
      return prune(record, nodes);
    case "running":
      return run(picture, record, nodes);
  }
}

/** Where a running instance belongs now. */
export function placementOf(
  picture: ClusterPicture,
  record: InstanceRecord,
  nodes: ReadonlyMap<string, PlacementNode>,
): PlacementResult {
  return place(placementRequest(picture, record), nodes);
}

export function placementRequest(picture: ClusterPicture, record: InstanceRecord): PlacementRequest {
  return {
    wanted: record.spec.nodes,
    on: record.spec.on,
    current: record.placement,
    impatient: record.phase === "creating",
    allOrNothing: record.phase === "creating" && record.placement.length === 0,
    ready: (node) => picture.ready(record.uid, node),
    mayServe: (node) => picture.mayServe(record.uid, node),
  };
}

/** Where the replicas of a running instance belong, once its containers are on `placement`. */
export function replicaRequest(picture: ClusterPicture, record: InstanceRecord): ReplicaRequest {
  const { uid, spec, placement, replicas, phase } = record;
  const inSync = picture.inSync(uid);
  // It holds nothing yet that could be lost by leaving a node as soon as that is down.
  const impatient = phase === "creating" && !picture.records.states.get(uid)?.configuration;
  const patienceMs = impatient ? 0 : (spec.state?.replaceAfterMs ?? 0);
  const gone = (node: string) => !picture.alive(node) && picture.liveness.downMs(node) >= patienceMs;
  const wanted = Math.min(spec.state?.replicas ?? 0, Math.max(placement.length, spec.nodes));
  return { wanted, placement, current: replicas, inSync: (node) => inSync.has(node), gone };
}

/** Why the creation cannot succeed; null while it still may. */
export function creationFailure(picture: ClusterPicture, record: InstanceRecord): Condition | null {
  const { uid } = record;
  for (const node of record.placement) {
    const container = picture.container(uid, node);
    if (container?.state !== "failed" || !container.permanent) continue;
    const message = `container on node ${picture.nodeName(node)}: ${container.reason}`;
    return { reason: "container-failed", message };
  }
  for (const node of record.replicas) {
    const replica = picture.replica(uid, node);
    if (replica?.state !== "failed" || !replica.permanent) continue;
    const message = `replica of its state on node ${picture.nodeName(node)}: ${replica.reason}`;
    return { reason: "replica-failed", message };
  }
  for (const node of picture.livingNodes()) {
    for (const { port } of record.spec.publish) {
      const failedMs = picture.reports.portFailedMs(node, port, uid, picture.liveness.clockMs);
      if (failedMs < picture.limits.portFailedMs) continue;
      const why = picture.reports.port(node, port)?.reason ?? "";
      return { reason: "port-failed", message: `port ${port} on node ${picture.nodeName(node)}: ${why}` };
    }
  }
  return null;
}

/** What keeps a placed instance in `creating`, in words; empty when it is established. */
export function creationWaitsFor(picture: ClusterPicture, record: InstanceRecord): Condition[] {
  const waits: Condition[] = [];
  for (const node of record.placement) {
    if (picture.reports.readyOnce(record.uid, node)) continue;
    const container = picture.container(record.uid, node);
    const state = container ? `${container.state}${container.reason && `: ${container.reason}`}` : "waiting";
    waits.push({ reason: "container", message: `container on node ${picture.nodeName(node)} is ${state}` });
  }
  for (const node of record.replicas) {
    const replica = picture.replica(record.uid, node);
    if (replica?.state === "ready") continue;
    const state = replica ? `${replica.state}${replica.reason && `: ${replica.reason}`}` : "waiting";
    const name = picture.nodeName(node);
    waits.push({ reason: "replica", message: `replica of its state on node ${name} is ${state}` });
  }
  return [...waits, ...portsNotServing(picture, record, picture.livingNodes())];
}

/** Which of these nodes do not lead from each published port to a container yet, in words. */
export function portsNotServing(
  picture: ClusterPicture,
  record: InstanceRecord,
  nodes: readonly string[],
): Condition[] {
  const waits: Condition[] = [];
  for (const node of nodes) {
    for (const { port } of record.spec.publish) {
      const report = picture.reports.port(node, port);
      const known = report?.uid === record.uid ? report : undefined;
      if (known?.state === "open" && known.routed !== false) continue;
      const name = picture.nodeName(node);
      const message =
        known?.state === "open"
          ? `port ${port} on node ${name} leads to no container yet`
          : `port ${port} is not open yet on node ${name}${known ? `: ${known.reason}` : ""}`;
      waits.push({ reason: "port", message });
    }
  }
  return waits;
}

function run(
  picture: ClusterPicture,
  record: InstanceRecord,
  nodes: ReadonlyMap<string, PlacementNode>,
): Decision | null {
  if (record.phase === "creating" && record.placement.length > 0) {
    const failure = creationFailure(picture, record);
    if (failure) return { kind: "rollback", failure };
  }
  const { placement, missing } = placementOf(picture, record, nodes);
  const move = difference(record.placement, placement);
  const { replicas } = placeReplicas(replicaRequest(picture, { ...record, placement }), nodes);
  if (move) return { kind: "place", placement, added: move.added, dropped: move.dropped, replicas };
  const copies = difference(record.replicas, replicas);
  if (copies) return { kind: "replicas", replicas, added: copies.added, dropped: copies.dropped };
  const useless = unregistered(picture, record);
  if (useless.length > 0) return { kind: "unregister", nodes: useless };
  if (record.phase !== "creating" || missing > 0) return null;
  return creationWaitsFor(picture, record).length === 0 ? { kind: "establish" } : null;
}

/** A stopped instance keeps its places, but for nodes that go. */
function prune(record: InstanceRecord, nodes: ReadonlyMap<string, PlacementNode>): Decision | null {
  const placement = record.placement.filter((id) => nodes.get(id)?.draining === false);
  const move = difference(record.placement, placement);
  return move && { kind: "prune", placement, added: move.added, dropped: move.dropped };
}

/** Nodes whose registration is of no use: their replicas are not wanted, not in sync, and not there any more. */
function unregistered(picture: ClusterPicture, { uid, replicas }: InstanceRecord): string[] {
  const state = picture.records.states.get(uid);
  if (!state) return [];
  const inSync = picture.inSync(uid);
  const nodes = [...state.replicas.keys()];
  return nodes.filter((n) => !replicas.includes(n) && !inSync.has(n) && !picture.replica(uid, n));
}

function difference(before: readonly string[], after: string[]) {
  const added = after.filter((id) => !before.includes(id));
  const dropped = before.filter((id) => !after.includes(id));
  return added.length + dropped.length === 0 ? null : { added, dropped };
}
