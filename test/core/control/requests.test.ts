import { expect, test } from "bun:test";
import {
  createConflict,
  createTxn,
  leaveTxn,
  removeNodeTxn,
  setDesiredTxn,
} from "../../../core/control/requests.ts";
import { publishedPortsMax, txnOperationsMax } from "../../../core/limits.ts";
import { InstanceRecord, InstanceSpec, keys, NodeRecord } from "../../../core/records.ts";
import type { KeyValue, Txn, TxnResult } from "../../../core/store/store.ts";

const stamp = { id: "e1", wallMs: 0 };
const image = `sha256:${"0".repeat(64)}`;

function web(ports: number[] = [], spec: Partial<InstanceSpec> = {}, change = {}): InstanceRecord {
  return InstanceRecord.parse({
    tenant: "default",
    name: "web",
    uid: "u1",
    spec: { os: "web", nodes: 1, publish: ports.map((port) => ({ port })), ...spec },
    generation: 1,
    desired: "running",
    phase: "creating",
    placement: [],
    createdAt: "",
    ...change,
  });
}

const node = NodeRecord.parse({
  id: "n1",
  name: "one",
  address: "a",
  labels: {},
  schedulable: true,
  joinedAt: "",
});

/** The answer of a store whose else branch found these. */
function refused(txn: Txn, found: Record<string, unknown>): TxnResult {
  const results = (txn.else ?? []).map(({ key }): KeyValue | null => {
    if (!(key in found)) return null;
    const value = JSON.stringify(found[key]);
    return { key, value, createRevision: 1, modRevision: 1, version: 1, lease: null };
  });
  return { succeeded: false, revision: 1, results };
}

const owner = { tenant: "default", instance: "shop", uid: "u2" };

test("a creation claims its name and each of its ports, or nothing", () => {
  const txn = createTxn(web([80, 81]), stamp);
  const claimed = [keys.instance("default", "web"), keys.port(80), keys.port(81)];
  expect(txn.if).toEqual(claimed.map((key) => ({ key, target: "create", op: "=", value: 0 })));
  expect(txn.then.map((operation) => operation.key).slice(0, 3)).toEqual(claimed);
});

test("a creation with the most ports fits into one transaction of any store, and a removal too", () => {
  const ports = Array.from({ length: publishedPortsMax }, (_, i) => 1_000 + i);
  const txn = createTxn(web(ports, { image }), stamp);
  expect(txn.if.length + txn.then.length).toBeLessThanOrEqual(txnOperationsMax);
  expect(txn.if.length + (txn.else?.length ?? 0)).toBeLessThanOrEqual(txnOperationsMax);
  const more = [...ports, 5_000].map((port) => ({ port }));
  expect(InstanceSpec.safeParse({ os: "web", nodes: 1, publish: more }).success).toBe(false);
});

test("an instance that publishes a port twice is refused", () => {
  const publish = [{ port: 80 }, { port: 80 }];
  const { error } = InstanceSpec.safeParse({ os: "web", nodes: 1, publish });
  expect(error?.issues[0]).toMatchObject({ path: ["publish"], message: "names a port twice" });
});

test("a conflict says whether the name, a port or the image was in the way", () => {
  const record = web([80, 81], { image });
  const txn = createTxn(record, stamp);
  const message = (found: Record<string, unknown>) => createConflict(record, refused(txn, found))?.message;
  const name = keys.instance("default", "web");
  const has = { [keys.image("default", image)]: {} };
  expect(message({ [name]: web([], {}, { uid: "u9" }) })).toBe(
    `Cannot create instance "web": the name exists already. Choose another name.`,
  );
  expect(message({ [name]: web([], {}, { uid: "u9", desired: "removed" }) })).toContain("is being removed");
  expect(message({ [keys.port(81)]: owner, ...has })).toBe(
    `Cannot publish port 81 of instance "web": instance "shop" has it already. Choose another --publish.`,
  );
  expect(message({ [keys.port(80)]: { ...owner, tenant: "other" } })).not.toContain("shop");
  expect(message({})).toContain(`image ${image} does not exist`);
  expect(message(has)).toContain("Try again");
});

test("a creation that finds itself has succeeded before", () => {
  const record = web([80]);
  const txn = createTxn(record, stamp);
  expect(createConflict(record, refused(txn, { [keys.instance("default", "web")]: record }))).toBeNull();
});

test("what is being removed can be removed again, but not started or stopped", () => {
  const record = web([], {}, { desired: "removed" });
  expect(() => setDesiredTxn(record, 1, "running", stamp)).toThrow("it is being removed");
  expect(() => setDesiredTxn(record, 1, "stopped", stamp)).toThrow("it is being removed");
  expect(setDesiredTxn(record, 1, "removed", stamp).if[0]).toMatchObject({ target: "mod", value: 1 });
});

test("a node goes together with its name, and who leaves gets nothing new", () => {
  const gone = removeNodeTxn(node, 7, stamp).then.filter((operation) => operation.type === "delete");
  expect(gone.map((operation) => operation.key)).toEqual([keys.node("n1"), keys.nodeName("one")]);
  const left = leaveTxn(node, 7, stamp).then[0] as { value: string };
  expect(JSON.parse(left.value)).toMatchObject({ leaving: true, schedulable: false });
});
