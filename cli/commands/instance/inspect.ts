import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeJson } from "../../output.ts";
import { writeFields, writeTable } from "../../table.ts";
import { containerColumns, instanceFields, replicaColumns } from "../../views/instance.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    ...outputArgs,
    ...clientArgs,
  },
  examples: [
    ["dvs instance inspect web", "state, containers, and why something is pending"],
    ["dvs instance inspect web -o json | jq .containers", "its containers for a program"],
  ],
  async run({ args, io }) {
    const view = await withApi(args, io, (api) => api.instances.get(args.name));
    if (args.output === "json") return writeJson(io, view);
    writeFields(io, instanceFields(view));
    if (view.containers.length > 0) {
      io.stdout.write("\n");
      writeTable(io, containerColumns, view.containers);
    }
    if (!view.state || view.state.replicas.length === 0) return;
    io.stdout.write("\n");
    writeTable(io, replicaColumns, view.state.replicas);
  },
});
