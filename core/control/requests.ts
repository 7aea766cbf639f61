/**
 * The transactions by which people's requests enter the store: the rules that the API and the controllers share.
 * Names and ports are unique because each creation compares that their keys do not exist. Pure machine.
 *
 * A request whose outcome is unknown is settled by reading the record back and comparing its uid.
 */
import { DvsError } from "../errors.ts";
import { type InstanceRecord, keys, type NodeRecord, PortRecord } from "../records.ts";
import type { Operation, Txn, TxnResult } from "../store/store.ts";
import { eventOperation, type EventStamp } from "./events.ts";

/** Instance and ports at once, or nothing; the else branch reads what may be in the way, for `createConflict`. */
export function createTxn(record: InstanceRecord, stamp: EventStamp): Txn {
  const key = keys.instance(record.tenant, record.name);
  const ports = record.spec.publish.map((p) => keys.port(p.port));
  const image = record.spec.image ? [keys.image(record.tenant, record.spec.image)] : [];
  const port: PortRecord = { tenant: record.tenant, instance: record.name, uid: record.uid };
  return {
    if: [
      ...[key, ...ports].map((k) => ({ key: k, target: "create" as const, op: "=" as const, value: 0 })),
      ...image.map((k) => ({ key: k, target: "create" as const, op: "!=" as const, value: 0 })),
    ],
    then: [
      put(key, record),
      ...ports.map((k) => put(k, port)),
      instanceEvent(record, stamp, "Created", `instance ${record.name} (${record.spec.os}) was asked for`),
    ],
    else: [key, ...ports, ...image].map((k) => ({ type: "get", key: k })),
  };
}

/**
 * Why a createTxn did not succeed; null when what is in the way is this very record: an earlier try, whose answer
 * was lost, had succeeded.
 */
export function createConflict(record: InstanceRecord, result: TxnResult): DvsError | null {
  const [existing, ...others] = result.results;
  const what = `Cannot create instance "${record.name}"`;
  if (existing) {
    const old = JSON.parse(existing.value) as InstanceRecord;
    if (old.uid === record.uid) return null;
    const removing = old.desired === "removed";
    const state = removing ? " and is being removed: try again in a moment." : ". Choose another name.";
    return new DvsError("CONFLICT", `${what}: the name exists already${state}`);
  }
  for (const [i, { port }] of record.spec.publish.entries()) {
    const owner = others[i];
    if (!owner) continue;
    const { tenant, instance } = PortRecord.parse(JSON.parse(owner.value));
    const whose = tenant === record.tenant ? `instance "${instance}"` : "an instance of another tenant";
    return new DvsError(
      "CONFLICT",
      `Cannot publish port ${port} of instance "${record.name}": ${whose} has it already. Choose another --publish.`,
    );
  }
  if (record.spec.image && !others[record.spec.publish.length]) {
    return new DvsError("NOT_FOUND", `${what}: image ${record.spec.image} does not exist. Build it first.`);
  }
  return new DvsError("CONFLICT", `${what}: what was in the way has just gone. Try again.`);
}

/** Start, stop or remove. Throws CONFLICT for an instance that is being removed: that is not undone. */
export function setDesiredTxn(
  record: InstanceRecord,
  modRevision: number,
  desired: InstanceRecord["desired"],
  stamp: EventStamp,
): Txn {
  if (record.desired === "removed" && desired !== "removed") {
    throw new DvsError("CONFLICT", `Cannot change instance "${record.name}": it is being removed.`);
  }
  const { reason, words } = {
    running: { reason: "Start", words: "start" },
    stopped: { reason: "Stop", words: "stop" },
    removed: { reason: "Remove", words: "removal" },
  }[desired];
  const message = `${words} of instance ${record.name} was asked for`;
  const key = keys.instance(record.tenant, record.name);
  return {
    if: [{ key, target: "mod", op: "=", value: modRevision }],
    then: [put(key, { ...record, desired }), instanceEvent(record, stamp, reason, message)],
  };
}

export const removeTxn = (record: InstanceRecord, modRevision: number, stamp: EventStamp): Txn =>
  setDesiredTxn(record, modRevision, "removed", stamp);

/** What people may change of a node: drain it (`schedulable: false`) and undo that, its labels, its room. */
export function setNodeTxn(
  record: NodeRecord,
  modRevision: number,
  change: Partial<Pick<NodeRecord, "schedulable" | "leaving" | "labels" | "containersMax">>,
  stamp: EventStamp,
): Txn {
  const key = keys.node(record.id);
  const reason = change.leaving ? "Leaving" : change.schedulable === false ? "Draining" : "Changed";
  const fields = Object.entries(change).map(([field, value]) => `${field} = ${JSON.stringify(value)}`);
  return {
    if: [{ key, target: "mod", op: "=", value: modRevision }],
    then: [
      put(key, { ...record, ...change }),
      nodeEvent(record, stamp, reason, `node ${record.name}: ${fields.join(", ")}`),
    ],
  };
}

/** The controllers move its containers away, and then remove the record. */
export const leaveTxn = (record: NodeRecord, modRevision: number, stamp: EventStamp): Txn =>
  setNodeTxn(record, modRevision, { schedulable: false, leaving: true }, stamp);

/** The record of a node that is empty, or that a person gave up for lost, goes together with its name. */
export function removeNodeTxn(record: NodeRecord, modRevision: number, stamp: EventStamp): Txn {
  const key = keys.node(record.id);
  const message = `node ${record.name} is no longer part of the cluster`;
  return {
    if: [{ key, target: "mod", op: "=", value: modRevision }],
    then: [
      { type: "delete", key },
      { type: "delete", key: keys.nodeName(record.name) },
      nodeEvent(record, stamp, record.leaving ? "Left" : "Removed", message),
    ],
  };
}

function put(key: string, value: InstanceRecord | NodeRecord | PortRecord): Operation {
  return { type: "put", key, value: JSON.stringify(value) };
}

function instanceEvent(record: InstanceRecord, stamp: EventStamp, reason: string, message: string) {
  return eventOperation({ ...stamp, type: "normal", subject: `instance/${record.name}`, reason, message });
}

function nodeEvent(record: NodeRecord, stamp: EventStamp, reason: string, message: string) {
  return eventOperation({ ...stamp, type: "normal", subject: `node/${record.name}`, reason, message });
}
