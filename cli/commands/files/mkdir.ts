import { randomUUID } from "node:crypto";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { each } from "../../each.ts";
import { givenPlace } from "../../file-place.ts";

export default command({
  args: {
    places: { type: "positional", required: true, many: true, description: "INSTANCE:/path of each" },
    parents: {
      type: "boolean",
      short: "p",
      description: "Make missing parents, too; one that is there is no failure",
    },
    mode: {
      type: "string",
      short: "m",
      value: "MODE",
      default: "755",
      description: "Permission bits, octal",
    },
    ...clientArgs,
  },
  examples: [
    ["dvs mkdir -p web:/srv/data/in", "as often as you like"],
    ["dvs mkdir web:/srv", "exit code 4 where it is there already"],
  ],
  async run({ args, io }) {
    if (!/^[0-7]{1,4}$/.test(args.mode)) {
      throw new DvsError("INVALID", `bad value "${args.mode}" for --mode: accepted: up to four octal digits`);
    }
    const places = args.places.map(givenPlace);
    const [mode, parents] = [Number.parseInt(args.mode, 8), args.parents];
    await withApi(args, io, (api) =>
      each(
        places.map((_, i) => String(i)),
        async (i) => {
          const { instance, path } = places[Number(i)]!;
          await api.files.makeDirectory(instance, { path, mode, parents }, randomUUID());
        },
      ),
    );
  },
});
