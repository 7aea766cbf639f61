import { DvsError } from "../../../core/errors.ts";
import { clientArgs, waitArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { formatDuration } from "../../duration.ts";
import { pollUntil } from "../../poll.ts";
import { Progress } from "../../progress.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the node" },
    ...waitArgs,
    ...clientArgs,
  },
  details: "Its containers get places elsewhere first; then its record goes and its agent ends.",
  examples: [["dvs node leave node-3 --timeout 10m", "before a machine is switched off"]],
  async run({ args, io, words }) {
    await withApi(args, io, async (api) => {
      let node = await api.nodes.leave(args.name);
      if (args.detach) return words.info(`node ${args.name}: leaving`);
      const progress = new Progress(io, words);
      const left = await pollUntil(args.timeout, io.signal, progress, async () => {
        try {
          node = await api.nodes.get(args.name);
        } catch (thrown) {
          if (DvsError.from(thrown).code === "NOT_FOUND") return true;
          throw thrown;
        }
        progress.show(`${args.name}: leaving — ${node.containers} containers are still on it`);
        return false;
      });
      if (left) return words.success(`node ${args.name} left`);
      throw new DvsError(
        "TIMEOUT",
        `Node "${args.name}" has not left after ${formatDuration(args.timeout)}: ${node.containers} containers are still on it. It goes on.`,
      );
    });
  },
});
