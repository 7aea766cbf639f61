/**
 * The OS state of an instance as people see it: the configuration of its replicas joined with what living nodes report,
 * and what is wrong with it in plain words, with advice. Pure machine.
 */
import type { ReplicaView, StateView } from "../api/views.ts";
import type { Condition, InstanceRecord } from "../records.ts";
import type { ClusterPicture } from "./cluster-picture.ts";
import { replicaRequest } from "./life-cycle.ts";
import type { PlacementNode } from "./placement.ts";
import { placeReplicas, replicasMissing } from "./replica-placement.ts";
import { count } from "./unschedulable.ts";

/** Null for an instance without OS state. */
export function viewState(picture: ClusterPicture, record: InstanceRecord): StateView | null {
  const { uid, spec, replicas: wanted } = record;
  const policy = spec.state;
  if (!policy) return null;
  const held = picture.records.states.get(uid);
  const configuration = held?.configuration?.record.configuration ?? null;
  const registered = [...(held?.replicas.values() ?? [])].map((replica) => replica.record);
  const inSync = picture.inSync(uid);
  const reported = [...picture.reports.replicasOf(uid).keys()].filter((node) => picture.alive(node));
  const nodes = new Set([...wanted, ...inSync, ...reported]);
  // Also of nodes that are down: what they had is what might be lost.
  const indices = [...nodes].map((node) => picture.reports.replica(uid, node)?.status?.index ?? 0);
  const last = Math.max(0, ...indices);
  const replicas = [...nodes].map((node): ReplicaView => {
    const report = picture.reports.replica(uid, node);
    const status = report?.status ?? null;
    const alive = picture.alive(node);
    return {
      node,
      nodeName: picture.nodeName(node),
      wanted: wanted.includes(node),
      inSync: inSync.has(node),
      state: alive ? (report?.state ?? "waiting") : "lost",
      reason: alive ? (report?.reason ?? "") : `node ${picture.nodeName(node)} is down`,
      role: status?.role ?? "nobody",
      serving: alive && (status?.serving ?? false),
      epoch: status?.epoch ?? 0,
      index: status?.index ?? 0,
      committed: status?.committed ?? 0,
      lag: status ? Math.max(0, last - status.index) : null,
      durability: status?.durability ?? policy.durability,
      diskBytes: status?.diskBytes ?? 0,
      problem: alive ? (status?.problem ?? "") : "",
      pid: alive ? (report?.pid ?? 0) : 0,
      restarts: report?.restarts ?? 0,
    };
  });
  const holder = registered.find((replica) => replica.disk === configuration?.primary.disk);
  return {
    policy,
    epoch: configuration?.epoch ?? 0,
    version: held?.configuration?.record.version ?? 0,
    generation: configuration?.generation ?? picture.storeGeneration,
    primary: holder ? { node: holder.node, nodeName: picture.nodeName(holder.node) } : null,
    inSync: replicas.filter((replica) => replica.inSync).length,
    replicas,
  };
}

/** What keeps the state of a running instance from being as it was asked for; the gravest first. */
export function stateConditions(
  picture: ClusterPicture,
  record: InstanceRecord,
  nodes: ReadonlyMap<string, PlacementNode>,
): Condition[] {
  const view = viewState(picture, record);
  if (!view || !picture.settled) return [];
  const conditions: Condition[] = [];
  const say = (message: string) => conditions.push({ reason: "state", message });
  if (view.version > 0 && view.generation !== picture.storeGeneration) {
    const chosen = view.replicas.find((replica) => replica.state === "ready");
    say(
      `nobody changes who keeps its state: the store was restored or copied since the replicas last agreed, so they may ` +
        `know better. A primary that serves is written down anew soon; where there is none, and no other coordinator runs ` +
        `on the store as it was: dvs instance recover ${record.name} --from ${chosen?.nodeName ?? "NODE"}`,
    );
  } else if (view.version > 0) {
    const trouble = primaryTrouble(record.name, view);
    if (trouble) say(trouble);
    else sayInSync(view, say);
  } else if (record.replicas.length > 0 && record.phase === "established") {
    say(`its state has not begun: waits for the replica on node ${picture.nodeName(record.replicas[0]!)}`);
  }
  // The same of several replicas is said once.
  for (const [problem, names] of problemsOf(view.replicas))
    say(`replica on node ${names.join(", ")}${problem}`);
  // Without a place for its containers it has none for replicas either, and that has been said.
  if (record.placement.length === 0) return conditions;
  const request = replicaRequest(picture, record);
  const missing = replicasMissing(request, placeReplicas(request, nodes).missing);
  return missing ? [...conditions, missing] : conditions;
}

