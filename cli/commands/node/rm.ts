import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { confirm } from "../../confirm.ts";
import { withApi } from "../../connection.ts";
import { each, unlessMissing } from "../../each.ts";

export default command({
  args: {
    name: { type: "positional", required: true, many: true, description: "Names of the nodes" },
    force: { type: "boolean", description: "Also one that is up; its containers end without having moved" },
    yes: {
      type: "boolean",
      short: "y",
      description: "Do not ask; nobody is asked where there is no terminal",
    },
    "ignore-missing": { type: "boolean", description: "A node that does not exist is no failure" },
    ...clientArgs,
  },
  details: `For machines that will not return; a running one leaves with "dvs node leave".`,
  examples: [["dvs node rm node-3", "forget a machine that is gone"]],
  async run({ args, io, words }) {
    await confirm(io, args.yes, `Forget ${args.name.join(", ")}?`);
    await withApi(args, io, (api) =>
      each([...new Set(args.name)], (name) =>
        unlessMissing(args["ignore-missing"], async () => {
          await api.nodes.remove(name, args.force);
          words.success(`node ${name} removed`);
        }),
      ),
    );
  },
});
