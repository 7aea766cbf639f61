import type { FileEntryJson } from "../../../core/files/remote/ask.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { givenPlace } from "../../file-place.ts";
import { writeJson } from "../../output.ts";
import { clean, writeTable } from "../../table.ts";
import { fileColumns } from "../../views/files.ts";

export default command({
  args: {
    place: { type: "positional", required: true, description: "INSTANCE:/path of a directory or a file" },
    long: { type: "boolean", short: "l", description: "With mode, links, owner, size and time" },
    all: { type: "boolean", short: "a", description: "Also names that begin with a dot" },
    ...outputArgs,
    ...clientArgs,
  },
  details: "Names in the order of their code units, one a line. With `-o json` all that is known of each.",
  examples: [
    ["dvs ls web:/var/www", "exit code 3 where there is no such file"],
    ["dvs ls -la web:/", "all of the root"],
  ],
  async run({ args, io }) {
    const { instance, path } = givenPlace(args.place);
    await withApi(args, io, async (api) => {
      const entries: FileEntryJson[] = [];
      for (let after: number | null = 0; after !== null;) {
        const page: Awaited<ReturnType<typeof api.files.page>> = await api.files.page(instance, {
          path,
          after,
        });
        entries.push(...page.entries);
        after = page.next;
      }
      const shown = entries
        .filter(({ name }) => args.all || !name.startsWith("."))
        .toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
      if (args.output === "json") return writeJson(io, shown);
      if (args.long) return writeTable(io, fileColumns, shown);
      for (const { name } of shown) io.stdout.write(`${io.stdout.isTTY ? clean(name) : name}\n`);
    });
  },
});
