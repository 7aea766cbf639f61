import { createReadStream } from "node:fs";
import { access } from "node:fs/promises";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { DvsError } from "../../../core/errors.ts";
import { readLines } from "../../../core/transport/ndjson.ts";
import { outputArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { confirm } from "../../confirm.ts";
import { writeJson } from "../../output.ts";
import { serviceLog } from "../../service-log.ts";
import { configArgs, readCoordinatorConfig } from "../../coordinator-config.ts";

export default command({
  args: {
    from: {
      type: "string",
      value: "FILE",
      description: "A backup (`dvs coordinator backup`), into an empty store",
    },
    force: { type: "boolean", description: "Give up members of the store that still answer" },
    yes: {
      type: "boolean",
      short: "y",
      description: "Do not ask; nobody is asked where there is no terminal",
    },
    ...configArgs,
    ...outputArgs,
  },
  details:
    "Run it where a coordinator shall run again, while none runs there; then start it as usual.\n" +
    "Without --from: a store with --ha whose majority is lost goes on with what this machine has, alone (the other\n" +
    "machines join anew, with empty data directories); another store, put back by other means, is only made known as\n" +
    "newer. Changes since the backup, or that only lost machines had, are gone; nodes follow what is left. The state of\n" +
    "instances is on their nodes: it goes on where its primary serves; elsewhere `dvs instance recover` lets you choose.\n" +
    "Exit codes: 0 done; 2 damaged backup, or a store that is not empty; 3 nothing to recover; 4 a coordinator runs\n" +
    "here; 6 the store does not answer; 8 other members of the store still answer, or etcd does not come up.",
  service: true,
  examples: [
    ["dvs coordinator recover", "two of three machines are lost: go on with this one"],
    ["dvs coordinator recover --ha --from dvs.ndjson", "all are lost: begin anew with the last backup"],
    ["dvs coordinator recover --data-dir /srv/dvs", "after an old store.db was put back"],
  ],
  async run({ args, io, words }) {
    await confirm(io, args.yes, "What is not in the store that is recovered will be forgotten. Go on?");
    const [{ recoverCoordinator }, options] = await Promise.all([
      import("../../../core/coordinator/recover.ts"),
      readCoordinatorConfig(io, args),
    ]);
    const backup = args.from === undefined ? undefined : await linesOf(resolve(io.cwd, args.from));
    const recovered = await recoverCoordinator({
      options,
      ...(backup ? { backup } : {}),
      force: args.force,
      signal: io.signal,
      log: serviceLog(io),
    });
    if (args.output === "json") writeJson(io, recovered);
    const records = recovered.keys === null ? "" : `, ${recovered.keys} records from the backup`;
    words.success(`cluster ${recovered.clusterId} is recovered${records}; now: dvs coordinator start`);
  },
});

async function linesOf(path: string): Promise<AsyncIterable<string>> {
  await access(path).catch((e: unknown) => {
    throw new DvsError("INVALID", `Cannot read --from ${path}: ${(e as Error).message}`, { cause: e });
  });
  return lines(path);
}

/** Opened when the first line is wanted: what is read while nobody listens yet would be lost. */
async function* lines(path: string): AsyncGenerator<string> {
  yield* readLines(Readable.toWeb(createReadStream(path)) as unknown as ReadableStream<Uint8Array>);
}
