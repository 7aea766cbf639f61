/** How nodes look to people. */
import type { NodeView } from "../../core/api/views.ts";
import { formatDuration } from "../duration.ts";
import { age, bytes, labels } from "../format.ts";
import type { Column } from "../table.ts";

const state = (n: NodeView) =>
  [n.state, n.leaving ? "leaving" : n.schedulable ? "" : "cordoned"].filter(Boolean).join(",");

export const nodeColumns: Column<NodeView>[] = [
  { title: "NAME", value: (n) => n.name, flexible: true },
  { title: "STATE", value: state },
  { title: "ADDRESS", value: (n) => n.address },
  { title: "CONTAINERS", value: (n) => n.containers, right: true },
  { title: "LABELS", value: (n) => labels(n.labels), flexible: true },
  {
    title: "SEEN",
    value: (n) => (n.lastSeenMs === null ? "never" : formatDuration(n.lastSeenMs)),
    right: true,
  },
  { title: "AGE", value: (n) => age(n.joinedAt), right: true },
  { title: "WARNINGS", value: (n) => n.warnings.join("; "), flexible: true },
];

export function nodeFields(n: NodeView): [string, string][] {
  return [
    ["name", n.name],
    ["id", n.id],
    ["state", state(n)],
    ["address", n.address],
    ["labels", labels(n.labels) || "none"],
    ["containers", `${n.containers}${n.containersMax > 0 ? ` of ${n.containersMax}` : ""}`],
    ["version", `${n.version} (${n.runtime})`],
    ["machine", `${n.cpus} CPUs, ${bytes(n.memoryBytes)} memory, ${bytes(n.diskFreeBytes)} disk free`],
    ["requests", `${n.ingressRequests} through its ingress`],
    ["seen", n.lastSeenMs === null ? "never" : `${formatDuration(n.lastSeenMs)} ago`],
    ["joined", n.joinedAt],
    ...n.warnings.map((w): [string, string] => ["warning", w]),
  ];
}
