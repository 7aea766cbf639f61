/**
 * Request and reply over a NATS server, where one is installed: a requester here, a responder in a host process of its
 * own, as lean as the protocol allows, so that what is measured is NATS: no promises, no time-outs, everything of one
 * turn of the loop in one write. Its makers' own client (nats-client-peer.ts) is several times slower. This file is both
 * halves.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { connect, type Socket } from "node:net";
import { freePort } from "../../test/tools/free-port.ts";

const payload = "7".repeat(64);

export interface NatsPeer {
  /** Of the server. */
  port: number;
  /** Requests a second with so many under way. */
  parallel(window: number, n: number): Promise<number>;
  close(): void;
}

/** Null without nats-server. */
export async function openNatsPeer(): Promise<NatsPeer | null> {
  if (spawnSync("nats-server", ["--version"]).status !== 0) return null;
  const port = await freePort();
  const children: ChildProcess[] = [
    spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port)], { stdio: "ignore" }),
  ];
  await Bun.sleep(500);
  const responder = spawn(process.execPath, [import.meta.filename, "respond", String(port)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(responder);
  await new Promise((resolve) => responder.stdout.once("data", resolve));
  let onReply: () => void = () => {};
  const client = await join(port, "inbox.*", () => onReply());
  return {
    port,
    parallel(window, n) {
      const { promise, resolve } = Promise.withResolvers<number>();
      let sent = 0;
      let answered = 0;
      const began = performance.now();
      const next = () => {
        if (sent < n) client.send(`PUB echo inbox.${++sent % window} ${payload.length}\r\n${payload}\r\n`);
      };
      onReply = () => {
        if (++answered === n) resolve(n / ((performance.now() - began) / 1_000));
        else next();
      };
      for (let i = 0; i < window; i++) next();
      return promise;
    },
    close() {
      client.socket.destroy();
      for (const child of children) child.kill("SIGKILL");
    },
  };
}

interface Client {
  socket: Socket;
  /** Together with what else is sent in this turn. */
  send(text: string): void;
}

/** `onMessage` gets the subject to reply to, if there is one. */
function join(port: number, subject: string, onMessage: (replyTo: string) => void): Promise<Client> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    let out = "";
    const client: Client = {
      socket,
      send(text) {
        if (out === "") setImmediate(flush);
        out += text;
      },
    };
    const flush = () => {
      socket.write(out);
      out = "";
    };
    let input = "";
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      input += chunk;
      let at = 0;
      for (;;) {
        const end = input.indexOf("\r\n", at);
        if (end < 0) break;
        const line = input.slice(at, end);
        if (!line.startsWith("MSG ")) {
          at = end + 2;
          if (line === "PING") client.send("PONG\r\n");
          if (line === "PONG") resolve(client);
          continue;
        }
        const words = line.split(" ");
        const after = end + 2 + Number(words.at(-1)) + 2;
        if (after > input.length) break;
        at = after;
        onMessage(words.length === 5 ? words[3]! : "");
      }
      input = input.slice(at);
    });
    socket.on("error", () => {});
    socket.write(`CONNECT {"verbose":false}\r\nSUB ${subject} 1\r\nPING\r\n`);
  });
}

if (process.argv[2] === "respond" && import.meta.main) {
  const client = await join(Number(process.argv[3]), "echo", (replyTo) => {
    client.send(`PUB ${replyTo} ${payload.length}\r\n${payload}\r\n`);
  });
  console.log("ready");
  process.stdin.on("close", () => process.exit(0));
  process.stdin.resume();
}
