/** How instances look to people. */
import type { ContainerView, InstanceView, ReplicaView, StateView } from "../../core/api/views.ts";
import type { ListedEndpoint } from "../../core/kernel/endpoint-list.ts";
import type { ProcCounters } from "../../core/kernel/proc.ts";
import { formatDuration } from "../duration.ts";
import { age, bytes, shortDigest } from "../format.ts";
import { describeCondition } from "../wait.ts";
import type { Column } from "../table.ts";

export const instanceColumns: Column<InstanceView>[] = [
  { title: "NAME", value: (i) => i.name, flexible: true },
  { title: "OS", value: (i) => i.spec.os },
  { title: "READY", value: (i) => `${i.ready}/${i.spec.nodes}`, right: true },
  { title: "STATE", value: (i) => i.phase },
  { title: "PORTS", value: (i) => i.spec.publish.map((p) => p.port).join(",") },
  { title: "NODES", value: (i) => i.containers.map((c) => c.nodeName).join(","), flexible: true },
  { title: "AGE", value: (i) => age(i.createdAt), right: true },
  { title: "WHY", value: (i) => i.conditions.map(describeCondition).join("; "), flexible: true },
];

export const containerColumns: Column<ContainerView>[] = [
  { title: "NODE", value: (c) => c.nodeName, flexible: true },
  { title: "STATE", value: (c) => c.state },
  { title: "PID", value: (c) => c.pid || "", right: true },
  { title: "RESTARTS", value: (c) => c.restarts, right: true },
  { title: "REQUESTS", value: (c) => c.requests, right: true },
  { title: "KERNEL", value: (c) => (c.kernel ? `${c.kernel.kernel} ${c.kernel.state}` : "") },
  { title: "UP", value: (c) => (c.state === "ready" ? age(c.startedAt) : ""), right: true },
  { title: "WHY", value: (c) => c.reason, flexible: true },
];

/** An endpoint as one node's kernel tells of it; a line of core/kernel/endpoint-list.ts. */
export type EndpointRow = { node: string } & ListedEndpoint;

const perCounters = (show: (counters: ProcCounters) => string | number) => (e: EndpointRow) =>
  e.counters ? show(e.counters) : "";

export const endpointColumns: Column<EndpointRow>[] = [
  { title: "ENDPOINT", value: (e) => e.endpoint },
  { title: "NAME", value: (e) => e.name ?? "", flexible: true },
  { title: "NODE", value: (e) => e.node, flexible: true },
  { title: "KIND", value: (e) => (e.moving ? `${e.kind}, moving` : e.kind) },
  { title: "KERNEL", value: (e) => e.kernel, right: true },
  { title: "WAITING", value: (e) => e.waiting, right: true },
  { title: "LOCAL OUT/IN", value: perCounters((c) => `${c.sentLocal}/${c.receivedLocal}`), right: true },
  { title: "REMOTE OUT/IN", value: perCounters((c) => `${c.sentRemote}/${c.receivedRemote}`), right: true },
  // Counted where they are known: between kernels.
  { title: "BYTES OUT/IN", value: perCounters((c) => `${c.bytesSent}/${c.bytesReceived}`), right: true },
  { title: "COPIED", value: perCounters((c) => c.bytesCopied), right: true },
];

export const replicaColumns: Column<ReplicaView>[] = [
  { title: "REPLICA ON", value: (r) => r.nodeName, flexible: true },
  { title: "ROLE", value: (r) => (r.state === "ready" ? r.role : r.state) },
  { title: "IN SYNC", value: (r) => (r.inSync ? "yes" : r.wanted ? "no" : "leaves") },
  { title: "SERVES", value: (r) => (r.serving ? "yes" : "") },
  { title: "EPOCH", value: (r) => r.epoch || "", right: true },
  { title: "INDEX", value: (r) => r.index || "", right: true },
  { title: "LAG", value: (r) => r.lag ?? "", right: true },
  { title: "DURABILITY", value: (r) => (r.state === "ready" ? r.durability : "") },
  { title: "DISK", value: (r) => (r.diskBytes > 0 ? bytes(r.diskBytes) : ""), right: true },
  { title: "WHY", value: (r) => r.problem || r.reason, flexible: true },
];

function stateFields({ policy, epoch, primary, inSync, replicas }: StateView): [string, string][] {
  const { durability, minInSync, replaceAfterMs } = policy;
  const wanted = replicas.filter((replica) => replica.wanted).length;
  return [
    ["primary", primary ? `${primary.nodeName} (epoch ${epoch})` : "none yet"],
    ["in sync", `${inSync} of ${wanted} replicas, at least ${minInSync} for writes`],
    ["durability", durability === "fsync" ? "fsync: on every disk" : "replicated: in the memory of each"],
    ["replaced", `a replica whose node is gone for ${formatDuration(replaceAfterMs)}`],
  ];
}

export function instanceFields(view: InstanceView): [string, string][] {
  return [
    ["name", view.name],
    ["uid", view.uid],
    ["state", `${view.phase} (wanted: ${view.desired})`],
    ...view.conditions.map((c): [string, string] => ["why", describeCondition(c)]),
    ["os", view.spec.os],
    ["ready", `${view.ready} of ${view.spec.nodes}`],
    ["image", shortDigest(view.spec.image) || "none"],
    ["ports", view.spec.publish.map((p) => `${p.port} (${p.policy})`).join(", ") || "none"],
    ...view.ports
      .filter((p) => p.state === "failed")
      .map((p): [string, string] => ["port", `${p.port} is not open on ${p.nodeName}: ${p.reason}`]),
    ...(view.state ? stateFields(view.state) : []),
    ["options", JSON.stringify(view.spec.options)],
    ...(view.kernels ? [["kernels", describeKernels(view.kernels)] as [string, string]] : []),
    ["created", `${view.createdAt} (${age(view.createdAt)} ago)`],
  ];
}

function describeKernels({ members, grantor }: NonNullable<InstanceView["kernels"]>): string {
  if (!grantor) return `${members}, and none of them grants leases`;
  return `${members}; leases are granted by kernel ${grantor.kernel} on ${grantor.nodeName} (epoch ${grantor.epoch})`;
}
