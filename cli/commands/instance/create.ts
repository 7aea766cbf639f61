import { randomBytes } from "node:crypto";
import { dirname, resolve } from "node:path";
import type { Api } from "../../../core/api/client.ts";
import type { InstanceRequest } from "../../../core/api/schema.ts";
import type { InstanceView } from "../../../core/api/views.ts";
import type { InstanceConfig } from "../../../configs/instance.ts";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs, outputArgs, waitArgs } from "../../args.ts";
import { changeInstance } from "../../change.ts";
import { command } from "../../command.ts";
import { flagsLayer, readFile } from "../../config-flags.ts";
import { urls } from "../../format.ts";
import type { Io } from "../../io.ts";
import { buildAndPush } from "../../image-push.ts";
import { parseLabels, parseOptions } from "../../key-values.ts";
import { loadRegistry } from "../../plugins.ts";
import { readableName } from "../../readable-name.ts";
import { settle, type SettleContext } from "../../settle.ts";

export default command({
  args: {
    name: {
      type: "positional",
      description: "Name of the instance; a readable one is made where it is absent",
    },
    os: { type: "string", value: "VOS", description: "What it runs (`dvs plugin ls`)" },
    nodes: {
      type: "number",
      min: 1,
      max: 1024,
      description: "On how many nodes, one container on each (default 1)",
    },
    site: { type: "string", value: "DIR", description: "Make an image of this directory and boot from it" },
    image: { type: "string", value: "NAME|DIGEST", description: "Boot from this image (`dvs image ls`)" },
    publish: {
      type: "list",
      short: "p",
      value: "PORT[:POLICY]",
      description: "Open this port on every node of the cluster",
    },
    set: {
      type: "list",
      value: "KEY=VALUE",
      description: "An option of the VOS, as in --set spaFallback=/index.html",
    },
    on: { type: "list", value: "LABEL=VALUE", description: "Only on nodes that carry this label" },
    replicas: {
      type: "number",
      min: 1,
      max: 5,
      description: "On how many of its nodes its state is kept (default 3, or all of fewer nodes)",
    },
    "min-in-sync": {
      type: "number",
      min: 1,
      max: 5,
      description: "Writes fail while fewer replicas have everything (default 2 of 3, else 1)",
    },
    durability: {
      type: "enum",
      options: ["fsync", "replicated"],
      description: "When a write counts: on every disk (fsync, the default), or in every memory (replicated)",
    },
    "replace-after": {
      type: "duration",
      description: "For so long a replica's node is gone before another takes its place (default 5m)",
    },
    file: {
      type: "string",
      short: "f",
      value: "FILE",
      description:
        "Configuration file, YAML or JSON; - is standard input. The environment beats it, flags beat both",
    },
    "if-not-exists": { type: "boolean", description: "An instance that has the name already is no failure" },
    ...waitArgs,
    ...outputArgs,
    ...clientArgs,
  },
  details:
    "Waits until every container is ready and every port is open. What cannot run is rolled back, what cannot run yet\n" +
    "waits and says why. Every field of the file is also a variable: DVS_INSTANCE_NODES=3, DVS_INSTANCE_PUBLISH=8080,8443.",
  examples: [
    ["dvs instance create web --os web --nodes 3 --site ./public --publish 8080", "a site on three nodes"],
    ["dvs instance create --file web.yaml --nodes 5", "from a file, on more nodes than it says"],
    [
      "dvs instance create hi --os hello --set greeting='good morning' -p 8081 --if-not-exists",
      "for scripts",
    ],
  ],
  async run(context) {
    const { args, io } = context;
    const read = await readInstance(context);
    const { config } = read;
    const name = config.name ?? readableName();
    // A name that this command made is data: it is the only way to know it.
    if (config.name === undefined && args.output === "table") io.stdout.write(`${name}\n`);
    await changeInstance(context, {
      change: (api) => create(api, name, read, context),
      goal: "running",
      // One that was there already and is stopped is left as it is.
      reached: (view) => view.phase === "running" || view.phase === "stopped",
      done: (view) => (view.phase === "running" ? "runs" : "is stopped"),
      async after(api, view) {
        if (view.spec.publish.length === 0) return;
        const addresses = (await api.nodes.list()).filter((n) => n.state === "up").map((n) => n.address);
        context.words.info(`on every node: ${urls(view, addresses).join(" ")}`);
      },
    });
  },
});

