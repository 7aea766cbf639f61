/** Where a container is reached: `http.sock` for the ingress of its node, TCP for those of the other nodes. */
import { DvsError } from "../errors.ts";
import { serveHttp, type HttpServeOptions, type HttpServer, type HttpTls } from "../platform/http.ts";
import type { ContainerBoot } from "./control.ts";

export interface Listeners {
  /** The TCP port. */
  port: number;
  /** A new certificate, for connections from now on. Throws INVALID when it cannot be used; the old one stays. */
  reload(tls: HttpTls): void;
  /** Accepts no further connection, waits at most `graceMs` for what is under way, cuts the rest. */
  stop(graceMs: number): Promise<void>;
}

export async function openListeners(
  boot: ContainerBoot,
  httpSocket: string,
  handler: Pick<HttpServeOptions, "fetch" | "onError">,
): Promise<Listeners> {
  const local = await serveHttp({ ...handler, listen: { unix: httpSocket } });
  let tcp: HttpServer;
  try {
    tcp = await openTcp(boot, handler);
  } catch (e) {
    await local.stop(0);
    throw e;
  }
  return {
    port: tcp.port,
    reload: (tls) => tcp.reload?.(tls),
    async stop(graceMs) {
      await Promise.all([local.stop(graceMs), tcp.stop(graceMs)]);
    },
  };
}

/** On the wanted port; if somebody has that, on any other. */
async function openTcp(
  boot: ContainerBoot,
  handler: Pick<HttpServeOptions, "fetch" | "onError">,
): Promise<HttpServer> {
  const { listen } = boot;
  // Plain HTTP is for loopback, so its clients' address is known; asking for it is a system call, a fifth of what a
  // small file costs.
  const here = { peer: listen.host };
  const options = boot.tls
    ? { ...handler, tls: boot.tls }
    : { ...handler, fetch: (request: Request) => handler.fetch(request, here) };
  try {
    return await serveHttp({ ...options, listen });
  } catch (e) {
    if (!(e instanceof DvsError) || e.code !== "CONFLICT" || listen.port === 0) throw e;
    return serveHttp({ ...options, listen: { ...listen, port: 0 } });
  }
}
