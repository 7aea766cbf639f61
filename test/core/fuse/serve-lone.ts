/** A process that serves one volume at several mount points: `serve-lone.ts CACHE DIR…`. Says `ready`, and why each has ended. */
import { openLone } from "../../../core/files/lone.ts";
import type { CachePolicy } from "../../../core/fuse/cache-policy.ts";
import { serveMount } from "../../../core/fuse/serve-mount.ts";

const [cache, ...dirs] = process.argv.slice(2);
const lone = openLone();
const mounts = await Promise.all(
  dirs.map((dir, i) =>
    serveMount({
      ...{ fs: lone.client(`mount-${i}`), dir, source: `dvs:test-${i}`, cache: cache as CachePolicy },
      log: (message) => void process.stdout.write(`${message}\n`),
    }),
  ),
);
process.on("SIGTERM", () => {
  for (const mount of mounts) void mount.end();
});
process.stdout.write("ready\n");
for (const mount of mounts) process.stdout.write(`${await mount.ended}\n`);
process.exit(0);
