/**
 * The proxies of a container on real sockets: listeners, dials and time for the machine. Kernels of the same node are
 * reached by Unix socket, those of others by TLS.
 */
import { randomBytes } from "node:crypto";
import { linkIdleTickMs, linkTickMs } from "../../limits.ts";
import { uptimeMs } from "../../platform/uptime.ts";
import type { KernelMessage } from "../messages.ts";
import type { KernelId } from "../view.ts";
import { dialTls, listenTls, type TlsLinkOptions } from "./link-tls.ts";
import { dialUnix, listenUnix, type UnixLinkOptions } from "./link-unix.ts";
import { Ticker } from "../ticker.ts";
import { type ChannelName, nonceBytes } from "./link-messages.ts";
import { ProxiesMachine } from "./proxies-machine.ts";
import { protocolVersion, protocolVersionMin } from "./version.ts";

export interface LinksOptions {
  instance: string;
  incarnation: string;
  unix: UnixLinkOptions;
  /** Null: an instance on one node. */
  tls: TlsLinkOptions | null;
  /** As in ProxySink. */
  deliver: (from: KernelId, message: KernelMessage) => void;
  writable: (kernel: KernelId, channel: ChannelName) => void;
  /** Something has come, and is about to be delivered; not more than once a millisecond. */
  woken?: () => void;
  report: (text: string) => void;
}

export interface Links {
  /** join, add, remove, transmit: as the View and the kernel say. */
  readonly proxies: ProxiesMachine;
  /** TCP port for kernels of other nodes; 0 without. */
  readonly port: number;
  /** `tls.certificate()` gives another one from now on. */
  renewed(): void;
  /** Says bye to everybody. */
  close(): void;
}

/** Rejects with the system's error when it cannot listen. */
export async function openLinks(options: LinksOptions): Promise<Links> {
  const { unix, tls } = options;
  const proxies = new ProxiesMachine(
    {
      deliver: options.deliver,
      writable: options.writable,
      woken,
      wantTick: () => ticker.soon(),
      report: options.report,
      soon: () => void setImmediate(flush),
      dial(member, _channel, connection) {
        if (member.node === unix.node) return dialUnix(member, connection, unix);
        if (tls) return dialTls(member, connection, tls);
        options.report(`no way to kernel ${member.kernel} on node ${member.node}: there is no certificate`);
        return null;
      },
    },
    {
      instance: options.instance,
      incarnation: options.incarnation,
      protocol: protocolVersion,
      protocolMin: protocolVersionMin,
      nowMs: uptimeMs(),
      random: Math.random,
      nonce: () => randomBytes(nonceBytes),
    },
  );
  const flush = () => proxies.flush();
  let lookedMs = 0;
  function woken(): void {
    const now = performance.now();
    if (now - lookedMs < 1) return;
    lookedMs = now;
    proxies.look(uptimeMs());
    options.woken?.();
  }
  const ticker = new Ticker({
    tick: () => proxies.tick(uptimeMs()),
    dueInMs: () => proxies.dueInMs,
    leastMs: linkTickMs,
    mostMs: linkIdleTickMs,
  });
  const unixListener = await listenUnix(proxies, unix);
  let tlsListener: Awaited<ReturnType<typeof listenTls>> | null = null;
  try {
    if (tls) tlsListener = await listenTls(proxies, tls);
  } catch (e) {
    unixListener.stop();
    throw e;
  }
  ticker.start();
  return {
    proxies,
    port: tlsListener?.port ?? 0,
    renewed: () => tlsListener?.reload(),
    close() {
      ticker.stop();
      unixListener.stop();
      tlsListener?.stop();
      proxies.close();
    },
  };
}
