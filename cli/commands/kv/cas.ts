import { randomUUID } from "node:crypto";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs, outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { writeJson } from "../../output.ts";
import { givenValue } from "../../views/kv.ts";

export default command({
  args: {
    instance: { type: "positional", required: true, description: "Name of the instance" },
    key: { type: "positional", required: true, description: "The key" },
    revision: { type: "positional", required: true, description: "Of the key now; 0: there must be none" },
    value: { type: "positional", required: true, description: "The value; - reads it from standard input" },
    ...outputArgs,
    ...clientArgs,
  },
  details: "Sets the value only if the key still has that revision; exit code 4 if not.",
  examples: [
    ["dvs kv cas hello leader 0 me", "only if nobody is"],
    ["dvs kv cas hello leader 17 you", "only if it was last changed at revision 17"],
  ],
  async run({ args, io, words }) {
    const ifRevision = /^\d{1,15}$/.test(args.revision) ? Number(args.revision) : -1;
    if (ifRevision < 0) {
      throw new DvsError("INVALID", `bad revision "${args.revision}": accepted: a whole number from 0`);
    }
    await withApi(args, io, async (api) => {
      const value = await givenValue(io, args.value);
      const body = { value, ifRevision };
      const result = await api.kv.put(args.instance, args.key, body, randomUUID());
      if (!result.done) {
        const now = result.revision === 0 ? "there is no such key" : `its revision is ${result.revision}`;
        throw new DvsError(
          "CONFLICT",
          `Cannot set ${JSON.stringify(args.key)} at revision ${ifRevision}: ${now}.`,
        );
      }
      if (args.output === "json") writeJson(io, result);
      else words.success(`${args.key}: revision ${result.revision}`);
    });
  },
});
