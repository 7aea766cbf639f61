import type { CoordinatorView } from "../../../core/api/coordinators.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeList } from "../../output.ts";
import type { Column } from "../../table.ts";

const columns: Column<CoordinatorView>[] = [
  { title: "ID", value: (c) => c.id },
  { title: "ADDRESS", value: (c) => c.address, flexible: true },
  { title: "STATE", value: (c) => (c.acting ? "acts" : c.state === "up" ? "stands by" : c.state) },
  { title: "STORE", value: (c) => c.etcd?.replace(/^https:\/\//, "") ?? "", flexible: true },
  { title: "VERSION", value: (c) => c.version },
  { title: "IMAGES LACKING", value: (c) => c.imagesLacking ?? "", right: true },
];

export default command({
  args: { ...outputArgs, ...clientArgs },
  details: "STORE is the part of the store that a coordinator with --ha runs.",
  examples: [["dvs coordinator ls", "which one acts, and how the others are"]],
  async run({ args, io }) {
    writeList(io, args.output, columns, await withApi(args, io, (api) => api.coordinators.list()));
  },
});
