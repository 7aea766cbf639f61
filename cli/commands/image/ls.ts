import type { ImageView } from "../../../core/api/schema.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { age, bytes, shortDigest } from "../../format.ts";
import { writeList } from "../../output.ts";
import type { Column } from "../../table.ts";

const columns: Column<ImageView>[] = [
  { title: "NAMES", value: (i) => i.names.join(","), flexible: true },
  { title: "DIGEST", value: (i) => shortDigest(i.digest) },
  { title: "FILES", value: (i) => i.files, right: true },
  { title: "SIZE", value: (i) => bytes(i.bytes), right: true },
  { title: "USED BY", value: (i) => i.usedBy.join(","), flexible: true },
  { title: "AGE", value: (i) => age(i.createdAt), right: true },
];

export default command({
  args: { ...outputArgs, ...clientArgs },
  examples: [["dvs image ls", "images and the instances that use them"]],
  async run({ args, io }) {
    writeList(io, args.output, columns, await withApi(args, io, (api) => api.images.list()));
  },
});
