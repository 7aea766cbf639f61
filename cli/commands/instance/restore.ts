import { createReadStream } from "node:fs";
import { resolve } from "node:path";
import { Readable } from "node:stream";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { confirm } from "../../confirm.ts";
import { withApi } from "../../connection.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    file: {
      type: "positional",
      required: true,
      description: "What `dvs instance backup` has written; - is standard input",
    },
    yes: {
      type: "boolean",
      short: "y",
      description: "Do not ask; nobody is asked where there is no terminal",
    },
    ...clientArgs,
  },
  details:
    "The state of the instance, keys and files, becomes what the backup has, on all replicas at once; what it has now is\n" +
    "lost. It serves meanwhile, and what was written before that moment is lost with the rest; locks and open files are\n" +
    "gone. Nothing is changed before the whole file has been checked. Another instance's backup may be given, of the same\n" +
    "OS. It takes room on the disks of all replicas: about five times its keys and names, and twice its files, for a while.\n" +
    "Exit code 10: the answer was lost; the state is the old or the new one.",
  examples: [
    ["dvs instance restore kv /srv/backup/kv.dvs", "back to what the file has"],
    ["ssh backup 'cat kv.dvs' | dvs instance restore kv - --yes", "from another machine"],
  ],
  async run({ args, io, words }) {
    await confirm(io, args.yes, `Replace the state of ${args.name} by ${args.file}?`);
    const path = args.file === "-" ? "/dev/stdin" : resolve(io.cwd, args.file);
    const source = createReadStream(path);
    await new Promise<void>((opened, failed) => {
      source.once("open", () => opened());
      source.once("error", (e) =>
        failed(new DvsError("INVALID", `Cannot read ${path}: ${e.message}`, { cause: e })),
      );
    });
    const body = Readable.toWeb(source) as unknown as ReadableStream<Uint8Array>;
    const { index } = await withApi(args, io, (api) => api.instances.restore(args.name, body, io.signal));
    words.success(`state of ${args.name} restored from ${args.file}, record ${index}`);
  },
});
