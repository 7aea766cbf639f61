/**
 * Which change of a configuration may be carried out. Replicas alone decide what it is to be (DESIGN.md section 5);
 * here is checked only what can be told from outside: that whoever proposes may do so, and that no change contradicts
 * the one that it replaces. That the version is still the same is for the compare-and-set.
 */
import type { Configuration, Holder } from "../../replica/configuration.ts";

export interface Registered extends Holder {
  node: string;
}

/** Why it is refused, in words; null: it may be made. `now` is what it replaces, null where there is none yet. */
export function refusalOf(
  next: Configuration,
  now: Configuration | null,
  proposer: string,
  registered: readonly Registered[],
): string | null {
  const own = registered.find((replica) => replica.node === proposer);
  if (!own) return `node ${proposer} has no registered replica of this instance`;
  const isRegistered = (holder: Holder) => registered.some((replica) => isSame(replica, holder));
  if (!isRegistered(next.primary))
    return "its primary is not the state process that its node registered last";
  if (!now) return refusalOfFirst(next, own);
  if (!now.inSync.includes(own.disk))
    return `the replica on node ${proposer} is not in sync: only members propose`;
  if (isSame(next.primary, now.primary)) {
    if (!isSame(own, now.primary)) return "it keeps the primary, and does not come from it";
    if (next.epoch !== now.epoch) return `epoch ${next.epoch} without a new primary: it is ${now.epoch}`;
    const stranger = next.inSync.find((disk) => !registered.some((replica) => replica.disk === disk));
    return stranger !== undefined && !now.inSync.includes(stranger)
      ? `disk ${stranger} is not registered`
      : null;
  }
  if (!isSame(own, next.primary) && !isSame(own, now.primary)) {
    return "it changes the primary, and comes neither from the old nor from the new one";
  }
  if (next.epoch <= now.epoch) return `epoch ${next.epoch} of another primary is not above ${now.epoch}`;
  const joining = next.inSync.find((disk) => !now.inSync.includes(disk));
  return joining === undefined
    ? null
    : `disk ${joining} was not in sync: a new primary takes nobody in at once`;
}

/** It holds nothing yet, so there is nothing that another could know better. */
function refusalOfFirst(next: Configuration, own: Registered): string | null {
  if (!isSame(own, next.primary)) return "the first configuration names its proposer as the primary";
  if (next.epoch !== 1) return `the first configuration has epoch 1, not ${next.epoch}`;
  return next.inSync.length === 1 ? null : "in the first configuration only its proposer is in sync";
}

export function isSame(a: Holder, b: Holder): boolean {
  return a.disk === b.disk && a.incarnation === b.incarnation;
}
