/** A node as people see it: its record joined with its last report and its liveness. Pure machine. */
import type { NodeView } from "../api/views.ts";
import type { NodeRecord } from "../records.ts";
import type { ClusterPicture } from "./cluster-picture.ts";
import { count } from "./unschedulable.ts";

export function viewNode(picture: ClusterPicture, record: NodeRecord, nowMs: number): NodeView {
  const report = picture.reports.report(record.id);
  const containers = picture.records.placedOn(record.id).size;
  const replicas = picture.records.replicasOn(record.id).size;
  const held = [count(containers, "container"), ...(replicas > 0 ? [count(replicas, "replica")] : [])];
  const leaving = record.leaving ? [`leaving: ${held.join(" and ")} still placed here`] : [];
  return {
    ...record,
    state: picture.liveness.state(record.id),
    lastSeenMs: picture.liveness.lastSeenMs(record.id, nowMs),
    version: report?.version ?? "",
    runtime: report?.runtime ?? "",
    cpus: report?.cpus ?? 0,
    memoryBytes: report?.memoryBytes ?? 0,
    diskFreeBytes: report?.diskFreeBytes ?? 0,
    containers,
    warnings: [...leaving, ...(report?.warnings ?? [])],
    ingressRequests: report?.ingressRequests ?? 0,
  };
}
