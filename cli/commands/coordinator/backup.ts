import { open, rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";

export default command({
  args: {
    file: { type: "positional", required: true, description: "Where it is written, mode 0600" },
    ...clientArgs,
  },
  details:
    "All that the coordinators know, as of one moment: nodes, instances, tokens, the keys of the authorities. Whoever\n" +
    "reads it owns the cluster. Images and what instances keep are not in it. Put back by `dvs coordinator recover`.",
  examples: [["dvs coordinator backup /srv/backup/dvs.ndjson", "each night; needs an administrator's token"]],
  async run({ args, io, words }) {
    const path = resolve(io.cwd, args.file);
    const beside = `${path}.part`;
    const file = await open(beside, "w", 0o600).catch((e: unknown) => {
      throw new DvsError("INVALID", `Cannot write ${path}: ${(e as Error).message}`, { cause: e });
    });
    let last: Record<string, unknown> = {};
    let records: number;
    try {
      try {
        await withApi(args, io, async (api) => {
          for await (const line of api.backup(io.signal)) {
            last = line;
            await file.write(`${JSON.stringify(line)}\n`);
          }
        });
        if (typeof last["keys"] !== "number") {
          throw new DvsError("UNAVAILABLE", "The backup was cut short: take it again.");
        }
        records = last["keys"];
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(beside, path);
    } catch (e) {
      await rm(beside, { force: true });
      throw e;
    }
    words.success(`backup of ${records} records in ${path}; keep it where only you can read it`);
  },
});
