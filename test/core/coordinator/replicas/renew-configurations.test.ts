import { expect, test } from "bun:test";
import type { InstanceView, ReplicaView } from "../../../../core/api/views.ts";
import { primaryToTrust } from "../../../../core/coordinator/replicas/renew-configurations.ts";

const replica = (of: Partial<ReplicaView>): ReplicaView =>
  ({ nodeName: "n", state: "ready", role: "backup", serving: true, epoch: 3, lag: 0, ...of }) as ReplicaView;
const primary = (of: Partial<ReplicaView> = {}) => replica({ role: "primary", ...of });
const view = (replicas: ReplicaView[], of: { generation?: number; version?: number } = {}) =>
  ({
    name: "kv",
    state: { epoch: 2, version: 4, generation: 1, replicas, ...of },
  }) as unknown as InstanceView;

test("of an older configuration the one replica that serves as primary is trusted", () => {
  const one = primary();
  expect(primaryToTrust(view([replica({}), one]), 2)).toBe(one);
});

test("nobody is where the configuration is of this store, or there is none", () => {
  expect(primaryToTrust(view([primary()], { generation: 2 }), 2)).toBeNull();
  expect(primaryToTrust(view([primary()], { version: 0 }), 2)).toBeNull();
  expect(primaryToTrust({ name: "web", state: null } as unknown as InstanceView, 2)).toBeNull();
});

test("nobody is where no primary serves, two do, or somebody has seen a higher epoch than the one that does", () => {
  expect(primaryToTrust(view([replica({}), primary({ serving: false })]), 2)).toBeNull();
  expect(primaryToTrust(view([primary(), primary()]), 2)).toBeNull();
  expect(primaryToTrust(view([primary(), replica({ epoch: 4 })]), 2)).toBeNull();
  // Its node is down: what it told last is no word of now.
  expect(primaryToTrust(view([primary({ lag: null })]), 2)).toBeNull();
  expect(primaryToTrust(view([primary({ state: "lost" })]), 2)).toBeNull();
});
