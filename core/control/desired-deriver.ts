/**
 * What each node is to run and where each published port leads, derived from the records and reports. Only what
 * changed is derived anew: with a thousand instances, a change of one costs one. Pure machine.
 *
 * An upstream is known from a report only. A new leader therefore derives nothing before it is settled: a Desired
 * without the containers it has not heard of yet would take them out of service.
 */
import type { ContainerSpec, Desired, Route, RouteUpstream } from "../agent-protocol.ts";
import type { ClusterPicture } from "./cluster-picture.ts";
import type { InstanceEntry } from "./records-table.ts";

interface Derived {
  /** Nodes whose Desired names it. */
  nodes: string[];
  container: ContainerSpec;
  routes: Route[];
  /** The three above as text, to see whether anything changed. */
  containerText: string;
  routesText: string;
}

export class DesiredDeriver {
  readonly #clusterId: string;
  readonly #storeGeneration: number;
  readonly #derived = new Map<string, Derived>();
  readonly #containersOn = new Map<string, Map<string, ContainerSpec>>();
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
        this.#containersOn.delete(id);
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
    const old = this.#derived.get(key);
    const entry = picture.records.instances.get(key);
    const next = entry && this.#deriveInstance(picture, entry);
    if ((old?.routesText ?? "[]") !== (next?.routesText ?? "[]")) this.#routes = null;
    if (next) this.#derived.set(key, next);
    else this.#derived.delete(key);
    const sameContainer = old?.containerText === next?.containerText;
    for (const id of old?.nodes ?? []) {
      if (next?.nodes.includes(id)) continue;
      this.#containersOn.get(id)?.delete(key);
      changed.add(id);
    }
    for (const id of next?.nodes ?? []) {
      if (sameContainer && old?.nodes.includes(id)) continue;
      const on = this.#containersOn.get(id) ?? new Map<string, ContainerSpec>();
      this.#containersOn.set(id, on.set(key, next!.container));
      changed.add(id);
    }
  }

  /** Undefined for an instance that runs nowhere and has no open port. */
  #deriveInstance(picture: ClusterPicture, { record }: InstanceEntry): Derived | undefined {
    if (record.desired !== "running" || record.placement.length === 0) return undefined;
    const { tenant, name: instance, uid, generation, spec } = record;
    const { os, image, options } = spec;
    const container: ContainerSpec = { tenant, instance, uid, generation, os, image, options };
    const uri = routeUri({ clusterId: this.#clusterId, tenant, instance, uid });
    const upstreams = record.placement.flatMap((id) => upstreamOn(picture, uid, id) ?? []);
    const routes = spec.publish.map(({ port, policy }) => ({
      port,
      policy,
      tenant,
      instance,
      uid,
      uri,
      upstreams,
    }));
    return {
      nodes: record.placement,
      container,
      routes,
      containerText: JSON.stringify(container),
      routesText: JSON.stringify(routes),
    };
  }

  #assemble(picture: ClusterPicture, id: string): Desired | null {
    const node = picture.records.nodes.get(id)?.record;
    if (!node) return null;
    const on = [...(this.#containersOn.get(id) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
    const desired: Desired = {
      clusterId: this.#clusterId,
      storeGeneration: this.#storeGeneration,
      revision: picture.records.revision,
      node: { id, name: node.name, address: node.address },
      containers: on.map(([, container]) => container),
      replicas: [],
      routes: this.#routes ?? [],
    };
    const old = this.#desired.get(id);
    if (old && sameDesired(old, desired)) return null;
    this.#desired.set(id, desired);
    return desired;
  }
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
    a.containers.length === b.containers.length &&
    a.containers.every((container, i) => container === b.containers[i])
  );
}
