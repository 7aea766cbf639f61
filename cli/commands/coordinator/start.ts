import { existsSync } from "node:fs";
import type { CoordinatorReady } from "../../../core/coordinator/main.ts";
import { version } from "../../../core/version.ts";
import { outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { contextFile, readContext, writeContext } from "../../context.ts";
import { configArgs, readCoordinatorConfig } from "../../coordinator-config.ts";
import type { Io } from "../../io.ts";
import { writeJsonLine } from "../../output.ts";
import { loadRegistry } from "../../plugins.ts";
import { serviceLog } from "../../service-log.ts";
import type { Words } from "../../words.ts";

export default command({
  args: {
    ...configArgs,
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
    const [options, { runCoordinator }, registry] = await Promise.all([
      readCoordinatorConfig(io, args),
      import("../../../core/coordinator/main.ts"),
      loadRegistry(),
    ]);
    const log = serviceLog(io);
    return runCoordinator({
      options,
      registry,
      version,
      signal: io.signal,
      log,
      onReady: (ready) => {
        announce(ready, { ...args, ha: options.ha }, io, words).catch((e: unknown) =>
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

async function makeJoinToken(ready: CoordinatorReady, kind: "join" | "coordinator"): Promise<string> {
  const { createApi } = await import("../../../core/api/client.ts");
  const api = createApi({ addresses: [ready.apiAddress], token: ready.adminToken, ca: ready.ca });
  try {
    return (await api.tokens.create({ kind, description: "made when the coordinator started" })).token;
  } finally {
    api.close();
  }
}
