import { clientArgs } from "../args.ts";
import { command } from "../command.ts";
import { withApi } from "../connection.ts";
import { DvsError } from "../../core/errors.ts";
import { endpointOf, isEndpoint } from "../../core/kernel/endpoint.ts";
import { writeJsonLine } from "../output.ts";

export default command({
  args: {
    instance: { type: "positional", required: true, description: "Name of the instance" },
    endpoint: {
      type: "positional",
      required: true,
      description: "SLOT:GENERATION, as `dvs instance ps --endpoints` shows it",
    },
    max: {
      type: "number",
      short: "n",
      min: 1,
      max: 100_000,
      default: 1_000,
      description: "Messages of each node, then it ends",
    },
    ...clientArgs,
  },
  details:
    "Shows messages from and to the endpoint, one JSON document a line, without what they carry. A message between " +
    "processes of one kernel has `local: true`; one between kernels is shown by both, with `to` and `from`.",
  examples: [["dvs trace hello 0:1 -n 20", "the next twenty messages of each node"]],
  async run({ args, io }) {
    const [slot, generation] = /^\d+:\d+$/.test(args.endpoint) ? args.endpoint.split(":").map(Number) : [];
    const endpoint = endpointOf(slot ?? -1, generation ?? -1);
    if (!isEndpoint(endpoint)) {
      throw new DvsError(
        "INVALID",
        `Cannot trace ${args.endpoint}: an endpoint is SLOT:GENERATION, as in 3:17.`,
      );
    }
    await withApi(args, io, async (api) => {
      for await (const { node, line } of api.instances.trace(
        args.instance,
        { endpoint, max: args.max },
        io.signal,
      )) {
        if (line.startsWith("{")) writeJsonLine(io, { node, ...(JSON.parse(line) as object) });
        else io.stderr.write(`${node}: ${line}\n`);
      }
    });
  },
});
