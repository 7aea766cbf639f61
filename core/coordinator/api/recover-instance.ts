/**
 * The way past the loss of every replica that had everything: a person names one that is left, and accepts that what it
 * lacks is lost. The configuration is written anew, by compare-and-set, to that replica alone, under an epoch above all
 * that anybody has told of; the others learn from it. Never while a primary serves: then nothing has to be lost.
 */
import type { InstanceView, ReplicaView } from "../../api/views.ts";
import { eventOperation } from "../../control/events.ts";
import { DvsError } from "../../errors.ts";
import { nextEra } from "../../replica/era.ts";
import type { Coordinator } from "../context.ts";
import { eventStamp, randomId } from "../random.ts";
import { ReplicaStore } from "../replicas/replica-store.ts";

/** Rejects with INVALID, NOT_FOUND, CONFLICT (a primary serves, or something changed), FAILED (loss is not accepted). */
export async function recoverInstance(
  { store, controller, driver }: Pick<Coordinator, "store" | "controller" | "driver">,
  view: InstanceView,
  { from, acceptLoss }: { from: string; acceptLoss: boolean },
): Promise<InstanceView> {
  const { tenant, name, uid, state } = view;
  const what = `Cannot recover instance "${name}" from node "${from}"`;
  if (!state) throw new DvsError("INVALID", `${what}: OS ${view.spec.os} keeps no state.`);
  const chosen = state.replicas.find((replica) => replica.nodeName === from);
  if (!chosen) {
    const names = state.replicas.map((replica) => replica.nodeName).sort();
    throw new DvsError(
      "NOT_FOUND",
      `${what}: it has no replica. There are some on: ${names.join(", ") || "no node"}.`,
    );
  }
  const primary = state.replicas.find((replica) => isHealthy(replica, state.epoch));
  if (primary) {
    throw new DvsError(
      "CONFLICT",
      `${what}: its primary on node ${primary.nodeName} serves, so nothing has to be lost. See: dvs instance inspect ${name}`,
    );
  }
  if (chosen.state !== "ready") {
    throw new DvsError("CONFLICT", `${what}: its replica there is ${chosen.state}. Start that node first.`);
  }
  const known = state.replicas.map(wordsOf).join("; ");
  if (!acceptLoss) {
    throw new DvsError(
      "FAILED",
      `${what}: what it lacks would be lost. Known of its replicas: ${known}. ` +
        `If one in sync can be started again, start it. Otherwise give --accept-loss.`,
    );
  }
  // So that no revision of what is lost is given out again.
  const epoch = nextEra(Math.max(state.epoch, ...state.replicas.map((replica) => replica.epoch)));
  const event = eventOperation({
    ...eventStamp(),
    type: "warning",
    subject: `instance/${name}`,
    reason: "Recovered",
    message: `its state goes on from node ${from}, what others had beyond is lost (${known})`,
  });
  const { revision } = await new ReplicaStore(store).recover(
    { tenant, instance: name, uid },
    { node: chosen.node, version: state.version, epoch, changeId: randomId() },
    [event],
  );
  await driver.seen(revision);
  return controller.instanceView(tenant, name) ?? view;
}

/** As far as its node's last report tells: one that is cut off is down by now, and counts as nothing. */
function isHealthy({ role, serving, state, inSync, epoch }: ReplicaView, epochNow: number): boolean {
  return role === "primary" && serving && state === "ready" && inSync && epoch === epochNow;
}

/** The last index known of it. */
function wordsOf({ nodeName, state, inSync, epoch, index, lag }: ReplicaView): string {
  const sync = inSync ? ", in sync" : "";
  if (lag === null) return `${nodeName} ${state}${sync}, its last record is not known`;
  // A node tells it now and then: one that is lost may have had more.
  const known = state === "lost" ? "at least " : "";
  return `${nodeName} ${state}${sync}, last record ${known}${index} of epoch ${epoch}`;
}
