/**
 * What each node is to run and where each published port leads, derived from the records and reports. Only what
 * changed is derived anew: with a thousand instances, a change of one costs one. Pure machine.
 *
 * An upstream is known from a report only. A new leader therefore derives nothing before it is settled: a Desired
 * without the containers it has not heard of yet would take them out of service.
 */
import type { ContainerSpec, Desired, ReplicaSpec, Route, RouteUpstream } from "../agent-protocol.ts";
import type { InstanceRecord } from "../records.ts";
import type { ClusterPicture } from "./cluster-picture.ts";
import { PerNode } from "./per-node.ts";

interface Derived {
  routes: Route[];
  /** As text, to see whether anything changed. */
  routesText: string;
}

export class DesiredDeriver {
  readonly #clusterId: string;
  readonly #storeGeneration: number;
  readonly #derived = new Map<string, Derived>();
  readonly #containers = new PerNode<ContainerSpec>();
  readonly #replicas = new PerNode<ReplicaSpec>();
  readonly #desired = new Map<string, Desired>();
  #routes: Route[] | null = [];

  constructor(clusterId: string, storeGeneration: number) {
    this.#clusterId = clusterId;
    this.#storeGeneration = storeGeneration;
  }

  desiredFor(node: string): Desired | null {
    return this.#desired.get(node) ?? null;
  }

  /** Revision of the node's newest Desired; null before the first. */
  readonly revisionOf = (node: string): number | null => this.#desired.get(node)?.revision ?? null;

  /** Derives anew what these instances (by key) and nodes need; returns what changed. */
  derive(picture: ClusterPicture, instances: Iterable<string>, nodes: Iterable<string>): Desired[] {
    const changed = new Set<string>();
    for (const id of nodes) {
      if (picture.records.nodes.has(id)) changed.add(id);
      else {
        this.#desired.delete(id);
        this.#containers.removeNode(id);
        this.#replicas.removeNode(id);
      }
    }
    for (const key of instances) this.#update(picture, key, changed);
    if (this.#routes === null) {
      this.#routes = [...this.#derived.values()].flatMap((d) => d.routes).sort((a, b) => a.port - b.port);
      for (const id of picture.records.nodes.keys()) changed.add(id);
    }
    return [...changed].flatMap((id) => this.#assemble(picture, id) ?? []);
  }

  #update(picture: ClusterPicture, key: string, changed: Set<string>): void {
    const record = picture.records.instances.get(key)?.record;
    const runs = record?.desired === "running" && record.placement.length > 0;
    const routes = runs ? this.#routesOf(picture, record) : [];
    const routesText = JSON.stringify(routes);
    if ((this.#derived.get(key)?.routesText ?? "[]") !== routesText) this.#routes = null;
    if (routes.length > 0) this.#derived.set(key, { routes, routesText });
    else this.#derived.delete(key);
    const container = runs ? containerOf(record) : null;
    const containers = container ? record!.placement.map((id) => [id, container] as const) : [];
    this.#containers.set(key, new Map(containers), changed);
    this.#replicas.set(key, record ? replicasOf(picture, record) : new Map(), changed);
  }

  #routesOf(
    picture: ClusterPicture,
    { tenant, name: instance, uid, spec, placement }: InstanceRecord,
  ): Route[] {
    const uri = routeUri({ clusterId: this.#clusterId, tenant, instance, uid });
    const upstreams = placement.flatMap((id) => upstreamOn(picture, uid, id) ?? []);
    return spec.publish.map(({ port, policy }) => ({ port, policy, tenant, instance, uid, uri, upstreams }));
  }

  #assemble(picture: ClusterPicture, id: string): Desired | null {
    const node = picture.records.nodes.get(id)?.record;
    if (!node) return null;
    const desired: Desired = {
      clusterId: this.#clusterId,
      storeGeneration: this.#storeGeneration,
      revision: picture.records.revision,
      node: { id, name: node.name, address: node.address },
      containers: this.#containers.on(id),
      replicas: this.#replicas.on(id),
      routes: this.#routes ?? [],
    };
    const old = this.#desired.get(id);
    if (old && sameDesired(old, desired)) return null;
    this.#desired.set(id, desired);
    return desired;
  }
}

function containerOf({ tenant, name: instance, uid, generation, spec }: InstanceRecord): ContainerSpec {
  const { os, image, options } = spec;
  return { tenant, instance, uid, generation, os, image, options };
}

/**
 * By node. What is in sync and not wanted any more keeps its data, and also runs as long as nobody that is wanted has
 * everything. State processes go after the containers, which write until their end; data goes with the instance.
 */
function replicasOf(picture: ClusterPicture, record: InstanceRecord): Map<string, ReplicaSpec> {
  const { tenant, name: instance, uid, generation, spec, desired, replicas } = record;
  const active = desired === "running" || picture.hasContainers(uid);
  if (!spec.state || (desired === "removed" && !active)) return new Map();
  const { replicas: wanted, minInSync, durability } = spec.state;
  const inSync = picture.inSync(uid);
  const taken = replicas.some((id) => inSync.has(id));
  const policy = { replicas: wanted, minInSync, durability };
  const { os, image } = spec;
  const of = { tenant, instance, uid, generation, os, policy, ...(image !== null && { image }) };
  const specOn = (id: string): [string, ReplicaSpec] => [
    id,
    { ...of, run: active && (replicas.includes(id) || !taken) },
  ];
  return new Map([...new Set([...replicas, ...inSync])].map(specOn));
}

/** What the certificates of an instance's containers have in common: `instanceUri` of core/trust, without its I/O. */
export function routeUri(of: { clusterId: string; tenant: string; instance: string; uid: string }): string {
  return `spiffe://${of.clusterId}/t/${of.tenant}/i/${of.instance}/${of.uid}`;
}

/** Also on a node that is down: whether it answers is for each ingress to see. */
function upstreamOn(picture: ClusterPicture, uid: string, node: string): RouteUpstream | null {
  const record = picture.records.nodes.get(node)?.record;
  const upstream = picture.reports.upstream(uid, node);
  return record && upstream ? { node, host: record.address, ...upstream } : null;
}

/** Parts are shared between versions unless they changed, so that this is cheap. */
function sameDesired(a: Desired, b: Desired): boolean {
  return (
    a.routes === b.routes &&
    a.node.name === b.node.name &&
    a.node.address === b.node.address &&
    sameParts(a.containers, b.containers) &&
    sameParts(a.replicas, b.replicas)
  );
}

function sameParts(a: readonly object[], b: readonly object[]): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i]);
}
