/**
 * What a healed cluster must come to: everything as asked for, or a reason why not, and nothing left over. Judged by
 * the store and the machines; an independent, simpler reckoning than the controllers' own.
 */
import { InstanceRecord, keys, NodeRecord } from "../../../core/records.ts";
import type { ControlWorld } from "./control-world.ts";

/** Null when all is as it should be, else the first thing that is not. */
export function unconverged(world: ControlWorld): string | null {
  const leaders = world.coordinators.filter((coordinator) => coordinator.term?.loaded);
  if (leaders.length !== 1) return `${leaders.length} leaders`;
  const { controller } = leaders[0]!.term!;
  const nodes = world.store.range(keys.nodes).map((kv) => NodeRecord.parse(JSON.parse(kv.value)));
  const instances = world.store
    .range(keys.instances("default"))
    .map((kv) => InstanceRecord.parse(JSON.parse(kv.value)));
  const burnt = (id: string) => world.machines.get(id)?.burnt ?? false;
  const good = nodes.filter((node) => node.schedulable && !node.leaving && !burnt(node.id));

  const expected = new Map<string, Set<string>>(nodes.map((node) => [node.id, new Set()]));
  const expectedPorts = new Map<number, string>();
  for (const record of instances) {
    const problem = unsettled(record, good, nodes);
    const view = controller.instanceView("default", record.name);
    if (view?.uid !== record.uid) return `${record.name} has no view`;
    if (problem && view.conditions.length === 0 && view.phase !== "running")
      return `${record.name}: ${problem}, and no word why`;
    if (problem === "removed") return `${record.name} is still being removed`;
    if (problem) return `${record.name}: ${problem}`;
    const ofState = stateProblem(world, record, good);
    if (ofState) return `${record.name}: ${ofState}`;
    if (record.desired !== "running" || record.placement.length === 0) continue;
    for (const id of record.placement) expected.get(id)?.add(record.uid);
    for (const { port } of record.spec.publish) expectedPorts.set(port, record.uid);
  }

  for (const machine of world.machines.values()) {
    if (machine.burnt) continue;
    const wanted = expected.get(machine.id);
    if (!wanted) {
      if (!machine.dismissed) return `${machine.id} was not told that it is no longer wanted`;
      if (machine.containers.size > 0) return `${machine.id} has left and still runs containers`;
      continue;
    }
    if (machine.dismissed) return `${machine.id} was dismissed, but is wanted`;
    for (const [uid, replica] of machine.replicas) {
      const record = instances.find((instance) => instance.uid === uid);
      const named = record?.replicas.includes(machine.id) || world.replicas.inSync(uid).has(machine.id);
      if (!named) return `data of ${uid} is left on ${machine.id}`;
      if (record?.desired === "stopped" && replica.incarnation)
        return `state of ${uid} runs on ${machine.id}`;
    }
    const running = [...machine.containers.values()];
    for (const { spec } of running) if (!wanted.has(spec.uid)) return `orphan ${spec.uid} on ${machine.id}`;
    for (const uid of wanted) {
      if (machine.containers.get(uid)?.state !== "ready" && !mayFail(uid, instances, machine.id)) {
        return `${uid} is not ready on ${machine.id}`;
      }
    }
    const open = [...machine.openPorts]
      .map(([port, uid]) => `${port}=${uid}`)
      .sort()
      .join(" ");
    const want = [...expectedPorts]
      .map(([port, uid]) => `${port}=${uid}`)
      .sort()
      .join(" ");
    if (open !== want) return `${machine.id} has ports ${open} open, expected ${want}`;
    for (const route of machine.routes) {
      const upstreams = route.upstreams
        .filter((u) => !burnt(u.node))
        .map((u) => `${u.node}/${u.incarnation}`)
        .sort()
        .join(" ");
      const alive = aliveContainers(world, route.uid).sort().join(" ");
      if (upstreams !== alive)
        return `${machine.id} leads port ${route.port} to ${upstreams}, alive are ${alive}`;
    }
  }
  const leaving = nodes.find((node) => node.leaving && !isLastResort(node, instances));
  return leaving ? `${leaving.id} has not left` : null;
}

function unsettled(record: InstanceRecord, good: NodeRecord[], nodes: NodeRecord[]): string | null {
  if (record.desired === "removed") return "removed";
  if (record.desired === "stopped") return null;
  const matching = good.filter((n) => Object.entries(record.spec.on).every(([k, v]) => n.labels[k] === v));
  const places = record.placement.filter((id) => good.some((node) => node.id === id));
  const unbounded = matching.filter((node) => node.containersMax === 0);
  // Enough nodes whatever their room: then it must be complete. Too few: it waits, or makes do.
  if (unbounded.length >= record.spec.nodes && places.length < record.spec.nodes) {
    return `placed on ${record.placement.join(" ")} of ${nodes.length} nodes, asks for ${record.spec.nodes}`;
  }
  const poisoned = (record.spec.options["poison"] as string[] | undefined) ?? [];
  if (places.length >= record.spec.nodes) {
    if (record.phase !== "established") return "not established";
    const spare = record.placement.length - record.spec.nodes;
    if (spare > 0 && !places.some((id) => poisoned.includes(id))) return "placed on too many nodes";
  }
  return null;
}

/** What an established instance's replicas lack; null also where all that were in sync are lost, or were given up. */
function stateProblem(world: ControlWorld, record: InstanceRecord, good: NodeRecord[]): string | null {
  const { uid, spec, desired, phase, replicas } = record;
  if (!spec.state || desired !== "running" || phase !== "established") return null;
  const holders = [...world.replicas.inSync(uid)];
  const lost = (id: string) => world.machines.get(id)?.burnt !== false || world.machines.get(id)!.dismissed;
  if (holders.every(lost)) {
    world.sim.count("replica:all in sync are lost");
    return null;
  }
  const places = record.placement.filter((id) => good.some((node) => node.id === id));
  if (places.length === 0) return null;
  const wanted = Math.min(spec.state.replicas, places.length);
  const placed = replicas.filter((id) => places.includes(id));
  if (placed.length < wanted)
    return `replicas on ${replicas.join(" ")}, asks for ${wanted} of ${places.join(" ")}`;
  const lacking = placed.find((id) => !holders.includes(id));
  if (lacking) return `its replica on ${lacking} is not in sync`;
  const spare = replicas.filter((id) => !places.includes(id) && !world.machines.get(id)?.burnt);
  return spare.length > 0 ? `a replica is left on ${spare.join(" ")}` : null;
}

/** After its establishment, a node where it cannot start may have taken over: degraded, and said so. */
function mayFail(uid: string, instances: InstanceRecord[], node: string): boolean {
  const record = instances.find((instance) => instance.uid === uid);
  return ((record?.spec.options["poison"] as string[] | undefined) ?? []).includes(node);
}

/** It holds the only container of an instance that serves and has nowhere else to go. */
function isLastResort(node: NodeRecord, instances: InstanceRecord[]): boolean {
  return instances.some(
    ({ desired, placement, replicas }) =>
      (desired === "running" && placement.includes(node.id)) ||
      // Its data moves when it runs again, or when somebody else is there to copy it to.
      (desired !== "removed" && replicas.includes(node.id)),
  );
}

function aliveContainers(world: ControlWorld, uid: string): string[] {
  return [...world.machines.values()].flatMap((machine) => {
    const process = machine.containers.get(uid);
    return process?.state === "ready" ? [`${machine.id}/${process.incarnation}`] : [];
  });
}
