/** Where a coordinator listens and under which name others reach it, from its options and what it chose before. */
import { isIP } from "node:net";
import { DvsError } from "../errors.ts";
import type { CoordinatorIdentity } from "./bootstrap.ts";
import { freePortPair } from "./ha/free-port-pair.ts";
import { listenHostOf, type HaOptions } from "./ha/ha-store.ts";
import type { Log } from "./log.ts";
import { isWildcard, type CoordinatorOptions } from "./options.ts";
import type { Listen } from "./servers.ts";

export interface Place {
  /** Under which others reach it. */
  host: string;
  api: Listen;
  agents: Listen;
}

type Parsed = ReturnType<typeof CoordinatorOptions.parse>;

/** Ports that it has chosen once stay, so that agents find it again. Throws INVALID. */
export function placeOf(options: Parsed, identity: CoordinatorIdentity, log: Log): Place {
  const { listen, agentListen } = options;
  if (isWildcard(listen.host) && options.advertise === undefined) {
    log(
      "warn",
      `${listen.host} says nothing about how other machines reach this coordinator, so they are told 127.0.0.1: give --advertise`,
    );
  }
  const host = options.advertise ?? (isWildcard(listen.host) ? "127.0.0.1" : listen.host);
  if (agentListen === undefined && listen.port === 65_535) {
    throw new DvsError(
      "INVALID",
      "Cannot listen: there is no port after 65535 for agents. Give --agent-listen.",
    );
  }
  const agents = agentListen ?? { host: listen.host, port: listen.port === 0 ? 0 : listen.port + 1 };
  return {
    host,
    api: { host: listen.host, port: listen.port || identity.apiPort },
    agents: { host: agents.host, port: agents.port || identity.agentPort },
  };
}

/** Throws INVALID for what does not go with --ha. */
export async function haOptionsOf({
  options,
  identity,
  place,
  signal,
  log,
}: {
  options: Parsed;
  identity: CoordinatorIdentity;
  place: Place;
  signal: AbortSignal;
  log: Log;
}): Promise<HaOptions> {
  const { dataDir, listen, advertise, haPort, join, store } = options;
  if (store !== undefined) {
    throw new DvsError("INVALID", "Cannot start: --ha runs a store of its own, and --store names another.");
  }
  if (isWildcard(listen.host) && advertise === undefined) {
    throw new DvsError(
      "INVALID",
      `Cannot start with --ha on ${listen.host}: give --advertise HOST, under which the other coordinators reach this machine.`,
    );
  }
  return {
    dataDir,
    id: identity.id,
    host: place.host,
    listenHost: listenHostOf(place.api.host),
    port:
      haPort ??
      (listen.port === 0 ? await freePortPair(isIP(listen.host) ? listen.host : "0.0.0.0") : listen.port + 2),
    ...(join === undefined ? {} : { token: join }),
    signal,
    log,
  };
}
