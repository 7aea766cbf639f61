import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { each, unlessMissing } from "../../each.ts";

export default command({
  args: {
    id: { type: "positional", required: true, many: true, description: "Ids of the tokens (`dvs token ls`)" },
    "ignore-missing": { type: "boolean", description: "A token that does not exist is no failure" },
    ...clientArgs,
  },
  details: "A revoked join token takes nothing from nodes that have joined with it.",
  examples: [["dvs token rm k3f9", "revoke it"]],
  async run({ args, io, words }) {
    await withApi(args, io, (api) =>
      each([...new Set(args.id)], (id) =>
        unlessMissing(args["ignore-missing"], async () => {
          await api.tokens.remove(id);
          words.success(`token ${id} revoked`);
        }),
      ),
    );
  },
});
