/** A connection as the user of a stream of core/platform/tcp.ts. */
import type { StreamUser } from "../../platform/tcp.ts";
import type { Connection } from "./connection-machine.ts";

export function streamUserOf(connection: Connection, onOpen: () => void = () => {}): StreamUser {
  return {
    onOpen,
    onData: (chunk) => connection.onData(chunk),
    onDrain: () => connection.onDrain(),
    onEnd: () => connection.onEnd(),
    onClose: () => connection.onClose(),
  };
}