/** Why nobody serves writes; null while somebody does. */
function primaryTrouble(name: string, view: StateView): string | null {
  const members = view.replicas.filter((replica) => replica.inSync);
  if (members.some((replica) => replica.serving && replica.role === "primary")) return null;
  const alive = members.filter((replica) => replica.state === "ready");
  const gone = members.filter((replica) => replica.state !== "ready");
  const able = alive.filter((replica) => replica.role !== "amnesiac");
  // Amnesiacs go by the longest log once all have reported, unless a disk has damaged it: then they say what they lack.
  const next = able.length > 0 ? able : gone.length > 0 || alive.every(isTroubled) ? [] : alive;
  if (next.length > 0) {
    const isThere = alive.some((replica) => replica.node === view.primary?.node);
    const primary = view.primary?.nodeName ?? "a node that is gone";
    const who = `${next.length > 1 ? "one of " : ""}${namesOf(next)}`;
    return isThere
      ? `nobody serves its state for now: ${who} begins to`
      : `nobody serves its state for now: the primary on ${primary} is not there, ${who} takes over`;
  }
  const others = view.replicas.filter((replica) => !replica.inSync && replica.state === "ready");
  const chosen = furthest([alive, others].find((of) => of.length > 0) ?? []);
  const recover = `dvs instance recover ${name} --from ${chosen?.nodeName} --accept-loss`;
  const way = chosen ? `; or lose what only they have: ${recover}` : "";
  const [has, wait] = alive.length === 1 ? ["has", "waits"] : ["have", "wait"];
  if (alive.length > 0 && gone.length === 0)
    return (
      `nobody serves its state: ${namesOf(alive)} ${has} lost records that were acknowledged, and nobody else has them. ` +
      `Go on without: ${recover}`
    );
  if (alive.length > 0)
    return (
      `nobody serves its state: ${namesOf(alive)} ${has} lost records in a power cut or by a damaged disk, and ` +
      `${wait} for ${namesOf(gone)} to learn them. Start ${gone.length === 1 ? "it" : "them"} again${way}`
    );
  const who = gone.length > 0 ? namesOf(gone) : "a node that was removed";
  const [theirs, start] = gone.length === 1 ? ["has", "it"] : ["have", "one of them"];
  return `nobody serves its state: only ${who} ${theirs} all that was acknowledged. Start ${start} again${way}`;
}

const isTroubled = ({ problem }: ReplicaView) => problem !== "";

function namesOf(replicas: readonly ReplicaView[]): string {
  return replicas
    .map((replica) => replica.nodeName)
    .sort()
    .join(", ");
}

/** Whose last record is of the highest epoch and index; the first in their order. */
function furthest(replicas: readonly ReplicaView[]): ReplicaView | undefined {
  return replicas.toSorted((a, b) => b.epoch - a.epoch || b.index - a.index)[0];
}

function sayInSync({ policy, inSync, replicas }: StateView, say: (message: string) => void): void {
  const wanted = replicas.filter((replica) => replica.wanted).length;
  if (inSync >= wanted && inSync >= policy.minInSync) return;
  const waits = replicas
    .filter((replica) => replica.wanted && !replica.inSync)
    .map(({ nodeName, state, role }) => {
      if (state === "lost") return `${nodeName} (its node is down)`;
      if (state !== "ready") return `${nodeName} (${state})`;
      return `${nodeName} (${role === "amnesiac" ? "learns anew" : "learns"})`;
    });
  const of = `${inSync} of ${count(policy.replicas, "replica")} ${inSync === 1 ? "is" : "are"} in sync`;
  const why = waits.length > 0 ? `; waits for ${waits.join(", ")}` : "";
  if (inSync < policy.minInSync) {
    say(
      `writes fail, reads go on: ${of}, and at least ${policy.minInSync} ${policy.minInSync === 1 ? "is" : "are"} asked for${why}`,
    );
  } else {
    say(`${of}${why}`);
  }
}

function problemsOf(replicas: readonly ReplicaView[]): Map<string, string[]> {
  const problems = new Map<string, string[]>();
  for (const { nodeName, problem, state, reason, wanted } of replicas) {
    const fails = wanted && (state === "failed" || state === "backoff");
    const words = fails ? ` is ${state}: ${reason}` : problem === "" ? "" : `: ${problem}`;
    if (words !== "") problems.set(words, [...(problems.get(words) ?? []), nodeName]);
  }
  return problems;
}
