import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeJson } from "../../output.ts";
import { writeFields } from "../../table.ts";
import { nodeFields } from "../../views/node.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the node" },
    ...outputArgs,
    ...clientArgs,
  },
  examples: [["dvs node inspect node-1", "address, labels, load, warnings"]],
  async run({ args, io }) {
    const node = await withApi(args, io, (api) => api.nodes.get(args.name));
    if (args.output === "json") writeJson(io, node);
    else writeFields(io, nodeFields(node));
  },
});
