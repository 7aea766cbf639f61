import { clientArgs, streamArgs } from "../args.ts";
import { command } from "../command.ts";
import { withApi } from "../connection.ts";
import { painter } from "../io.ts";
import { writeJsonLine } from "../output.ts";
import { clean } from "../table.ts";

export default command({
  args: {
    follow: { type: "boolean", short: "f", description: "Go on with what happens from now on" },
    limit: {
      type: "number",
      short: "n",
      min: 0,
      max: 10_000,
      default: 100,
      description: "Newest events to begin with",
    },
    ...streamArgs,
    ...clientArgs,
  },
  examples: [
    ["dvs events", "what happened lately, newest last"],
    ["dvs events -f -o ndjson | jq 'select(.type == \"warning\")'", "warnings as they come"],
  ],
  async run({ args, io }) {
    const paint = painter(io, io.stdout);
    await withApi(args, io, async (api) => {
      for await (const e of api.events({ limit: args.limit, follow: args.follow }, io.signal)) {
        if (args.output !== "table") {
          writeJsonLine(io, e);
          continue;
        }
        const reason = e.type === "warning" ? paint("yellow", e.reason) : e.reason;
        io.stdout.write(`${paint("dim", e.at)} ${clean(e.subject)} ${reason}: ${clean(e.message)}\n`);
      }
    });
  },
});
