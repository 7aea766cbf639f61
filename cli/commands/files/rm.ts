import { randomUUID } from "node:crypto";
import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { each } from "../../each.ts";
import { givenPlace } from "../../file-place.ts";

export default command({
  args: {
    places: { type: "positional", required: true, many: true, description: "INSTANCE:/path of each file" },
    recursive: { type: "boolean", short: "r", description: "Directories with all that is in them, too" },
    force: { type: "boolean", short: "f", description: "A file that does not exist is no failure" },
    ...clientArgs,
  },
  details: "Nobody is asked. All are tried; the exit code is that of the first that failed.",
  examples: [
    ["dvs rm web:/tmp/old", "exit code 3 where there is no such file, 2 for a directory"],
    ["dvs rm -rf web:/tmp/build", "a directory, if it is there"],
  ],
  async run({ args, io }) {
    const places = args.places.map(givenPlace);
    await withApi(args, io, (api) =>
      each(
        places.map((_, i) => String(i)),
        async (i) => {
          const { instance, path } = places[Number(i)]!;
          const query = { path, recursive: args.recursive, missing: args.force };
          await api.files.remove(instance, query, randomUUID());
        },
      ),
    );
  },
});
