import { clientArgs, streamArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { painter } from "../../io.ts";
import { writeJsonLine } from "../../output.ts";
import { clean } from "../../table.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    follow: { type: "boolean", short: "f", description: "Go on with what is logged from now on" },
    tail: {
      type: "number",
      short: "n",
      min: 0,
      max: 100_000,
      default: 100,
      description: "Newest lines of each node to begin with",
    },
    access: {
      type: "boolean",
      description: "The requests that its containers answered, instead of what they say; within a second",
    },
    node: { type: "string", value: "NAME", description: "Only the container on this node" },
    ...streamArgs,
    ...clientArgs,
  },
  examples: [
    ["dvs instance logs web -f", "follow all its containers"],
    ["dvs instance logs web --access -f", "each request, as it is answered"],
    ["dvs instance logs web --node node-2 --tail 20", "the last lines from one node"],
  ],
  async run({ args, io }) {
    const paint = painter(io, io.stdout);
    await withApi(args, io, async (api) => {
      const query = {
        tail: args.tail,
        follow: args.follow,
        ...(args.node ? { node: args.node } : {}),
        ...(args.access ? { file: "access" as const } : {}),
      };
      for await (const entry of api.instances.logs(args.name, query, io.signal)) {
        if (args.output === "table") io.stdout.write(`${paint("cyan", entry.node)} ${clean(entry.line)}\n`);
        else writeJsonLine(io, entry);
      }
    });
  },
});
