import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { confirm } from "../../confirm.ts";
import { withApi } from "../../connection.ts";
import { each, unlessMissing } from "../../each.ts";

export default command({
  args: {
    id: {
      type: "positional",
      required: true,
      many: true,
      description: "Ids or addresses of the coordinators (`dvs coordinator ls`)",
    },
    force: { type: "boolean", description: "Also one that answers" },
    yes: {
      type: "boolean",
      short: "y",
      description: "Do not ask; nobody is asked where there is no terminal",
    },
    "ignore-missing": { type: "boolean", description: "A coordinator that does not exist is no failure" },
    ...clientArgs,
  },
  details:
    "For machines that will not return: its part of the store goes too. It cannot come back with its old data\n" +
    "directory; empty that and join again.",
  examples: [
    ["dvs coordinator rm coordinator-1f3a90c2", "its machine is gone; then start another with --ha --join"],
  ],
  async run({ args, io, words }) {
    await confirm(io, args.yes, `Forget ${args.id.join(", ")}?`);
    await withApi(args, io, (api) =>
      each([...new Set(args.id)], (id) =>
        unlessMissing(args["ignore-missing"], async () => {
          await api.coordinators.remove(id, args.force);
          words.success(`coordinator ${id} removed`);
        }),
      ),
    );
  },
});
