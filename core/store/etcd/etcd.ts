/** Opens a store on etcd and makes sure that it is one that can be used. */
import { DvsError } from "../../errors.ts";
import { systemClock } from "../clock.ts";
import { enforce } from "../enforce.ts";
import type { Store } from "../store.ts";
import { EtcdStore } from "./etcd-store.ts";
import type { WatchTimes } from "./etcd-watch.ts";
import { Gateway, type Timeouts } from "./gateway.ts";
import type { EtcdUser } from "./login.ts";
import { tlsTransport, type EtcdTls } from "./transport.ts";
import { Wire } from "./wire.ts";

export interface EtcdOptions {
  /** `http://host:port`, or `https://` with `tls`; at least one. */
  endpoints: string[];
  tls?: EtcdTls;
  user?: EtcdUser;
  /** Comes before every key: "" or `/prefix` without a slash at its end. */
  prefix?: string;
  timeouts?: Partial<Timeouts>;
  watchTimes?: Partial<WatchTimes>;
  /** For who keeps the members itself (core/coordinator/ha): called before the first request. */
  onGateway?: (gateway: Gateway) => void;
}

/**
 * An election with etcd's default timers takes 1 to 2.5 s (measured): an attempt that fails because of it should not
 * use up the patience for the whole request.
 */
const timeouts: Timeouts = { attemptMs: 2_000, deadlineMs: 8_000 };
const watchTimes: WatchTimes = { openMs: 2_000, probeMs: 1_000, renewMs: 60_000, pauseMs: 100 };

/** Throws StoreError UNAVAILABLE when no member answers, DvsError INVALID when they are too old. */
export async function openEtcdStore(options: EtcdOptions): Promise<Store> {
  const gateway = new Gateway(options.endpoints, { ...timeouts, ...options.timeouts }, systemClock, {
    ...(options.tls ? { transport: tlsTransport(options.tls) } : {}),
    ...(options.user ? { user: options.user } : {}),
  });
  options.onGateway?.(gateway);
  try {
    await checkVersion(gateway);
  } catch (e) {
    gateway.close();
    throw e;
  }
  const times = { ...watchTimes, ...options.watchTimes };
  return enforce(new EtcdStore(gateway, new Wire(options.prefix ?? ""), times));
}

async function checkVersion(gateway: Gateway): Promise<void> {
  const { version } = (await gateway.call("maintenance/status", {}, "repeat")) as { version?: string };
  const [major = 0, minor = 0] = (version ?? "").split(".").map(Number);
  if (major > 3 || (major === 3 && minor >= 4)) return;
  throw new DvsError(
    "INVALID",
    `Cannot use etcd ${version ?? "of an unknown version"} at ${gateway.endpoint}: dvs needs 3.4 or newer.`,
  );
}
