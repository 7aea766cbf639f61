import { randomUUID } from "node:crypto";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { givenPlace } from "../../file-place.ts";

export default command({
  args: {
    from: { type: "positional", required: true, description: "INSTANCE:/path of what is moved" },
    to: {
      type: "positional",
      required: true,
      description: "INSTANCE:/path of the same instance; /path is enough. A directory: into it",
    },
    "no-clobber": { type: "boolean", short: "n", description: "Replace nothing" },
    ...clientArgs,
  },
  details: "At once: nobody sees both, or neither.",
  examples: [["dvs mv web:/site.new /site", "exit code 4 where it cannot replace what is there"]],
  async run({ args, io }) {
    const from = givenPlace(args.from);
    const to = args.to.startsWith("/") ? { ...from, path: args.to } : givenPlace(args.to);
    if (to.instance !== from.instance) {
      const advice = `Copy it with "dvs cp", by way of this machine.`;
      throw new DvsError("INVALID", `Cannot move from instance "${from.instance}" to another one. ${advice}`);
    }
    const body = { path: from.path, to: to.path, replace: !args["no-clobber"] };
    await withApi(args, io, (api) => api.files.rename(from.instance, body, randomUUID()));
  },
});
