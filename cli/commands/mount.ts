/** Hidden: serves one mount of an instance's file system, started by `dvs instance mount`. */
import { command } from "../command.ts";
import { cachePolicies } from "../../core/fuse/cache-policy.ts";

export default command({
  args: {
    instance: { type: "string", value: "NAME", required: true, description: "Name of the instance" },
    dir: { type: "string", value: "DIR", required: true, description: "The mount point" },
    socket: { type: "list", value: "FILE", description: "Socket of an agent of this machine" },
    cache: { type: "enum", options: cachePolicies, default: "none", description: "What the kernel keeps" },
    "read-only": { type: "boolean", description: "Nothing can be changed" },
  },
  service: true,
  examples: [["dvs mount --instance web --dir /mnt/web", 'what "dvs instance mount" starts']],
  async run({ args, io }) {
    const { runMount } = await import("../../core/fuse/main.ts");
    return runMount({
      instance: args.instance,
      dir: args.dir,
      sockets: args.socket,
      cache: args.cache,
      readOnly: args["read-only"],
      signal: io.signal,
      log: (message) => io.stderr.write(`${new Date().toISOString()} ${message}\n`),
    });
  },
});
