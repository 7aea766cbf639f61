import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeList } from "../../output.ts";
import { containerColumns, endpointColumns, type EndpointRow } from "../../views/instance.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    endpoints: { type: "boolean", description: "The endpoints that its kernels hold, with their counters" },
    ...outputArgs,
    ...clientArgs,
  },
  examples: [
    ["dvs instance ps hello", "its containers"],
    ["dvs instance ps --endpoints hello", "who can be called where, and how many messages went by"],
  ],
  async run({ args, io }) {
    await withApi(args, io, async (api) => {
      if (!args.endpoints) {
        const { containers } = await api.instances.get(args.name);
        return writeList(io, args.output, containerColumns, containers);
      }
      const rows: EndpointRow[] = [];
      for await (const { node, line } of api.instances.endpoints(args.name, io.signal)) {
        // A node that does not answer says so in brackets.
        if (line.startsWith("{")) rows.push({ node, ...(JSON.parse(line) as Omit<EndpointRow, "node">) });
        else io.stderr.write(`${node}: ${line}\n`);
      }
      writeList(io, args.output, endpointColumns, rows);
    });
  },
});
