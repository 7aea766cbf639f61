/**
 * The container's side of control.sock. Agents come and go, also two at a time while one is replaced; each gets
 * `hello` and the present state first, then every change. Nobody listening is no reason to stop.
 */
import { createServer, type Server, type Socket } from "node:net";
import { KiB, MiB } from "../limits.ts";
import { ToContainer, type FromContainer } from "./control.ts";

/** The View of a large instance is the longest that comes; whoever sends more is not our agent. */
const lineCharsMax = 8 * MiB;
const unreadBytesMax = 64 * KiB;

export interface ControlServerOptions {
  path: string;
  /** What a new link is told first. */
  greeting: () => FromContainer[];
  onMessage: (message: ToContainer) => void;
}

export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #links = new Set<Socket>();
  readonly #server: Server;
  /** Links that were ever made, so that somebody can tell whether anyone heard. */
  linksMade = 0;

  constructor(options: ControlServerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#link(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#options.path, () => {
        // An agent that dies in the middle of connecting must not end the container.
        this.#server.on("error", () => undefined);
        resolve();
      });
    });
  }

  /** To every agent that listens; false when it is nobody. What is not asked again must be level-triggered. */
  broadcast(message: FromContainer): boolean {
    for (const socket of this.#links) write(socket, message);
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
    }, 200);
    await closed;
    clearTimeout(cut);
  }

  #link(socket: Socket): void {
    this.#links.add(socket);
    this.linksMade++;
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#links.delete(socket));
    const decoder = new TextDecoder();
    let rest = "";
    socket.on("data", (bytes: Uint8Array) => {
      const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const message = parseLine(line);
        if (message) this.#options.onMessage(message);
      }
      if (rest.length > lineCharsMax) socket.destroy();
    });
    for (const message of this.#options.greeting()) write(socket, message);
  }
}

function write(socket: Socket, message: FromContainer): void {
  // A stopped agent reads nothing: it connects again when it goes on, and is told everything then.
  if (socket.writableLength > unreadBytesMax) socket.destroy();
  else if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}

/** Null for what this version does not know. */
function parseLine(line: string): ToContainer | null {
  try {
    const parsed = ToContainer.safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
