/** Hidden: work on a state process's database in a host process of its own, started by it. */
import { command } from "../command.ts";

export default command({
  args: {
    job: {
      type: "enum",
      options: ["snapshot", "checkpoint", "blobs", "unpack"],
      required: true,
      description: "What to do",
    },
    "data-dir": {
      type: "string",
      value: "DIR",
      required: true,
      description: "The replica's data directory, where state.db is",
    },
    record: {
      type: "number",
      min: 0,
      max: Number.MAX_SAFE_INTEGER,
      value: "N",
      description: "Of job blobs: the last record of the snapshot that is looked at",
    },
  },
  examples: [
    ["dvs state-helper --job snapshot --data-dir /var/lib/dvs/state/1f0c", "what a state process starts"],
  ],
  async run({ args, io }) {
    const { runHelper } = await import("../../core/state/helper.ts");
    io.stdout.write(`${JSON.stringify(await runHelper(args.job, args["data-dir"], args.record))}\n`);
  },
});
