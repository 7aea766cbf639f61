import { clientArgs, streamArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeJsonLine } from "../../output.ts";
import { shownValue } from "../../views/kv.ts";

export default command({
  args: {
    instance: { type: "positional", required: true, description: "Name of the instance" },
    prefix: { type: "positional", description: "Only keys that begin with it" },
    after: {
      type: "number",
      value: "REVISION",
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      description:
        "Begin behind this revision, with what has happened since; without it, with what happens now",
    },
    ...streamArgs,
    ...clientArgs,
  },
  details:
    "Shows changes as they happen, each once and in order, until it is interrupted. A revision of long ago is refused: " +
    "list the keys then and begin behind the highest revision.",
  examples: [["dvs kv watch hello users/ -o ndjson", "values are base64"]],
  async run({ args, io }) {
    await withApi(args, io, async (api) => {
      const query = { prefix: args.prefix ?? "", ...(args.after !== undefined && { after: args.after }) };
      for await (const event of api.kv.watch(args.instance, query, io.signal)) {
        if (args.output !== "table") {
          writeJsonLine(io, event);
          continue;
        }
        for (const { key, value } of event.changes) {
          io.stdout.write(`${event.revision} ${key} ${value === null ? "(removed)" : shownValue(value)}\n`);
        }
      }
    });
  },
});
