import { randomUUID } from "node:crypto";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";

export default command({
  args: {
    instance: { type: "positional", required: true, description: "Name of the instance" },
    key: { type: "positional", required: true, description: "The key" },
    "ignore-missing": { type: "boolean", description: "A key that does not exist is no failure" },
    ...clientArgs,
  },
  examples: [["dvs kv rm hello greeting", "exit code 3 where there is no such key"]],
  async run({ args, io, words }) {
    await withApi(args, io, async (api) => {
      const { done } = await api.kv.delete(args.instance, args.key, undefined, randomUUID());
      if (done) return words.success(`${args.key}: removed`);
      if (args["ignore-missing"]) return words.info(`${args.key}: there is no such key`);
      throw new DvsError("NOT_FOUND", `Instance "${args.instance}" has no key ${JSON.stringify(args.key)}.`);
    });
  },
});
