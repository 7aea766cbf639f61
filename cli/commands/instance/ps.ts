import { clientArgs, outputArgs } from "../../args.ts";
import type { ListedEndpoint } from "../../../core/kernel/endpoint-list.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeList } from "../../output.ts";
import { containerColumns, endpointColumns, type EndpointRow } from "../../views/instance.ts";

/** Of the lines of one endpoint. */
const order: readonly ListedEndpoint["kind"][] = ["local", "backup", "remote"];

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    endpoints: {
      type: "boolean",
      description: "The endpoints that its kernels know of, with their counters",
    },
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
        if (line.startsWith("{")) rows.push({ node, ...(JSON.parse(line) as ListedEndpoint) });
        else io.stderr.write(`${node}: ${line}\n`);
      }
      rows.sort((a, b) => a.id - b.id || order.indexOf(a.kind) - order.indexOf(b.kind));
      writeList(io, args.output, endpointColumns, rows);
    });
  },
});
