/**
 * All that the controllers know at one moment: the store's records, what nodes report, and who lives. What they
 * decide is a function of it. Pure machine.
 */
import type { ContainerReport, ReplicaReport } from "../agent-protocol.ts";
import type { ControllerLimits } from "./control-event.ts";
import { NodeLiveness } from "./node-liveness.ts";
import { NodeReports } from "./node-reports.ts";
import type { PlacementNode } from "./placement.ts";
import { type InstanceEntry, RecordsTable } from "./records-table.ts";

export class ClusterPicture {
  readonly records = new RecordsTable();
  readonly reports = new NodeReports();
  readonly liveness: NodeLiveness;
  readonly limits: ControllerLimits;
  /** Places promised by transactions under way: node → instances. */
  readonly promised = new Map<string, Set<string>>();
  /** True when every living node has reported to this leader, or had the time to. Before, it decides nothing. */
  settled = false;

  /** Of the store; what replicas know by an older one is worth nothing. */
  readonly storeGeneration: number;

  constructor(limits: ControllerLimits, nowMs: number, storeGeneration: number) {
    this.limits = limits;
    this.storeGeneration = storeGeneration;
    this.liveness = new NodeLiveness(limits, nowMs);
  }

  /** Up, or not heard of yet by a new leader: whatever it runs must be reckoned with. */
  alive(node: string): boolean {
    return this.liveness.state(node) !== "down";
  }

  /** The container of the instance that a living node reports. */
  container(uid: string, node: string): ContainerReport | undefined {
    return this.alive(node) ? this.reports.container(uid, node) : undefined;
  }

  ready(uid: string, node: string): boolean {
    return this.container(uid, node)?.state === "ready";
  }

  /** It was ready and nobody has said that it is no longer; or its node lives and has yet to say anything. */
  mayServe(uid: string, node: string): boolean {
    if (this.reports.upstream(uid, node)) return true;
    return this.alive(node) && this.reports.report(node) === null;
  }

  /** The replica that a living node reports. */
  replica(uid: string, node: string): ReplicaReport | undefined {
    return this.alive(node) ? this.reports.replica(uid, node) : undefined;
  }

  /** Nodes whose registered disk is in sync, by the configuration in the store. */
  inSync(uid: string): Set<string> {
    const state = this.records.states.get(uid);
    const disks = state?.configuration?.record.configuration.inSync ?? [];
    const registered = [...(state?.replicas.values() ?? [])].filter(({ record }) =>
      disks.includes(record.disk),
    );
    return new Set(registered.map(({ record }) => record.node));
  }

  /** Some living node reports a container of it. */
  hasContainers(uid: string): boolean {
    return [...this.reports.containersOf(uid).keys()].some((node) => this.alive(node));
  }

  nodeName(id: string): string {
    return this.records.nodes.get(id)?.record.name ?? id;
  }

  /** Ids of the nodes that live, by name. */
  livingNodes(): string[] {
    return [...this.records.nodes.keys()].filter((id) => this.alive(id));
  }

  /** The nodes as placement sees them. */
  placementNodes(): Map<string, PlacementNode> {
    const nodes = new Map<string, PlacementNode>();
    for (const [id, { record }] of this.records.nodes) {
      nodes.set(id, {
        id,
        state: this.liveness.state(id),
        lost: this.liveness.lost(id),
        draining: record.leaving || !record.schedulable,
        leaving: record.leaving,
        labels: record.labels,
        containersMax: record.containersMax,
        containers: this.#containersOn(id),
      });
    }
    return nodes;
  }

  /** Living nodes whose report still shows something of the instance, a port, or an older Desired than its end. */
  notYetRidOf(entry: InstanceEntry, appliedRevision: (node: string) => number | null): string[] {
    const { uid, spec } = entry.record;
    const ports = spec.publish.map((p) => p.port);
    return this.livingNodes().filter((id) => {
      const report = this.reports.report(id);
      if (!report || this.reports.container(uid, id) || this.reports.replica(uid, id)) return true;
      if (this.reports.hasPortOf(id, uid, ports)) return true;
      const sent = appliedRevision(id);
      return sent === null || (sent >= entry.modRevision && report.revision < entry.modRevision);
    });
  }

  #containersOn(id: string): number {
    const placed = this.records.placedOn(id);
    let containers = placed.size;
    for (const key of this.promised.get(id) ?? []) if (!placed.has(key)) containers++;
    return containers;
  }
}
