import { resolve } from "node:path";
import { DvsError } from "../../../core/errors.ts";
import { command } from "../../command.ts";

export default command({
  args: {
    dir: { type: "positional", required: true, description: "Directory on which an instance is mounted" },
    force: { type: "boolean", description: "Also while programs use it: for them its files are gone then" },
  },
  details:
    "As umount(8) of the system, which can be used as well. What was written before is on the replicas; also a mount point\n" +
    "whose process was killed is taken away.",
  examples: [["dvs instance umount /mnt/web", "exit code 4 while programs use it"]],
  async run({ args, io, words }) {
    const { isDead, mountedAt, mountPath, unmount } = await import("../../../core/fuse/mount-point.ts");
    const dir = await mountPath(resolve(io.cwd, args.dir));
    const there = await mountedAt(dir);
    if (!there) throw new DvsError("NOT_FOUND", `Nothing is mounted on ${dir}.`);
    if (!there.isOurs) {
      throw new DvsError("CONFLICT", `${there.source}, mounted on ${dir}, is no instance: use umount(8).`);
    }
    const problem = await unmount(dir, { lazy: args.force || (await isDead(dir)) });
    if (problem !== "") {
      const busy = /busy/.test(problem);
      const advice = busy ? " End the programs that use it, or give --force." : "";
      throw new DvsError(busy ? "CONFLICT" : "FAILED", `Cannot unmount ${dir}: ${problem}.${advice}`);
    }
    words.success(`${there.source.replace(/^dvs:/, "")} is not mounted on ${dir} any more`);
  },
});
