import { open, rename, rm, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { DvsError } from "../../../core/errors.ts";
import { clientArgs } from "../../args.ts";
import { command } from "../../command.ts";
import { withApi } from "../../connection.ts";
import { bytes as size } from "../../format.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    file: {
      type: "positional",
      required: true,
      description: "Where it is written, mode 0600; - is standard output",
    },
    force: { type: "boolean", description: "Replace a file that is there" },
    ...clientArgs,
  },
  details:
    "The state of the instance as of one moment, while it goes on: keys and files, all that was acknowledged before. The\n" +
    "file appears only when it is whole. Its bytes are compared with their checksums; what one disk has damaged comes from\n" +
    "another replica. Of images it has the files that the instance's files began with, as far as they are still there.",
  examples: [
    ["dvs instance backup kv /srv/backup/kv.dvs", "to a file"],
    ["dvs instance backup web web.dvs --force", "keys and files, in place of the last one"],
    ["dvs instance backup kv - | ssh backup 'cat > kv.dvs'", "to another machine; check the exit code"],
  ],
  async run({ args, io, words }) {
    const { checkedBackup } = await import("../../../core/state/backup/format.ts");
    const path = args.file === "-" ? "/dev/stdout" : resolve(io.cwd, args.file);
    const beside = args.file === "-" ? path : `${path}.part`;
    if (args.file !== "-" && !args.force && (await isThere(path))) {
      throw new DvsError(
        "CONFLICT",
        `Cannot write ${path}: there is a file. Choose another name, or give --force.`,
      );
    }
    let index = 0;
    let written = 0;
    const file = await open(beside, "w", 0o600).catch((e: unknown) => {
      throw new DvsError("INVALID", `Cannot write ${path}: ${(e as Error).message}`, { cause: e });
    });
    try {
      try {
        await withApi(args, io, async (api) => {
          const body = await api.instances.backup(args.name, io.signal);
          const whole = checkedBackup(body, (header) => {
            index = header.index;
          });
          for await (const bytes of whole) {
            await file.writeFile(bytes);
            written += bytes.length;
          }
        });
        if (args.file !== "-") await file.sync();
      } finally {
        await file.close();
      }
      if (args.file !== "-") await rename(beside, path);
    } catch (e) {
      if (args.file !== "-") await rm(beside, { force: true });
      throw e;
    }
    words.success(`state of ${args.name} up to record ${index} (${size(written)}) in ${args.file}`);
  },
});

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
