import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeList } from "../../output.ts";
import { type Usage, usageColumns } from "../../views/files.ts";

export default command({
  args: {
    instances: { type: "positional", many: true, required: true, description: "Names of instances" },
    ...outputArgs,
    ...clientArgs,
  },
  details: "What their file systems take, and may take. With `-o json` in bytes.",
  examples: [["dvs df web", "how full it is"]],
  async run({ args, io }) {
    await withApi(args, io, async (api) => {
      const usages: Usage[] = [];
      // `web:/` is how files are named everywhere else.
      for (const instance of args.instances.map((name) => name.replace(/:.*$/s, ""))) {
        usages.push({ instance, ...(await api.files.usage(instance)) });
      }
      writeList(io, args.output, usageColumns, usages);
    });
  },
});
