import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { each, unlessMissing } from "../../each.ts";

export default command({
  args: {
    image: { type: "positional", required: true, many: true, description: "Names or digests" },
    "ignore-missing": { type: "boolean", description: "An image that does not exist is no failure" },
    ...clientArgs,
  },
  details: "An image that an instance uses is not removed.",
  examples: [["dvs image rm docs", "remove an image by its name"]],
  async run({ args, io, words }) {
    await withApi(args, io, (api) =>
      each([...new Set(args.image)], (ref) =>
        unlessMissing(args["ignore-missing"], async () => {
          await api.images.remove(ref);
          words.success(`image ${ref} removed`);
        }),
      ),
    );
  },
});
