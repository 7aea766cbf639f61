/** A file system at a mount point, served by this process until somebody unmounts it. */
import type { FileSystem } from "../files/file-system.ts";
import type { CachePolicy } from "./cache-policy.ts";
import { readinessOf } from "../platform/readiness.ts";
import { type DeviceUser, FuseDevice } from "./device.ts";
import { closeDevice, mount, openDevice, unmount } from "./mount-point.ts";
import { FuseServer } from "./server.ts";

export interface ServeMountOptions {
  /** With the rights of uid 0. It is not closed. */
  fs: FileSystem;
  /** An empty directory, best; what is in it is hidden. */
  dir: string;
  source: string;
  cache: CachePolicy;
  readOnly?: boolean;
  log: (message: string) => void;
}

export interface ServedMount {
  /** Settles with why it is over: it is unmounted, and nothing is open any more. */
  ended: Promise<string>;
  /** At once, also where somebody still uses it: for them it is gone then. */
  end(): Promise<void>;
}

/** Resolves when programs can use it. Rejects with UNAVAILABLE (no FUSE here) or FAILED. */
export async function serveMount(options: ServeMountOptions): Promise<ServedMount> {
  const { fs, dir, source, cache, readOnly = false, log } = options;
  const fd = openDevice();
  const { promise: ended, resolve: onEnd } = Promise.withResolvers<string>();
  const user: DeviceUser = {
    onRequest: (bytes, done) => server.onRequest(bytes, done),
    onEnd,
    get isBusy() {
      return server.isBusy;
    },
  };
  const device = new FuseDevice(fd, user, await readinessOf(fd));
  const server = new FuseServer({ fs, cache, device, log });
  try {
    await mount(fd, { dir, source, readOnly });
  } catch (e) {
    closeDevice(fd);
    throw e;
  }
  device.start();
  const why = await Promise.race([server.ready.then(() => null), ended]);
  if (why !== null) log(`${dir} has ended before it was ready: ${why}`);
  return {
    ended: ended.then(async (reason) => {
      await server.close();
      device.stop();
      closeDevice(fd);
      return reason;
    }),
    async end() {
      const first = await unmount(dir);
      if (first === "") return;
      log(`${first}; it is taken away from whoever uses it`);
      const second = await unmount(dir, { lazy: true });
      if (second !== "") log(second);
      // Requests of those who use it yet would come for ever: without this process they fail.
      onEnd("taken away");
    },
  };
}
