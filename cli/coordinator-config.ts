/** The configuration of this machine's coordinator, from flags, environment, file and what the machine itself says. */
import { networkInterfaces } from "node:os";
import { formatAddress } from "../core/transport/address.ts";
import { addressTowards, defaultDataDir } from "./agent-config.ts";
import type { ArgDefs, ArgsOf } from "./args.ts";
import { flagsLayer, readFile } from "./config-flags.ts";
import type { Io } from "./io.ts";

export const configArgs = {
  "data-dir": {
    type: "string",
    value: "DIR",
    description:
      "Directory of its store, blobs and identity (default /var/lib/dvs/coordinator for root, else ~/.dvs/coordinator)",
  },
  listen: {
    type: "string",
    value: "HOST:PORT",
    description: "Where people and the CLI reach it (default 127.0.0.1:7400); agents at the port after it",
  },
  "agent-listen": { type: "string", value: "HOST:PORT", description: "Where agents reach it" },
  advertise: {
    type: "string",
    value: "HOST",
    description: "Under which host name or address nodes reach it",
  },
  store: {
    type: "string",
    value: "URL",
    description:
      "sqlite:/path/store.db, or etcd://host:2379,host:2379/prefix (default sqlite in the data directory)",
  },
  "store-ca": {
    type: "string",
    value: "FILE",
    description: "Authority (PEM) of an etcd over TLS, with a store that begins with etcds://",
  },
  "store-cert": { type: "string", value: "FILE", description: "Certificate (PEM) to show to it" },
  "store-key": { type: "string", value: "FILE", description: "Private key (PEM) of that certificate" },
  "store-user": {
    type: "string",
    value: "NAME",
    description: "User of an etcd that demands one; the password comes by DVS_COORDINATOR_STORE_PASSWORD",
  },
  ha: {
    type: "boolean",
    description:
      "Run a part of the store on this machine (needs etcd): of three coordinators with it one may be lost",
  },
  join: {
    type: "string",
    value: "TOKEN",
    description:
      "With --ha: join coordinators that there are. DVS_COORDINATOR_JOIN keeps it out of the process list",
  },
  "ha-port": {
    type: "number",
    min: 1,
    max: 65_534,
    description: "With --ha: port of the store, and the next one (default the port of --listen + 2)",
  },
  file: { type: "string", value: "FILE", description: "Configuration file; flags beat it" },
} as const satisfies ArgDefs;

/** As `runCoordinator` takes it. Throws INVALID with every mistake. */
export async function readCoordinatorConfig(io: Io, args: ArgsOf<typeof configArgs>) {
  const [{ coordinatorKind }, { readConfig }] = await Promise.all([
    import("../configs/coordinator.ts"),
    import("../configs/kind.ts"),
  ]);
  const { kind: _, ...config } = await readConfig(coordinatorKind, {
    defaults: {
      value: {
        dataDir: defaultDataDir(io, "coordinator"),
        ...(args.ha ? { listen: await haListen(args.join ?? io.env["DVS_COORDINATOR_JOIN"]) } : {}),
      },
      name: (path) => path.map(String).join("."),
    },
    file: await readFile(io, args.file),
    env: io.env,
    flags: flagsLayer({
      dataDir: ["--data-dir", args["data-dir"]],
      listen: ["--listen", args.listen],
      agentListen: ["--agent-listen", args["agent-listen"]],
      advertise: ["--advertise", args.advertise],
      store: ["--store", args.store],
      ha: ["--ha", args.ha ? true : undefined],
      join: ["--join", args.join],
      haPort: ["--ha-port", args["ha-port"]],
      storeCa: ["--store-ca", args["store-ca"]],
      storeCert: ["--store-cert", args["store-cert"]],
      storeKey: ["--store-key", args["store-key"]],
      storeUser: ["--store-user", args["store-user"]],
    }),
  });
  return rewritten(config);
}

/** Where the others reach this machine: by where it reaches them, else its first address that others see. */
async function haListen(joinToken: string | undefined): Promise<string> {
  const port = 7400;
  if (joinToken !== undefined) {
    const { parseJoinToken } = await import("../core/trust/tokens.ts");
    const { addresses } = parseJoinToken(joinToken, "dvsc");
    const own = await addressTowards(addresses);
    if (own !== undefined) return formatAddress({ host: own, port });
  }
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const seen = all.find((a) => !a.internal && a.family === "IPv4") ?? all.find((a) => a.family === "IPv4");
  return formatAddress({ host: seen?.address ?? "127.0.0.1", port });
}

/** As the coordinator takes it: addresses are text there. */
function rewritten<
  T extends {
    listen: { host: string; port: number };
    agentListen?: { host: string; port: number } | undefined;
  },
>(config: T) {
  const text = ({ host, port }: { host: string; port: number }) =>
    `${host.includes(":") ? `[${host}]` : host}:${port}`;
  return {
    ...config,
    listen: text(config.listen),
    agentListen: config.agentListen === undefined ? undefined : text(config.agentListen),
  };
}
