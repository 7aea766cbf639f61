/**
 * After the store was recovered its configurations of replicas are of an older generation, and nobody goes by them: they
 * may name members that had left since, and lack what was acknowledged. A primary that still serves knows better: what
 * was acknowledged, it has acknowledged. So the configuration is written anew with it as the only member, under an epoch
 * above all that anybody has told of; the others join it again.
 *
 * Where no primary serves nothing is guessed: `dvs instance recover` lets a person choose.
 */
import type { InstanceView, ReplicaView } from "../../api/views.ts";
import { eventOperation } from "../../control/events.ts";
import { DvsError } from "../../errors.ts";
import type { Store } from "../../store/store.ts";
import type { Log } from "../log.ts";
import { pause } from "../pause.ts";
import { eventStamp, randomId } from "../random.ts";
import { ReplicaStore } from "./replica-store.ts";

const roundMs = 1_000;

export interface RenewConfigurationsOptions {
  store: Store;
  storeGeneration: number;
  views: () => readonly InstanceView[];
  signal: AbortSignal;
  log: Log;
}

/** Looks again and again: primaries report when their nodes have found the coordinator. Resolves with the signal. */
export async function renewConfigurations(options: RenewConfigurationsOptions): Promise<void> {
  const { views, storeGeneration, signal, log } = options;
  while (!signal.aborted) {
    for (const view of views()) {
      const primary = primaryToTrust(view, storeGeneration);
      if (!primary || signal.aborted) continue;
      try {
        await renew(options, view, primary);
      } catch (e) {
        // Something changed meanwhile, or the store does not answer: the next look tells.
        log("warn", `configuration of instance ${view.name} is not renewed yet: ${DvsError.from(e).message}`);
      }
    }
    await pause(roundMs, signal);
  }
}

/** The one replica that serves as the primary, of a configuration that is older than the store; else null. */
export function primaryToTrust({ state }: InstanceView, storeGeneration: number): ReplicaView | null {
  if (!state || state.version === 0 || state.generation >= storeGeneration) return null;
  // `lag` is null where its node has not reported it, or is down.
  const serving = state.replicas.filter(
    (r) => r.role === "primary" && r.serving && r.state === "ready" && r.lag !== null,
  );
  const highest = Math.max(...state.replicas.map((r) => r.epoch));
  const [primary, another] = serving.filter((r) => r.epoch === highest);
  return primary && !another ? primary : null;
}

async function renew(
  { store }: RenewConfigurationsOptions,
  { tenant, name, uid, state }: InstanceView,
  primary: ReplicaView,
): Promise<void> {
  const epoch = Math.max(state!.epoch, ...state!.replicas.map((r) => r.epoch)) + 1;
  const event = eventOperation({
    ...eventStamp(),
    type: "normal",
    subject: `instance/${name}`,
    reason: "Renewed",
    message: `the store was recovered; the state of instance ${name} goes on with its primary on node ${primary.nodeName}`,
  });
  await new ReplicaStore(store).recover(
    { tenant, instance: name, uid },
    { node: primary.node, version: state!.version, epoch, changeId: randomId() },
    [event],
  );
}