interface Read {
  config: InstanceConfig;
  state: NonNullable<InstanceRequest["spec"]["state"]>;
  site: string | undefined;
}

async function readInstance({
  args,
  io,
}: {
  args: {
    name?: string | undefined;
    os?: string | undefined;
    nodes?: number | undefined;
    site?: string | undefined;
    image?: string | undefined;
    publish: string[];
    set: string[];
    on: string[];
    replicas?: number | undefined;
    "min-in-sync"?: number | undefined;
    durability?: string | undefined;
    "replace-after"?: number | undefined;
    file?: string | undefined;
  };
  io: Io;
}): Promise<Read> {
  const [{ instanceKind, stateRequestOf }, { readConfig }, file, registry] = await Promise.all([
    import("../../../configs/instance.ts"),
    import("../../../configs/kind.ts"),
    readFile(io, args.file),
    loadRegistry(),
  ]);
  const { on, options } = { on: parseLabels("--on", args.on), options: parseOptions("--set", args.set) };
  const config = await readConfig(instanceKind(registry), {
    file,
    env: io.env,
    flags: flagsLayer({
      name: ["NAME", args.name],
      os: ["--os", args.os],
      nodes: ["--nodes", args.nodes],
      site: ["--site", args.site],
      image: ["--image", args.image],
      publish: ["--publish", args.publish],
      replicas: ["--replicas", args.replicas],
      minInSync: ["--min-in-sync", args["min-in-sync"]],
      durability: ["--durability", args.durability],
      replaceAfterMs: ["--replace-after", args["replace-after"]],
      on: ["--on", args.on.length > 0 ? on : undefined],
      options: ["--set", args.set.length > 0 ? options : undefined],
    }),
  });
  const fromFile =
    args.site === undefined && !io.env["DVS_INSTANCE_SITE"] && args.file !== undefined && args.file !== "-";
  const base = fromFile ? dirname(resolve(io.cwd, args.file!)) : io.cwd;
  const site = config.site === undefined ? undefined : resolve(base, config.site);
  return { config, state: stateRequestOf(config), site };
}

async function create(
  api: Api,
  name: string,
  { config, state, site }: Read,
  context: SettleContext & { args: { "if-not-exists": boolean } },
): Promise<InstanceView> {
  const existing = await find(api, name);
  if (existing && existing.desired !== "removed" && context.args["if-not-exists"]) {
    context.words.info(`instance ${name} exists already`);
    return existing;
  }
  if (existing) throw taken(existing);
  const image =
    site !== undefined
      ? (await buildAndPush(api, site, [name], context)).record.digest
      : config.image === undefined
        ? null
        : (await api.images.get(config.image)).digest;
  const spec: InstanceRequest["spec"] = {
    os: config.os,
    nodes: config.nodes,
    on: config.on,
    image,
    options: config.options,
    publish: config.publish,
    ...(Object.keys(state).length > 0 ? { state } : {}),
  };
  // One key for all attempts: a repeated request answers with the instance that the first one made.
  const key = randomBytes(16).toString("hex");
  try {
    return await settle(context, () => api.instances.create({ name, spec }, key));
  } catch (thrown) {
    if (DvsError.from(thrown).code === "CONFLICT" && context.args["if-not-exists"]) {
      const winner = await find(api, name);
      if (winner) return winner;
    }
    throw thrown;
  }
}

async function find(api: Api, name: string): Promise<InstanceView | undefined> {
  try {
    return await api.instances.get(name);
  } catch (thrown) {
    if (DvsError.from(thrown).code === "NOT_FOUND") return undefined;
    throw thrown;
  }
}

function taken({ name, desired }: InstanceView): DvsError {
  if (desired === "removed") {
    return new DvsError(
      "CONFLICT",
      `Cannot create instance "${name}": one of this name is still being removed. Try again.`,
    );
  }
  return new DvsError(
    "CONFLICT",
    `Cannot create instance "${name}": the name is taken. Choose another, remove it with "dvs instance rm ${name}", or give --if-not-exists.`,
  );
}
