/** An instance as people see it: its record joined with what living nodes report. Pure machine. */
import type { ContainerView, InstancePhase, InstanceView } from "../api/views.ts";
import type { Condition, InstanceRecord } from "../records.ts";
import type { ClusterPicture } from "./cluster-picture.ts";
import { creationWaitsFor, placementOf, placementRequest, portsNotServing } from "./life-cycle.ts";
import type { PlacementNode } from "./placement.ts";
import type { InstanceEntry } from "./records-table.ts";
import { stateConditions, viewState } from "./state-view.ts";
import { count, unschedulable } from "./unschedulable.ts";

export function viewInstance(
  picture: ClusterPicture,
  entry: InstanceEntry,
  nodes: ReadonlyMap<string, PlacementNode>,
  desiredRevision: (node: string) => number | null,
): InstanceView {
  const { record } = entry;
  const { tenant, name, uid, spec, generation, desired, createdAt } = record;
  const containers = viewContainers(picture, record);
  const ready = record.placement.filter((node) => picture.ready(uid, node)).length;
  const ports = failedPorts(picture, record);
  const waits = ready >= spec.nodes && record.phase === "established" ? portWaits(picture, record) : [];
  const ofState = desired === "running" ? stateConditions(picture, record, nodes) : [];
  const phase = phaseOf(picture, record, ready, waits.length + ofState.length, containers.length);
  const conditions =
    desired === "removed"
      ? removing(picture, entry, desiredRevision)
      : desired === "running" && phase !== "running"
        ? [
            ...shortcomings(picture, record, nodes, containers, waits.length > 0 ? [] : ports),
            ...ofState,
            ...waits,
          ]
        : [];
  return {
    tenant,
    name,
    uid,
    spec,
    generation,
    phase,
    desired,
    conditions,
    ready,
    containers,
    ports,
    state: viewState(picture, record),
    createdAt,
  };
}

/** Figures that rise all the time. */
const figures = ["requests", "index", "committed", "lag", "diskBytes"];

/** What people would see, to tell views apart: figures make no difference. */
export function viewText(view: InstanceView): string {
  return JSON.stringify(view, quiet);
}

function quiet(key: string, value: unknown): unknown {
  return figures.includes(key) ? 0 : value;
}

function phaseOf(
  picture: ClusterPicture,
  record: InstanceRecord,
  ready: number,
  waits: number,
  reported: number,
): InstancePhase {
  if (record.desired === "removed") return "removing";
  if (record.desired === "stopped") return reported > 0 ? "stopping" : "stopped";
  if (record.phase === "creating") {
    return record.placement.length < record.spec.nodes ? "pending" : "creating";
  }
  if (ready >= record.spec.nodes && waits === 0) return "running";
  // A leader that has not heard of everybody yet does not cry wolf.
  return ready > 0 || !picture.settled ? "degraded" : "down";
}

function viewContainers(picture: ClusterPicture, record: InstanceRecord): ContainerView[] {
  const { uid, placement, desired } = record;
  const leftovers = [...picture.reports.containersOf(uid).keys()].filter((id) => picture.alive(id));
  const shown = desired === "running" ? new Set([...placement, ...leftovers]) : new Set(leftovers);
  return [...shown].map((node) => {
    const report = picture.reports.container(uid, node);
    const alive = picture.alive(node);
    const placed = placement.includes(node);
    return {
      node,
      nodeName: picture.nodeName(node),
      state: alive ? (report?.state ?? "waiting") : "lost",
      reason: alive ? (report?.reason ?? "") : `node ${picture.nodeName(node)} is down`,
      restarts: report?.restarts ?? 0,
      incarnation: report?.incarnation ?? "",
      pid: report?.pid ?? 0,
      port: placed ? (report?.port ?? 0) : 0,
      startedAt: report?.startedAt ?? "",
      requests: report?.requests ?? 0,
      ...(alive && report?.kernel ? { kernel: report.kernel } : {}),
    };
  });
}

/** What keeps a complete instance from being served by every node that has been told of it. */
function portWaits(picture: ClusterPicture, record: InstanceRecord): Condition[] {
  const told = picture.livingNodes().filter((id) => (picture.reports.report(id)?.revision ?? 0) > 0);
  return portsNotServing(picture, record, told);
}

function failedPorts(picture: ClusterPicture, record: InstanceRecord): InstanceView["ports"] {
  if (record.desired !== "running") return [];
  return picture.livingNodes().flatMap((node) =>
    record.spec.publish.flatMap(({ port }) => {
      const report = picture.reports.port(node, port);
      if (report?.uid !== record.uid || report.state !== "failed") return [];
      return [{ ...report, node, nodeName: picture.nodeName(node) }];
    }),
  );
}

function removing(
  picture: ClusterPicture,
  entry: InstanceEntry,
  desiredRevision: (node: string) => number | null,
): Condition[] {
  const names = picture.notYetRidOf(entry, desiredRevision).map((id) => picture.nodeName(id));
  const waits =
    names.length > 0 ? [{ reason: "stopping", message: `waits for node ${names.sort().join(", ")}` }] : [];
  return entry.record.failure ? [entry.record.failure, ...waits] : waits;
}

function shortcomings(
  picture: ClusterPicture,
  record: InstanceRecord,
  nodes: ReadonlyMap<string, PlacementNode>,
  containers: ContainerView[],
  ports: InstanceView["ports"],
): Condition[] {
  const conditions: Condition[] = [];
  if (!picture.settled) {
    const silent = picture.livingNodes().filter((id) => !picture.reports.report(id)).length;
    const message = `this coordinator has just taken over, ${count(silent, "node")} did not report yet`;
    return [{ reason: "unknown", message }];
  }
  if (placementOf(picture, record, nodes).missing > 0) {
    conditions.push(unschedulable(placementRequest(picture, record), nodes));
  }
  if (record.phase === "creating") {
    return record.placement.length > 0 ? [...conditions, ...creationWaitsFor(picture, record)] : conditions;
  }
  for (const { state, nodeName, reason } of containers) {
    if (state === "ready") continue;
    const message =
      state === "lost" ? reason : `container on node ${nodeName} is ${state}${reason && `: ${reason}`}`;
    conditions.push({ reason: state === "lost" ? "node-down" : "container", message });
  }
  for (const { port, nodeName, reason } of ports) {
    conditions.push({ reason: "port", message: `port ${port} is not open on node ${nodeName}: ${reason}` });
  }
  return conditions;
}
