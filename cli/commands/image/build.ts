import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { bytes } from "../../format.ts";
import { buildAndPush } from "../../image-push.ts";
import { writeJson } from "../../output.ts";

export default command({
  args: {
    dir: { type: "positional", required: true, description: "Directory whose files become the image" },
    name: {
      type: "list",
      value: "NAME",
      description: "Name to find it by; moves from an older image",
    },
    ...outputArgs,
    ...clientArgs,
  },
  details: "Prints the image's digest. Files that the cluster has already are not sent again.",
  examples: [
    ["dvs image build ./public --name docs", "then: dvs instance create --os web --image docs"],
    ["dvs image build ./public -o json | jq -r .digest", "its digest for a program"],
  ],
  async run({ args, io, words }) {
    await withApi(args, io, async (api) => {
      const { record, sentBytes, sentFiles } = await buildAndPush(api, args.dir, args.name, { io, words });
      if (args.output === "json") writeJson(io, { ...record, sentFiles, sentBytes });
      else io.stdout.write(`${record.digest}\n`);
      words.success(
        `image of ${record.files} files, ${bytes(record.bytes)}; sent ${sentFiles} files, ${bytes(sentBytes)}`,
      );
    });
  },
});
