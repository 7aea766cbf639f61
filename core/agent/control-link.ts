/**
 * A link to a host process of this node: NDJSON over its Unix socket. The process listens, the agent connects and
 * connects again. Lines of unknown types are skipped (the process may be newer than the agent); a line longer than
 * the limit breaks the link, since nothing sensible can follow it.
 */
import { connect, type Socket } from "node:net";
import { MiB } from "../limits.ts";

const lineBytesMax = 4 * MiB;

export interface ControlLink<To> {
  /** Drops the message when the link is broken: all state is sent again after the next hello. */
  send(message: To): void;
  close(): void;
}

interface Schema<T> {
  safeParse(value: unknown): { success: true; data: T } | { success: false };
}

export interface ControlLinkOptions<From> {
  socket: string;
  schema: Schema<From>;
  onMessage(message: From): void;
  /** Once, however the link ends; also when it could not be made. */
  onClose(): void;
}

export function openControlLink<From, To>(options: ControlLinkOptions<From>): ControlLink<To> {
  let socket: Socket | null = connect({ path: options.socket });
  const decoder = new TextDecoder();
  let rest = "";
  const end = () => {
    if (!socket) return;
    socket.destroy();
    socket = null;
    options.onClose();
  };
  socket.on("data", (bytes: Uint8Array) => {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const message = parse(options.schema, line);
      // Whoever gets a message may close the link.
      if (message !== null && socket) options.onMessage(message);
    }
    if (rest.length > lineBytesMax) end();
  });
  socket.on("error", end);
  socket.on("end", end);
  socket.on("close", end);
  return {
    send: (message) => {
      socket?.write(`${JSON.stringify(message)}\n`);
    },
    close: end,
  };
}

function parse<From>(schema: Schema<From>, line: string): From | null {
  try {
    const parsed = schema.safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
