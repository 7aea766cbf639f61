import { DvsError } from "../../../core/errors.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeList } from "../../output.ts";
import { parseSize } from "../../size.ts";
import { usageColumns } from "../../views/files.ts";

export default command({
  args: {
    instance: { type: "positional", required: true, description: "Name of the instance" },
    bytes: {
      type: "string",
      value: "SIZE",
      description: "The most that the contents of its files may take: 20GiB, 500MB",
    },
    files: {
      type: "number",
      min: 1,
      max: Number.MAX_SAFE_INTEGER,
      description: "The most files, directories and links that there may be",
    },
    ...outputArgs,
    ...clientArgs,
  },
  details: "What is above it stays, and nothing more comes (EDQUOT). Without flags it shows what holds.",
  examples: [["dvs quota web --bytes 20GiB --files 1000000", "from now on, for the whole instance"]],
  async run({ args, io }) {
    const bytesMax = args.bytes === undefined ? undefined : parseSize(args.bytes);
    if (args.bytes !== undefined && bytesMax === undefined) {
      throw new DvsError(
        "INVALID",
        `bad value "${args.bytes}" for --bytes: accepted: a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB`,
      );
    }
    const quota = {
      ...(bytesMax !== undefined && { bytesMax }),
      ...(args.files !== undefined && { inodesMax: args.files }),
    };
    await withApi(args, io, async (api) => {
      const isSet = Object.keys(quota).length > 0;
      const usage = await (isSet ? api.files.quota(args.instance, quota) : api.files.usage(args.instance));
      writeList(io, args.output, usageColumns, [{ instance: args.instance, ...usage }]);
    });
  },
});
