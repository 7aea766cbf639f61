import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { confirm } from "../../confirm.ts";
import { withApi } from "../../connection.ts";
import { each, unlessMissing } from "../../each.ts";

export default command({
  args: {
    name: { type: "positional", required: true, many: true, description: "Names of the nodes" },
    force: {
      type: "boolean",
      description:
        "Also one that is up, or has the only copy of a state; its containers end without having moved",
    },
    yes: {
      type: "boolean",
      short: "y",
      description: "Do not ask; nobody is asked where there is no terminal",
    },
    "ignore-missing": { type: "boolean", description: "A node that does not exist is no failure" },
    ...clientArgs,
  },
  details:
    "For machines that will not return: what ran there gets a place on other nodes at once, not only after the time that\n" +
    'a node may be down. A running one leaves with "dvs node leave"; with --force it is forgotten all the same, and ends\n' +
    "what it runs when it hears of it.",
  examples: [
    ["dvs node rm node-3", "forget a machine that is gone"],
    ["dvs node rm --force node-3", "without waiting until it counts as down"],
  ],
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
