import { randomUUID } from "node:crypto";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeJson } from "../../output.ts";
import { givenValue } from "../../views/kv.ts";

export default command({
  args: {
    instance: { type: "positional", required: true, description: "Name of the instance" },
    key: { type: "positional", required: true, description: "The key" },
    value: { type: "positional", required: true, description: "The value; - reads it from standard input" },
    ...outputArgs,
    ...clientArgs,
  },
  details: "Ends when the value is on every replica that is in sync.",
  examples: [
    ["dvs kv put hello greeting hi", "set it"],
    ["date | dvs kv put hello started -", "from standard input"],
  ],
  async run({ args, io, words }) {
    await withApi(args, io, async (api) => {
      const value = await givenValue(io, args.value);
      const result = await api.kv.put(args.instance, args.key, { value }, randomUUID());
      if (args.output === "json") writeJson(io, result);
      else words.success(`${args.key}: revision ${result.revision}`);
    });
  },
});
