import { DvsError } from "../../../core/errors.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeJson } from "../../output.ts";

export default command({
  args: {
    join: { type: "boolean", description: "A join token: a machine becomes a node with it" },
    coordinator: {
      type: "boolean",
      description: "A coordinator token: a machine runs a part of the store with it (start --ha --join)",
    },
    role: {
      type: "enum",
      options: ["admin", "operator", "viewer"],
      description:
        "An API token with this role: viewer reads, operator also changes instances and images, admin all",
    },
    uses: {
      type: "number",
      min: 1,
      max: 1_000_000,
      description: "For a join token: how many nodes may use it (default any number)",
    },
    ttl: {
      type: "duration",
      description: "When it expires (default 1d for join and coordinator tokens, never for API tokens)",
    },
    never: { type: "boolean", description: "It does not expire" },
    description: { type: "string", value: "TEXT", description: "What it is for, shown by `dvs token ls`" },
    ...outputArgs,
    ...clientArgs,
  },
  details: "The token is shown this once and kept nowhere.",
  examples: [
    ["dvs token create --join --uses 3 --ttl 1h", "for three machines that join within the hour"],
    ["DVS_TOKEN=$(dvs token create --role operator --description ci)", "for a pipeline"],
  ],
  async run({ args, io, words }) {
    if ([args.join, args.coordinator, args.role !== undefined].filter(Boolean).length !== 1) {
      throw new DvsError(
        "INVALID",
        "give one of --join, --coordinator and --role: a token is for nodes, for coordinators, or for people and programs",
      );
    }
    if (args.coordinator && args.never) {
      throw new DvsError(
        "INVALID",
        "--never does not go with --coordinator: it gives all power over the cluster",
      );
    }
    if (args.uses !== undefined && !args.join) throw new DvsError("INVALID", "--uses goes with --join");
    if (args.never && args.ttl !== undefined)
      throw new DvsError("INVALID", "--never and --ttl contradict each other");
    if (args.ttl !== undefined && args.ttl < 1_000) {
      throw new DvsError("INVALID", "bad value for --ttl: accepted: 1s or more");
    }
    const common = {
      ...(args.description === undefined ? {} : { description: args.description }),
      ...(args.never
        ? { ttlSeconds: null }
        : args.ttl === undefined
          ? {}
          : { ttlSeconds: Math.round(args.ttl / 1_000) }),
    };
    const created = await withApi(args, io, (api) =>
      api.tokens.create(
        args.coordinator
          ? { kind: "coordinator", ...withoutNull(common) }
          : args.role === undefined
            ? { kind: "join", ...common, ...(args.uses === undefined ? {} : { uses: args.uses }) }
            : { kind: "api", role: args.role, ...common },
      ),
    );
    if (args.output === "json") return writeJson(io, created);
    io.stdout.write(`${created.token}\n`);
    if (created.kind === "coordinator")
      words.info(`on the machine: dvs coordinator start --ha --join ${created.token}`);
    if (created.kind === "join") words.info(`on the machine: dvs node join --token ${created.token}`);
  },
});

/** For what never lasts for ever. */
function withoutNull({ ttlSeconds, ...rest }: { ttlSeconds?: number | null; description?: string }): {
  ttlSeconds?: number;
  description?: string;
} {
  return ttlSeconds == null ? rest : { ...rest, ttlSeconds };
}
