import { clientArgs, outputArgs, waitArgs } from "../../args.ts";
import { changeInstance } from "../../change.ts";
import { command } from "../../command.ts";
import { settle } from "../../settle.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    ...waitArgs,
    ...outputArgs,
    ...clientArgs,
  },
  examples: [
    ["dvs instance stop web", "Its containers end; name, ports and places stay its own"],
    ["dvs instance stop web --detach", "stop it without waiting"],
  ],
  run: (context) =>
    changeInstance(context, {
      change: (api) => settle(context, () => api.instances.stop(context.args.name)),
      goal: "stopped",
      reached: (view) => view.phase === "stopped",
      done: () => "has stopped",
    }),
});
