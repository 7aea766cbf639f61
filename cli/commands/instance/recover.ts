import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { confirm } from "../../confirm.ts";
import { withApi } from "../../connection.ts";
import { writeJson } from "../../output.ts";
import { writeTable } from "../../table.ts";
import { replicaColumns } from "../../views/instance.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    from: {
      type: "string",
      value: "NODE",
      required: true,
      description: "Go on with what the replica there has",
    },
    "accept-loss": {
      type: "boolean",
      description:
        "What other replicas have and this one has not is lost for good, also what was acknowledged",
    },
    yes: {
      type: "boolean",
      short: "y",
      description: "Do not ask; nobody is asked where there is no terminal",
    },
    ...outputArgs,
    ...clientArgs,
  },
  details:
    "The last way, when the machines of all replicas that were in sync are gone for good: an instance whose state nobody\n" +
    "serves goes on from one replica. First try to start one that is in sync (dvs instance inspect). Refused while a\n" +
    "primary serves. The other replicas learn from the one that is chosen.",
  examples: [
    ["dvs instance recover kv --from node-2", "see what each replica has; nothing is changed"],
    ["dvs instance recover kv --from node-2 --accept-loss", "go on with what node-2 has"],
  ],
  async run({ args, io, words }) {
    await withApi(args, io, async (api) => {
      const before = await api.instances.get(args.name);
      if (args.output !== "json" && before.state) {
        writeTable(io, replicaColumns, before.state.replicas);
        io.stdout.write("\n");
      }
      if (args["accept-loss"]) {
        await confirm(
          io,
          args.yes,
          `Lose what node ${args.from} has not, and go on with ${args.name} from there?`,
        );
      }
      const body = { from: args.from, acceptLoss: args["accept-loss"] };
      const view = await api.instances.recover(args.name, body);
      if (args.output === "json") return writeJson(io, view);
      words.success(`instance ${args.name} goes on from node ${args.from}, epoch ${view.state?.epoch ?? 0}`);
    });
  },
});
