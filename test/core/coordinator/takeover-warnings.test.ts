import { expect, test } from "bun:test";
import type { InstanceView, NodeView, ReplicaView } from "../../../core/api/views.ts";
import { takeoverWarnings } from "../../../core/coordinator/api/takeover-warnings.ts";

const node = (id: string) => ({ id, name: id, address: `10.0.0.${id.slice(1)}` }) as NodeView;
const nodes = ["n1", "n2", "n3"].map(node);

function instance(name: string, replicas: number, on: string[]): InstanceView {
  const state = { policy: { replicas }, replicas: on.map((n) => ({ node: n }) as ReplicaView) };
  return { name, state } as InstanceView;
}

const warnings = (hosts: string[], ...instances: InstanceView[]) =>
  takeoverWarnings({ coordinatorHosts: hosts, instances, nodes });

test("the only coordinator on the machine of a replica is warned of, once for its node", () => {
  const [warning, ...more] = warnings(["10.0.0.1"], instance("kv", 3, ["n1", "n2", "n3"]));
  expect(more).toEqual([]);
  expect(warning).toContain("the machine of node n1 also runs the only coordinator");
  expect(warning).toContain("the state of instance kv pauses");
});

test("nothing is to be warned of with coordinators elsewhere, or where nobody could take over", () => {
  expect(warnings(["10.0.0.9"], instance("kv", 3, ["n1", "n2", "n3"]))).toEqual([]);
  expect(warnings(["10.0.0.1", "10.0.0.2", "10.0.0.3"], instance("kv", 3, ["n1"]))).toEqual([]);
  expect(warnings(["10.0.0.1"], instance("kv", 1, ["n1"]), instance("kv2", 3, ["n2", "n3"]))).toEqual([]);
});
