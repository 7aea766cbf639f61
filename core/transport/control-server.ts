/**
 * A host process's side of its control socket: lines of JSON over a Unix socket in its run directory. Agents come and
 * go, also two at a time while one is replaced; each gets what `greeting` says first, then every change. Nobody
 * listening is no reason to stop, and what comes that is not understood is no reason either: another version may know.
 */
import { createServer, type Server, type Socket } from "node:net";
import type { z } from "zod";
import { MiB } from "../limits.ts";

export interface ControlServerOptions<In extends z.ZodType, Out> {
  path: string;
  /** Of what agents send. */
  schema: In;
  /** What a new link is told first. */
  greeting: () => Out[];
  onMessage: (message: z.output<In>, from: ControlPeer<Out>) => void;
  /** A line that is not understood, in words. */
  onRefused?: (reason: string) => void;
  /** Whoever sends a longer line is not our agent. */
  lineCharsMax: number;
  /** An agent that reads nothing, because it is stopped, is cut off with so much: it connects again when it goes on. */
  unreadBytesMax?: number;
}

/** Whoever has sent a message. */
export interface ControlPeer<Out> {
  /** Dropped where it is not open any more. */
  send(message: Out): void;
  isOpen(): boolean;
}

/** From the wish to close until links that read nothing are cut. */
const closeMs = 200;

export class ControlServer<In extends z.ZodType, Out> {
  readonly #options: ControlServerOptions<In, Out>;
  readonly #links = new Set<Socket>();
  readonly #server: Server;

  constructor(options: ControlServerOptions<In, Out>) {
    this.#options = options;
    this.#server = createServer((socket) => this.#link(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#options.path, () => {
        this.#server.off("error", reject);
        // An agent that dies in the middle of connecting must not end this process.
        this.#server.on("error", () => undefined);
        resolve();
      });
    });
  }

  /** To every agent that listens; false when it is nobody. What is not asked again must be level-triggered. */
  broadcast(message: Out): boolean {
    for (const socket of this.#links) this.#write(socket, message);
    return this.#links.size > 0;
  }

  /** Ends each link after what was sent on it, and removes the socket file. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    for (const socket of this.#links) socket.end();
    const cut = setTimeout(() => {
      for (const socket of this.#links) socket.destroy();
    }, closeMs);
    await closed;
    clearTimeout(cut);
  }

  #link(socket: Socket): void {
    this.#links.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#links.delete(socket));
    const decoder = new TextDecoder();
    const peer: ControlPeer<Out> = {
      send: (message) => this.#write(socket, message),
      isOpen: () => this.#links.has(socket),
    };
    // A long line comes in many pieces, which are put together once.
    let parts: string[] = [];
    let held = 0;
    socket.on("data", (bytes: Uint8Array) => {
      const lines = decoder.decode(bytes, { stream: true }).split("\n");
      const last = lines.pop() ?? "";
      for (const line of lines) {
        parts.push(line);
        this.#receive(parts.join(""), peer);
        parts = [];
        held = 0;
      }
      parts.push(last);
      held += last.length;
      if (held > this.#options.lineCharsMax) socket.destroy();
    });
    for (const message of this.#options.greeting()) this.#write(socket, message);
  }

  #receive(line: string, from: ControlPeer<Out>): void {
    const { schema, onMessage, onRefused } = this.#options;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      onRefused?.(`a control line that is not JSON: ${line.slice(0, 100)}`);
      return;
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) onMessage(parsed.data, from);
    else onRefused?.(`a control message that is not understood: ${parsed.error.message}`);
  }

  #write(socket: Socket, message: Out): void {
    if (socket.writableLength > (this.#options.unreadBytesMax ?? MiB)) socket.destroy();
    else if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
  }
}
