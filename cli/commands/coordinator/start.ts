import { existsSync } from "node:fs";
import { networkInterfaces } from "node:os";
import type { CoordinatorReady } from "../../../core/coordinator/main.ts";
import { formatAddress } from "../../../core/transport/address.ts";
import { version } from "../../../core/version.ts";
import { outputArgs } from "../../args.ts";
import { defaultDataDir } from "../../agent-config.ts";
import { command } from "../../command.ts";
import { contextFile, readContext, writeContext } from "../../context.ts";
import { flagsLayer, readFile } from "../../config-flags.ts";
import type { Io } from "../../io.ts";
import { writeJsonLine } from "../../output.ts";
import { loadRegistry } from "../../plugins.ts";
import { serviceLog } from "../../service-log.ts";
import type { Words } from "../../words.ts";

export default command({
  args: {
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
    context: {
      type: "string",
      value: "FILE",
      env: "DVS_CONTEXT",
      description: "Where its address and an administrator's token are written",
    },
    "no-join-token": { type: "boolean", description: "Make no join token and print no join command" },
    ...outputArgs,
  },
  details:
    "Runs in the foreground until SIGTERM or Ctrl-C. Prints the exact command with which machines join. The\n" +
    "administrator's token is in DIR/admin-token; instances go on while no coordinator runs.",
  service: true,
  examples: [
    [
      "dvs coordinator start --data-dir /var/lib/dvs/coordinator --listen 0.0.0.0:7400 --advertise 10.0.0.5",
      "for a LAN",
    ],
    [
      "dvs coordinator start --data-dir ./c1 --store etcd://10.0.0.5:2379,10.0.0.6:2379,10.0.0.7:2379/dvs",
      "one of three, on an etcd that there is",
    ],
    ["dvs coordinator start --ha", "the first of three machines; prints the command for the other two"],
    ["dvs coordinator start --ha --join dvsc1.…", "on each of the other two"],
  ],
  async run({ args, io, words }) {
    const [{ coordinatorKind }, { readConfig }, { runCoordinator }, registry] = await Promise.all([
      import("../../../configs/coordinator.ts"),
      import("../../../configs/kind.ts"),
      import("../../../core/coordinator/main.ts"),
      loadRegistry(),
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
    const log = serviceLog(io);
    return runCoordinator({
      options: rewritten(config),
      registry,
      version,
      signal: io.signal,
      log,
      onReady: (ready) => {
        announce(ready, { ...args, ha: config.ha }, io, words).catch((e: unknown) =>
          log("error", `cannot make a join token: ${String(e)}`),
        );
      },
    });
  },
});

async function announce(
  ready: CoordinatorReady,
  args: { context?: string | undefined; output: "table" | "json"; "no-join-token": boolean; ha: boolean },
  io: Io,
  words: Words,
): Promise<void> {
  const joinToken = args["no-join-token"] ? undefined : await makeJoinToken(ready, "join");
  const coordinatorToken =
    args.ha && !args["no-join-token"] ? await makeJoinToken(ready, "coordinator") : undefined;
  const file = contextFile(io, args.context);
  const context = {
    addresses: [ready.apiAddress, ...ready.addresses.filter((a) => a !== ready.apiAddress)],
    token: ready.adminToken,
    ca: ready.ca,
    clusterId: ready.clusterId,
  };
  // Another cluster's context is somebody's: it is not taken from them.
  const foreign =
    existsSync(file) && readContext(file)?.clusterId !== ready.clusterId && args.context === undefined;
  if (!foreign) await writeContext(file, context);
  const join = joinToken === undefined ? undefined : `dvs node join --token ${joinToken}`;
  const joinHa =
    coordinatorToken === undefined ? undefined : `dvs coordinator start --ha --join ${coordinatorToken}`;
  if (args.output === "json") {
    writeJsonLine(io, {
      clusterId: ready.clusterId,
      apiAddress: ready.apiAddress,
      agentAddress: ready.agentAddress,
      caFingerprint: ready.caFingerprint,
      acting: ready.acting,
      ...(joinToken === undefined ? {} : { joinToken, joinCommand: join }),
      ...(coordinatorToken === undefined ? {} : { coordinatorToken, coordinatorJoinCommand: joinHa }),
      context: foreign ? null : file,
    });
  } else for (const line of [join, joinHa]) if (line !== undefined) io.stdout.write(`${line}\n`);
  const how = ready.acting ? "" : " and stands by: another one acts";
  words.success(`coordinator of cluster ${ready.clusterId} answers on ${ready.apiAddress}${how}`);
  if (foreign)
    words.warn(
      `${file} belongs to another cluster and stays; use --addr ${ready.apiAddress} and the token in admin-token`,
    );
  else words.info(`commands of this user find it by ${file}`);
  if (join !== undefined) words.info("machines become nodes with the first command (valid for a day)");
  if (joinHa !== undefined) {
    const missing = coordinatorsWanted - ready.addresses.length;
    if (missing > 0) {
      words.info(
        `${missing === 1 ? "one more machine makes" : `${missing} more machines make`} it outlive the loss of one: run the second command there (valid for a day; keep it secret)`,
      );
    }
  }
}

/** Of three one may be lost. */
const coordinatorsWanted = 3;

/** Where the others reach this machine: by where it reaches them, else its first address that others see. */
async function haListen(joinToken: string | undefined): Promise<string> {
  const port = 7400;
  if (joinToken !== undefined) {
    const [{ parseJoinToken }, { addressTowards }] = await Promise.all([
      import("../../../core/trust/tokens.ts"),
      import("../../agent-config.ts"),
    ]);
    const { addresses } = parseJoinToken(joinToken, "dvsc");
    const own = await addressTowards(addresses);
    if (own !== undefined) return formatAddress({ host: own, port });
  }
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const seen = all.find((a) => !a.internal && a.family === "IPv4") ?? all.find((a) => a.family === "IPv4");
  return formatAddress({ host: seen?.address ?? "127.0.0.1", port });
}

async function makeJoinToken(ready: CoordinatorReady, kind: "join" | "coordinator"): Promise<string> {
  const { createApi } = await import("../../../core/api/client.ts");
  const api = createApi({ addresses: [ready.apiAddress], token: ready.adminToken, ca: ready.ca });
  try {
    return (await api.tokens.create({ kind, description: "made when the coordinator started" })).token;
  } finally {
    api.close();
  }
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
