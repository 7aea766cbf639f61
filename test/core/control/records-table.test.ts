import { expect, test } from "bun:test";
import { RecordsTable } from "../../../core/control/records-table.ts";
import type { KeyValue, WatchEvent } from "../../../core/store/store.ts";

function kv(key: string, modRevision: number, value: object): KeyValue {
  return { key, value: JSON.stringify(value), createRevision: 1, modRevision, version: 1, lease: null };
}
const node = (id: string, revision: number, change: object = {}) =>
  kv(`/n/${id}`, revision, {
    id,
    name: id,
    address: "a",
    labels: {},
    schedulable: true,
    joinedAt: "",
    ...change,
  });
const instance = (name: string, revision: number, placement: string[], uid = `u-${name}`) =>
  kv(`/t/default/i/${name}`, revision, {
    tenant: "default",
    name,
    uid,
    spec: { os: "web", nodes: 1 },
    generation: 1,
    desired: "running",
    phase: "creating",
    placement,
    createdAt: "",
  });
const puts = (kvs: KeyValue[]): WatchEvent[] => kvs.map((kv) => ({ type: "put", key: kv.key, kv }));
const gone = (key: string): WatchEvent => ({ type: "delete", key, kv: null });

test("a snapshot removes what it does not contain", () => {
  const table = new RecordsTable();
  table.applySnapshot(5, [node("n1", 1), node("n2", 2), instance("a", 3, ["n1"]), kv("/p/80", 3, port("a"))]);
  const changes = table.applySnapshot(9, [node("n1", 1)]);
  expect(changes.removedNodes.map((n) => n.id)).toEqual(["n2"]);
  expect(changes.removedInstances.map((i) => i.record.name)).toEqual(["a"]);
  expect([table.nodes.size, table.instances.size, table.ports.size, table.byUid.size]).toEqual([1, 0, 0, 0]);
  expect(table.placedOn("n1").size).toBe(0);
});

test("old news changes nothing, whether put or deletion", () => {
  const table = new RecordsTable();
  table.applyChanges(7, puts([instance("a", 7, ["n1"])]));
  expect(table.applyChanges(6, puts([instance("a", 6, ["n2"])])).instances.size).toBe(0);
  expect(table.applyChanges(6, [gone("/t/default/i/a")]).instances.size).toBe(0);
  expect([...table.placedOn("n1")]).toEqual(["/t/default/i/a"]);
  expect(table.revision).toBe(7);
});

test("separate watches may bring one revision in parts", () => {
  const table = new RecordsTable();
  table.applyChanges(8, puts([node("n1", 8)]));
  table.applyChanges(7, puts([instance("a", 7, [])]));
  table.applyChanges(8, puts([kv("/p/80", 8, port("a"))]));
  expect([table.nodes.size, table.instances.size, table.ports.size, table.revision]).toEqual([1, 1, 1, 8]);
});

test("a namesake is the removal of the old one", () => {
  const table = new RecordsTable();
  table.applyChanges(1, puts([instance("a", 1, ["n1"])]));
  const changes = table.applyChanges(3, puts([instance("a", 3, ["n2"], "u-new")]));
  expect(changes.removedInstances.map((i) => i.record.uid)).toEqual(["u-a"]);
  expect(changes.placesFreed).toBe(true);
  expect([...table.byUid.keys()]).toEqual(["u-new"]);
});

test("a record that cannot be read keeps its last readable form, and is named once", () => {
  const table = new RecordsTable();
  table.applyChanges(1, puts([node("n1", 1)]));
  const broken = { ...node("n1", 2), value: "{" };
  expect(table.applyChanges(2, puts([broken])).unreadable).toEqual(["/n/n1"]);
  expect(table.applyChanges(3, puts([{ ...broken, modRevision: 3 }])).unreadable).toEqual([]);
  expect(table.nodes.get("n1")?.record.name).toBe("n1");
  expect([table.known("/n/n1"), table.known("/n/n2")]).toEqual([true, false]);
  table.applyChanges(4, puts([node("n1", 4, { schedulable: false })]));
  expect(table.unreadable.size).toBe(0);
});

test("other keys are none of its business", () => {
  const table = new RecordsTable();
  const other = ["/t/default/img/sha256:0", "/ev/1", "/nn/n1", "/c/leader"].map((key) => kv(key, 1, {}));
  const changes = table.applyChanges(1, puts(other));
  expect([changes.instances.size, changes.nodes.size, table.unreadable.size]).toEqual([0, 0, 0]);
});

function port(name: string) {
  return { tenant: "default", instance: name, uid: `u-${name}` };
}
