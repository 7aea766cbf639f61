/**
 * The ingress's side of ingress.sock. Agents come and go, also two at a time: each gets `hello` and the present state
 * first, then every change. Nobody listening is no reason to stop.
 */
import { createServer, type Server, type Socket } from "node:net";
import { MiB } from "../limits.ts";
import { type FromIngress, ToIngress } from "./control.ts";

/** A table of some ten thousand routes. */
const lineCharsMax = 64 * MiB;
const unreadBytesMax = 8 * MiB;

export interface ControlServerOptions {
  path: string;
  /** What a new link is told first. */
  greeting(): FromIngress[];
  onMessage(message: ToIngress): void;
  /** A line that is not understood, in words. */
  onRefused(reason: string): void;
}

export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #links = new Set<Socket>();
  readonly #server: Server;

  constructor(options: ControlServerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#link(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#options.path, () => {
        this.#server.off("error", reject);
        // An agent that dies in the middle of connecting must not end the ingress.
        this.#server.on("error", () => undefined);
        resolve();
      });
    });
  }

  /** To every agent that listens; level-triggered messages only, since it may be nobody. */
  broadcast(message: FromIngress): void {
    for (const socket of this.#links) write(socket, message);
  }

  /** Ends the links and removes the socket file. */
  close(): Promise<void> {
    for (const socket of this.#links) socket.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #link(socket: Socket): void {
    this.#links.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#links.delete(socket));
    const decoder = new TextDecoder();
    let parts: string[] = [];
    let held = 0;
    socket.on("data", (bytes: Uint8Array) => {
      const lines = decoder.decode(bytes, { stream: true }).split("\n");
      const last = lines.pop() ?? "";
      for (const line of lines) {
        parts.push(line);
        this.#receive(parts.join(""));
        parts = [];
        held = 0;
      }
      parts.push(last);
      held += last.length;
      if (held > lineCharsMax) socket.destroy();
    });
    for (const message of this.#options.greeting()) write(socket, message);
  }

  #receive(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      this.#options.onRefused(`a control line that is not JSON: ${line.slice(0, 100)}`);
      return;
    }
    const parsed = ToIngress.safeParse(value);
    if (parsed.success) this.#options.onMessage(parsed.data);
    else this.#options.onRefused(`a control message that is not understood: ${parsed.error.message}`);
  }
}

function write(socket: Socket, message: FromIngress): void {
  // A stopped agent reads nothing: it connects again when it goes on, and is told everything then.
  if (socket.writableLength > unreadBytesMax) socket.destroy();
  else if (socket.writable) socket.write(`${JSON.stringify(message)}\n`);
}
