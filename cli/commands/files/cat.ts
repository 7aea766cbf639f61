import { DvsError } from "../../../core/errors.ts";
import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { givenPlace } from "../../file-place.ts";

export default command({
  args: {
    places: { type: "positional", required: true, many: true, description: "INSTANCE:/path of each file" },
    ...clientArgs,
  },
  details: "The contents, byte by byte, one after the other. What cannot be read ends it.",
  examples: [["dvs cat web:/etc/motd", "exit code 3 where there is no such file"]],
  async run({ args, io }) {
    const { contentsOf } = await import("../../../core/api/contents.ts");
    await withApi(args, io, async (api) => {
      for (const { instance, path } of args.places.map(givenPlace)) {
        for await (const part of contentsOf(api, instance, [path], {}, io.signal)) {
          if (part.type === "failure") throw new DvsError(part.error.code, part.error.message);
          if (part.type === "bytes") await io.stdout.writeBytes(part.bytes);
        }
      }
    });
  },
});
