import type { KvEntryJson } from "../../../core/state/kv-ask.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeList } from "../../output.ts";
import { kvColumns } from "../../views/kv.ts";

export default command({
  args: {
    instance: { type: "positional", required: true, description: "Name of the instance" },
    prefix: { type: "positional", description: "Only keys that begin with it" },
    ...outputArgs,
    ...clientArgs,
  },
  details: "Keys in the order of their bytes. With `-o json` values are base64.",
  examples: [["dvs kv ls hello users/", "all keys below users/"]],
  async run({ args, io }) {
    await withApi(args, io, async (api) => {
      const entries: KvEntryJson[] = [];
      const query = { prefix: args.prefix ?? "", limit: 100 };
      for (let after: string | undefined; ;) {
        const page = await api.kv.page(args.instance, { ...query, ...(after !== undefined && { after }) });
        entries.push(...page.entries);
        if (page.next === null) break;
        after = page.next;
      }
      writeList(io, args.output, kvColumns, entries);
    });
  },
});
