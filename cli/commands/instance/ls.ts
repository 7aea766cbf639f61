import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeList } from "../../output.ts";
import { instanceColumns } from "../../views/instance.ts";

export default command({
  args: { ...outputArgs, ...clientArgs },
  examples: [
    ["dvs instance ls", "every instance and how it is"],
    [
      "dvs instance ls -o json | jq -r '.[] | select(.phase != \"running\") | .name'",
      "names of those that do not run",
    ],
  ],
  async run({ args, io }) {
    const instances = await withApi(args, io, (api) => api.instances.list());
    writeList(io, args.output, instanceColumns, instances);
  },
});
