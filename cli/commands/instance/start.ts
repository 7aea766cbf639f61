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
    ["dvs instance start web", "Start it again where it ran"],
    ["dvs instance start web --detach", "start it without waiting"],
  ],
  run: (context) =>
    changeInstance(context, {
      change: (api) => settle(context, () => api.instances.start(context.args.name)),
      goal: "running",
      reached: (view) => view.phase === "running",
      done: () => "runs",
    }),
});
