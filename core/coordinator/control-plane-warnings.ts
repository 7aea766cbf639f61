/**
 * Whether the loss of one machine could stop takeovers, in plain words with advice: instances go on without a
 * coordinator as long as nothing of theirs dies, so this is told before it happens.
 */
import type { StoreStatus } from "../store/store.ts";
import { parseAddress } from "../transport/address.ts";
import type { Member } from "./members.ts";
import type { PeerView } from "./peer-watch.ts";

/** Of so many machines one may be lost, and a majority is left. */
const machinesWanted = 3;
const more = "dvs coordinator start --ha --join, with a token by dvs token create --coordinator";

export interface ControlPlanePicture {
  store: Pick<StoreStatus, "driver" | "members">;
  own: Member;
  others: readonly PeerView[];
  nodes: readonly { name: string; address: string; containers: number }[];
}

export function controlPlaneWarnings(picture: ControlPlanePicture): string[] {
  return picture.store.driver === "etcd" ? onEtcd(picture) : alone(picture);
}

function alone({ own, nodes }: ControlPlanePicture): string[] {
  const here = hostOf(own);
  const beside = nodes.filter((n) => n.address === here && n.containers > 0);
  if (beside.length === 0) {
    return [
      "one coordinator with a SQLite store: while its machine is down instances serve, but nothing can be changed, and " +
        "what dies meanwhile is not replaced. Three machines with dvs coordinator start --ha outlive the loss of one",
    ];
  }
  return [
    `the only coordinator is on the machine of node ${names(beside)}, which runs containers too: if that machine is lost, ` +
      "nobody replaces them, and no replica takes over an instance's state. Put the coordinator on a machine of its own, or run three: dvs coordinator start --ha",
  ];
}

function onEtcd({ store, own, others }: ControlPlanePicture): string[] {
  const warnings: string[] = [];
  for (const { member, state, health } of others) {
    if (state === "down") {
      warnings.push(
        `coordinator ${member.id} (${member.api}) does not answer. Start it again; if its machine is gone for good: ` +
          `dvs coordinator rm ${member.id}`,
      );
    } else if (health && health.imagesLacking > 0) {
      const what = health.imagesLacking === 1 ? "an image" : `${health.imagesLacking} images`;
      warnings.push(`coordinator ${member.id} (${member.api}) is still fetching ${what}`);
    }
  }
  const living = [own, ...others.filter((o) => o.state !== "down").map((o) => o.member)];
  if (living.length === 1) {
    const advice = own.etcd ? more : "dvs coordinator start with the same --store, on another machine";
    warnings.push(
      `only this coordinator runs: if its machine is lost nobody takes over. Start more: ${advice}`,
    );
  } else if (new Set(living.map(machineOf)).size === 1) {
    warnings.push(
      `all ${living.length} coordinators are on one machine: if it is lost nobody takes over. Start them on several`,
    );
  }
  return [...warnings, ...ofStore(store.members ?? null, own)];
}

function ofStore(members: StoreStatus["members"] | null, own: Member): string[] {
  if (!members) return [];
  const { voters, silent } = members;
  const majority = Math.floor(voters / 2) + 1;
  if (voters < machinesWanted) {
    const advice = own.etcd ? more : "add members to that etcd";
    const have = voters === 1 ? "one member: if its machine" : `${voters} members: if the machine of one`;
    return [
      `the store has ${have} is lost nothing can be changed or taken over. Make it ${machinesWanted}: ${advice}`,
    ];
  }
  if (silent.length === 0 || voters - silent.length - 1 >= majority) return [];
  const which = silent.map((e) => e.replace(/^https?:\/\//, "")).join(", ");
  return [
    `${silent.length} of ${voters} members of the store do not answer (${which}): with one more lost nothing can be ` +
      "changed or taken over. Start them again, or replace their machines (dvs coordinator rm, then start --ha --join)",
  ];
}

/** Addresses of one machine's loopback stand for machines of their own: so clusters are tried out. */
function machineOf(member: Member): string {
  const host = hostOf(member);
  return member.machine === undefined || host.startsWith("127.") ? host : member.machine;
}

function hostOf({ api }: Member): string {
  return parseAddress(api).host;
}

function names(nodes: readonly { name: string }[]): string {
  return nodes.map((n) => n.name).join(", ");
}
