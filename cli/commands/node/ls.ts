import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeList } from "../../output.ts";
import { nodeColumns } from "../../views/node.ts";

export default command({
  args: { ...outputArgs, ...clientArgs },
  examples: [["dvs node ls", "the machines of the cluster"]],
  async run({ args, io }) {
    writeList(io, args.output, nodeColumns, await withApi(args, io, (api) => api.nodes.list()));
  },
});
