/** A decision as the transaction that carries it out, with the event that tells of it. Pure machine. */
import { type InstanceRecord, keys } from "../records.ts";
import type { Operation, Txn } from "../store/store.ts";
import type { ClusterPicture } from "./cluster-picture.ts";
import { eventOperation, type EventStamp } from "./events.ts";
import type { Decision } from "./life-cycle.ts";
import type { InstanceEntry } from "./records-table.ts";

/** Each compares the revision that was decided on: whoever changed the record meanwhile wins. */
export function decisionTxn(
  picture: ClusterPicture,
  { key, record, modRevision }: InstanceEntry,
  decision: Decision,
  stamp: EventStamp,
): Txn {
  const names = (ids: readonly string[]) => ids.map((id) => picture.nodeName(id)).join(", ");
  const event = (type: "normal" | "warning", reason: string, message: string) =>
    eventOperation({ ...stamp, type, subject: `instance/${record.name}`, reason, message });
  const put = (change: Partial<InstanceRecord>): Operation => ({
    type: "put",
    key,
    value: JSON.stringify({ ...record, ...change }),
  });
  const moveWords = ({ added, dropped }: { added: string[]; dropped: string[] }) =>
    [added.length > 0 && `now on ${names(added)}`, dropped.length > 0 && `off ${names(dropped)}`]
      .filter(Boolean)
      .join(", ");
  return {
    if: [{ key, target: "mod", op: "=", value: modRevision }],
    then: operations(),
  };

  function operations(): Operation[] {
    switch (decision.kind) {
      case "place":
      case "prune": {
        const { placement } = decision;
        const first = record.placement.length === 0;
        const words = first ? `placed on ${names(placement)}` : moveWords(decision);
        const replicas = decision.kind === "place" ? decision.replicas : record.replicas;
        return [put({ placement, replicas }), event("normal", first ? "Placed" : "Moved", words)];
      }
      case "replicas": {
        const { replicas } = decision;
        return [
          put({ replicas }),
          event("normal", "StateMoved", `replicas of its state: ${moveWords(decision)}`),
        ];
      }
      case "unregister":
        return decision.nodes.map((id) => ({
          type: "delete",
          key: keys.replica(record.tenant, record.uid, id),
        }));
      case "establish":
        return [
          put({ phase: "established" }),
          event("normal", "Established", `serves on ${names(record.placement)}`),
        ];
      case "rollback": {
        const { failure } = decision;
        const message = `creation is rolled back: ${failure.reason}: ${failure.message}`;
        return [put({ desired: "removed", failure }), event("warning", "RolledBack", message)];
      }
      case "delete":
        return [
          { type: "delete", key },
          ...record.spec.publish.map((p): Operation => ({ type: "delete", key: keys.port(p.port) })),
          ...stateKeys(picture, record).map((of): Operation => ({ type: "delete", key: of })),
          event("normal", "Deleted", `instance ${record.name} is gone, its ports are free`),
        ];
    }
  }
}

/** All that the store may hold of the instance's OS state, also where the watch has not shown it yet. */
function stateKeys(picture: ClusterPicture, { tenant, uid, spec, replicas }: InstanceRecord): string[] {
  if (!spec.state) return [];
  const registered = picture.records.states.get(uid)?.replicas.keys() ?? [];
  const nodes = new Set([...replicas, ...registered]);
  return [keys.configuration(tenant, uid), ...[...nodes].map((node) => keys.replica(tenant, uid, node))];
}
