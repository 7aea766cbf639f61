/**
 * Links between containers of one instance on one node: a Unix socket in a directory that only this user may enter.
 * Containers of several instances run as the same user, so each instance has a secret, which never goes over the wire:
 * what is proved is a keyed hash.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { rmSync } from "node:fs";
import { connect, listen, type Stream, type StreamListener } from "../../platform/tcp.ts";
import type { Member } from "../view.ts";
import type { Authenticator } from "./authenticator.ts";
import { streamUserOf } from "./link-stream.ts";
import type { Connection } from "./connection-machine.ts";
import type { ProxiesMachine } from "./proxies-machine.ts";
import type { Wire } from "./wire.ts";

/** A container's name among those of its node: `k.sock` in its run directory. */
export interface UnixLinkOptions {
  path: string;
  /** At least 16 bytes, the same for all containers of the instance on this node. */
  secret: Uint8Array;
  node: string;
}

/** Rejects with the system's error. A socket that an earlier host process has left is replaced. */
export function listenUnix(proxies: ProxiesMachine, options: UnixLinkOptions): Promise<StreamListener> {
  rmSync(options.path, { force: true });
  const authenticator = unixAuthenticator(options);
  return listen({ socket: options.path }, (stream: Stream) => {
    const connection = proxies.accept(stream, authenticator);
    return connection && streamUserOf(connection);
  });
}

export function dialUnix(member: Member, connection: Connection, options: UnixLinkOptions): Wire {
  const user = streamUserOf(connection, () => connection.open(stream, unixAuthenticator(options)));
  const stream = connect({ address: { socket: member.unix }, tls: null }, user);
  return stream;
}

/** Knows the secret, and that only containers of this node have the socket. */
export function unixAuthenticator({ secret, node }: Pick<UnixLinkOptions, "secret" | "node">): Authenticator {
  const prove = (transcript: Uint8Array) => createHmac("sha256", secret).update(transcript).digest();
  return {
    binding: new Uint8Array(),
    refuses: (member) => (member.node === node ? null : `on node ${node}, not on ${member.node}`),
    prove,
    verify(transcript, proof) {
      const good = prove(transcript);
      return proof.length === good.length && timingSafeEqual(good, proof);
    },
  };
}
