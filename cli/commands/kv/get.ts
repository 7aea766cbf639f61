import { DvsError } from "../../../core/errors.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeJson } from "../../output.ts";
import { textOf } from "../../views/kv.ts";

export default command({
  args: {
    instance: { type: "positional", required: true, description: "Name of the instance" },
    key: { type: "positional", required: true, description: "The key" },
    ...outputArgs,
    ...clientArgs,
  },
  details: "Prints the value and a line end. With `-o json`: key, value as base64, revision.",
  examples: [["dvs kv get hello counter", "exit code 3 where there is no such key"]],
  async run({ args, io }) {
    await withApi(args, io, async (api) => {
      const entry = await api.kv.get(args.instance, args.key);
      if (args.output === "json") return writeJson(io, entry);
      const text = textOf(entry.value);
      if (text === null) {
        throw new DvsError(
          "INVALID",
          `Cannot print the value of ${JSON.stringify(args.key)}: it is no text. Use -o json.`,
        );
      }
      io.stdout.write(`${text}\n`);
    });
  },
});
