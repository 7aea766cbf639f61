import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { dataDirOf } from "../../../core/agent/data-dir.ts";
import { DvsError } from "../../../core/errors.ts";
import { cachePolicies } from "../../../core/fuse/cache-policy.ts";
import { command } from "../../command.ts";

export default command({
  args: {
    name: { type: "positional", required: true, description: "Name of the instance" },
    dir: { type: "positional", required: true, description: "Directory below which its files appear" },
    cache: {
      type: "enum",
      options: cachePolicies,
      default: "none",
      description:
        "none: what another node has written is seen by the next call; open: by whoever opens the file, as with NFS, and faster",
    },
    "read-only": { type: "boolean", description: "Nothing can be changed by way of this mount" },
    foreground: { type: "boolean", description: "Stay; Ctrl-C unmounts" },
    node: { type: "string", value: "NAME", description: "By way of this node, where the machine is several" },
    "data-dir": {
      type: "string",
      value: "DIR",
      description: "Data directory of the node (default /var/lib/dvs/node for root, and those of `dvs up`)",
    },
  },
  details:
    "Ends when it is mounted: a process of its own serves it until it is unmounted, goes on without a coordinator, and\n" +
    "finds the agent again when that restarts. Needs root, /dev/fuse, and that this machine is one of the instance's\n" +
    "nodes (exit code 6 otherwise); on nodes of one's own (`dvs up`) a user namespace does: unshare --map-root-user\n" +
    "--mount. Files belong to whoever makes them; set-user-ID bits and devices have no meaning here. A mount point that a\n" +
    "killed process has left is taken away first.",
  service: true,
  examples: [
    ["dvs instance mount web /mnt/web", "until `dvs instance umount /mnt/web`"],
    [
      "dvs instance mount web /mnt/web --foreground --cache open",
      "under systemd, with what the kernel may keep",
    ],
  ],
  async run({ args, io, words }) {
    const [{ localNodes }, { startMountProcess }, mountPoint] = await Promise.all([
      import("../../local-nodes.ts"),
      import("../../mount-process.ts"),
      import("../../../core/fuse/mount-point.ts"),
    ]);
    mountPoint.checkMayMount();
    const nodes = localNodes(io, args["data-dir"], args.node).map(dataDirOf);
    mountPoint.closeDevice(mountPoint.openDevice());
    const dir = await mountPoint.mountPath(resolve(io.cwd, args.dir));
    await makeRoom(mountPoint, dir);
    const id = createHash("sha256").update(dir).digest("hex").slice(0, 12);
    const logFile = args.foreground ? null : join(nodes[0]!.mounts, `${id}.log`);
    const process = await startMountProcess({
      args: [
        ...["--instance", args.name, "--dir", dir, "--cache", args.cache],
        ...nodes.flatMap((node) => ["--socket", node.clientsSocket]),
        ...(args["read-only"] ? ["--read-only"] : []),
      ],
      logFile,
    });
    words.success(`${args.name} is mounted on ${dir} (pid ${process.pid})`);
    if (!args.foreground) return process.release();
    if (io.signal.aborted) process.stop();
    io.signal.addEventListener("abort", () => process.stop(), { once: true });
    return process.ended;
  },
});

type MountPoint = typeof import("../../../core/fuse/mount-point.ts");

/** A dead one is taken away; on what is alive nothing is mounted. */
async function makeRoom({ mountedAt, isDead, unmount }: MountPoint, dir: string): Promise<void> {
  const there = await mountedAt(dir);
  if (there?.isOurs && (await isDead(dir))) {
    const problem = await unmount(dir, { lazy: true });
    if (problem !== "") throw new DvsError("FAILED", `Cannot take away the dead mount on ${dir}: ${problem}`);
  } else if (there) {
    throw new DvsError("CONFLICT", `Cannot mount on ${dir}: ${there.source} is mounted there.`);
  }
  const found = await stat(dir).catch(() => null);
  if (!found?.isDirectory())
    throw new DvsError("NOT_FOUND", `Cannot mount on ${dir}: there is no such directory.`);
}
